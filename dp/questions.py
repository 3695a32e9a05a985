"""What is asked of a log: how many users, counted in which cell of time, by which breakdown.

A question is a cell (a trailing window, the flows into and out of one, a calendar week or month) and perhaps a
breakdown (by country, by platform). Its answer is one or more series of daily, weekly or monthly counts. Values of a
breakdown are public: they are named by whoever asks and never taken from a log, because a name that appears there may
be there for one user. Everything else counts as `other`.
"""

from __future__ import annotations

import itertools
import math
from calendar import monthrange
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal, NamedTuple

from dp.names import BREAKDOWN_KINDS, CALENDAR, FLOWS, METRICS

OTHER = "other"
"""The segment of every value that is not listed, and of the absent one."""

PRODUCT = "×"
"""Between the columns of a breakdown by several, and between their values."""

CellKind = Literal["rolling", "flows", "week", "month"]
BreakdownKind = Literal["fixed", "any", "last"]
"""One of `dp.names.BREAKDOWN_KINDS`."""


@dataclass(frozen=True)
class Cell:
    """The time over which a user is counted once.

    Attributes:
        kind: "rolling": users active within a trailing window, at every tick. "flows": users who come into it or leave
            it, at every tick. "week" and "month": users active in an ISO week or a calendar month, as known on its
            last day.
        metric: what it is called: dau, wau, mau, 14-day; or the kind, of calendar cells.
        window: trailing days, of rolling and flows; None of calendar cells.
    """

    kind: CellKind
    metric: str
    window: int | None = None

    def __post_init__(self) -> None:
        if (self.kind in CALENDAR) != (self.window is None):
            raise ValueError(f"window is {self.window} for a cell of kind {self.kind!r}; calendar cells have none")
        if self.window is not None and self.window < 1:
            raise ValueError(f"window is {self.window} days; it must be at least 1")

    @property
    def name(self) -> str:
        """As in a share: mau, mau/flows, week."""
        return f"{self.metric}/flows" if self.kind == "flows" else self.metric

    @property
    def parts(self) -> tuple[str, ...]:
        """What rows call each of its series: mau; mau/new, mau/returning and mau/gone; week."""
        return tuple(f"{self.metric}/{flow}" for flow in FLOWS) if self.kind == "flows" else (self.metric,)

    def days(self, first: date, last: date) -> list[date]:
        """The days on which it is published, among the ticks `first` .. `last`: of a calendar cell the last day."""
        return list(itertools.takewhile(lambda day: day <= last, self.days_from(first)))

    def days_from(self, first: date) -> Iterator[date]:
        """The days on which it is published, from `first` on without end."""
        day = first if self.window is not None else self.last_day(first)
        while True:
            yield day
            following = day + timedelta(days=1)
            day = following if self.window is not None else self.last_day(following)

    def place(self, first: date, day: date) -> int:
        """How many days it is published from `first` on before `day`, which is one of them."""
        if self.window is not None:
            return (day - first).days
        begins = self.last_day(first)
        if self.kind == "week":
            return (day - begins).days // 7
        return 12 * (day.year - begins.year) + day.month - begins.month

    def number(self, first: date, ticks: int) -> int:
        """On how many days it is published among so many ticks from `first` on; no cell is beyond the calendar."""
        if self.window is not None:
            return ticks
        last = first + timedelta(days=min(ticks - 1, (date.max - first).days - 7))
        begins = self.last_day(first)
        if last < begins:
            return 0
        return self.place(first, last) + (self.kind == "week" or self.last_day(last) == last)

    def last_day(self, day: date) -> date:
        """The day on which what happened on `day` is published, in a calendar cell.

        Raises:
            ValueError: a trailing window has no such day.
        """
        if self.kind == "week":
            return day + timedelta(days=7 - day.isoweekday())
        if self.kind == "month":
            return day.replace(day=monthrange(day.year, day.month)[1])
        raise ValueError(f"cell is {self.name}, a trailing window; only calendar cells have a last day")


@dataclass(frozen=True)
class Breakdown:
    """Into which segments users are divided.

    Attributes:
        name: what it is called: platform, country, platform×country.
        kind: "fixed": by an attribute of the user, from a table of users. "any": a user counts in every segment in
            which the user was active within the cell. "last": in the segment of the last activity within the cell.
        columns: of the log, or of the table of users, whose values make the segment.
        listed: of each column the values that are told apart.
        most: of kind "any", in how many segments one user-day counts; the first to arrive stay.
    """

    name: str
    kind: BreakdownKind
    columns: tuple[str, ...]
    listed: tuple[tuple[str, ...], ...]
    most: int = 1

    def __post_init__(self) -> None:
        if self.kind not in BREAKDOWN_KINDS:
            raise ValueError(f"kind of breakdown {self.name!r} is {self.kind!r}; choose {', '.join(BREAKDOWN_KINDS)}")
        if not self.name or set(self.name) & set("/=:,") or self.name in ("flows", *FLOWS):
            raise ValueError(f"a breakdown cannot be called {self.name!r}: it is a word without / = : and commas")
        if not self.columns or len(self.columns) != len(self.listed) or len(set(self.columns)) < len(self.columns):
            raise ValueError(
                f"breakdown {self.name!r} has the columns {', '.join(self.columns) or '(none)'} and "
                f"{len(self.listed)} lists of values; one list is needed for each of one or more different columns"
            )
        for column, values in zip(self.columns, self.listed, strict=True):
            _validate_values(self.name, column, values)
        _validate_text(self.name, [self.name, *self.columns, *itertools.chain.from_iterable(self.listed)])
        if any(PRODUCT in value for values in self.listed for value in values) and (alike := _twice(self.segments)):
            raise ValueError(
                f"breakdown {self.name!r} has several segments called {alike[0]!r}: with {PRODUCT} in a value, "
                "different values make the same name; list others"
            )
        if self.most < 1 or (self.most > 1 and self.kind != "any"):
            raise ValueError(f"breakdown {self.name!r} counts a user-day in {self.most} segments; kind any:k allows k")
        if self.most > self.size:
            raise ValueError(f"breakdown {self.name!r} counts a user-day in {self.most} segments but has {self.size}")

    @property
    def segments(self) -> tuple[str, ...]:
        """All segments; the last is `OTHER`."""
        return (*(PRODUCT.join(values) for values in itertools.product(*self.listed)), OTHER)

    @property
    def size(self) -> int:
        """How many segments there are, counted without naming them: a product may have more than the memory holds."""
        return math.prod(map(len, self.listed)) + 1

    @property
    def partition(self) -> bool:
        """Whether every user counted is in exactly one segment, so that the segments add up to the total."""
        return self.kind != "any"


class SeriesName(NamedTuple):
    """Which series a row belongs to.

    Attributes:
        question: mau, mau/new, week.
        breakdown: None in a total.
        segment: None in a total.
    """

    question: str
    breakdown: str | None = None
    segment: str | None = None

    @property
    def key(self) -> str:
        """One text for all three."""
        return self.question if self.breakdown is None else f"{self.question}/{self.breakdown}={self.segment}"


@dataclass(frozen=True)
class Question:
    """A cell, and perhaps a breakdown: what one share of a budget is spent on."""

    cell: Cell
    breakdown: Breakdown | None = None

    @property
    def name(self) -> str:
        """As in a share: mau, mau/flows, week/platform."""
        return self.cell.name if self.breakdown is None else f"{self.cell.name}/{self.breakdown.name}"

    @property
    def series(self) -> tuple[SeriesName, ...]:
        """The series of its answer: part after part of the cell, each with all segments in their order."""
        return tuple(self._series())

    def _series(self) -> Iterator[SeriesName]:
        for part in self.cell.parts:
            if self.breakdown is None:
                yield SeriesName(part)
            else:
                yield from (SeriesName(part, self.breakdown.name, segment) for segment in self.breakdown.segments)


def rolling(metric: str, window: int) -> Cell:
    """Users active within a trailing window, such as MAU."""
    return Cell("rolling", metric, window)


def _validate_values(name: str, column: str, values: tuple[str, ...]) -> None:
    if not values:
        raise ValueError(
            f"breakdown {name!r} lists no values of {column!r}. They are published, so they are named and never taken "
            "from the log: a value that stands there may stand there for one user"
        )
    if twice := _twice(values):
        raise ValueError(f"breakdown {name!r} lists {', '.join(map(repr, twice))} twice for {column!r}")
    if OTHER in values or "" in values:
        wrong = OTHER if OTHER in values else ""
        raise ValueError(
            f"breakdown {name!r} lists the value {wrong!r} for {column!r}; {OTHER!r} holds everything that is not "
            "listed, and the absent value"
        )


def _twice(values: Iterable[str]) -> list[str]:
    """What stands there more than once, in alphabetical order."""
    return sorted(value for value, number in Counter(values).items() if number > 1)


def _validate_text(name: str, words: Iterable[str]) -> None:
    """Refuse what not every database can hold: found when a row is to be stored, it would be too late."""
    for word in words:
        if "\0" in word or word != word.encode(errors="replace").decode():
            raise ValueError(
                f"breakdown {name!r} has a name or a value {word!r} that is no text in UTF-8, or holds a NUL; spell it "
                "with other characters"
            )


def breakdown(
    name: str, values: Sequence[str] | Mapping[str, Sequence[str]], kind: BreakdownKind, *, most: int = 1
) -> Breakdown:
    """A breakdown by one column of its own name, or by the product of several.

    Args:
        values: the values that are told apart, or, from every column to them.
        kind: "fixed", "any" or "last"; see `Breakdown`.
        most: of kind "any", in how many segments one user-day counts.

    Raises:
        ValueError: as of `Breakdown`.

    Examples:
        >>> breakdown("platform", ["ios", "web"], "last").segments
        ('ios', 'web', 'other')
        >>> breakdown("where", {"platform": ["ios", "web"], "country": ["GB"]}, "any").segments
        ('ios×GB', 'web×GB', 'other')
    """
    columns = values if isinstance(values, Mapping) else {name: values}
    return Breakdown(name, kind, tuple(columns), tuple(map(tuple, columns.values())), most)


def kind_of(text: str) -> tuple[BreakdownKind, int]:
    """The kind of a breakdown as it is written (fixed, last, any or any:2), and in how many segments a user-day counts.

    Raises:
        ValueError: there is no such kind.
    """
    kind, colon, most = text.partition(":")
    kinds: dict[str, BreakdownKind] = {"fixed": "fixed", "any": "any", "last": "last"}
    if kind not in kinds or (colon and not (kind == "any" and most.isdecimal() and int(most) > 0)):
        raise ValueError(f"{text!r} is none of {', '.join(BREAKDOWN_KINDS)} and any:K")
    return kinds[kind], int(most or 1)


def totals_of(windows: Mapping[str, int]) -> tuple[Question, ...]:
    """How many users are present in each window.

    Args:
        windows: metric → trailing days.
    """
    return tuple(Question(rolling(metric, window)) for metric, window in windows.items())


def questions_of(
    windows: Mapping[str, int], flows: Sequence[str], calendar: Sequence[str], by: Sequence[Breakdown]
) -> tuple[Question, ...]:
    """All that is asked besides the users present in each window: every other cell, and every cell by every breakdown.

    Args:
        windows: metric → trailing days.
        flows: metrics whose flows are asked for; those that are in no window have the usual one.
        calendar: "week", "month".
        by: breakdowns of each cell.

    Raises:
        ValueError: a name is unknown.
    """
    known = {**METRICS, **windows}
    if unknown := [metric for metric in flows if metric not in known]:
        raise ValueError(f"flows are asked of {unknown[0]!r}; choose from {', '.join(known)}")
    if unknown := [kind for kind in calendar if kind not in CALENDAR]:
        raise ValueError(f"calendar is {unknown[0]!r}; choose from {', '.join(CALENDAR)}")
    totals = [question.cell for question in totals_of(windows)]
    others = [Cell("flows", metric, known[metric]) for metric in dict.fromkeys(flows)]
    others += [Cell("week" if kind == "week" else "month", kind) for kind in dict.fromkeys(calendar)]
    return (
        *(Question(cell) for cell in others),
        *(Question(cell, divided) for divided in by for cell in (*totals, *others)),
    )


def question_from(plain: Mapping[str, Any]) -> Question:
    """The question that its fields in JSON spell.

    Raises:
        KeyError: a field is missing.
    """
    breakdown = plain["breakdown"]
    if breakdown is None:
        return Question(Cell(**plain["cell"]))
    listed = tuple(tuple(values) for values in breakdown["listed"])
    return Question(
        Cell(**plain["cell"]), Breakdown(**{**breakdown, "columns": tuple(breakdown["columns"]), "listed": listed})
    )


def segment_columns(questions: Iterable[Question]) -> tuple[str, ...]:
    """The columns that a log must have for its answers."""
    return _columns(questions, fixed=False)


def attribute_columns(questions: Iterable[Question]) -> tuple[str, ...]:
    """The columns that a table of users must have for the answers."""
    return _columns(questions, fixed=True)


def _columns(questions: Iterable[Question], *, fixed: bool) -> tuple[str, ...]:
    found = (question.breakdown for question in questions if question.breakdown is not None)
    return tuple(dict.fromkeys(column for one in found if (one.kind == "fixed") == fixed for column in one.columns))
