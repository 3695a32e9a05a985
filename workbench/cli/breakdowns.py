"""Options of what is asked besides metrics: flows, calendar cells and breakdowns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dp.names import BREAKDOWN_KINDS, CALENDAR
from dp.progress import Progress
from dp.questions import (
    PRODUCT,
    Breakdown,
    Question,
    attribute_columns,
    breakdown,
    kind_of,
    questions_of,
    segment_columns,
)
from workbench.cli.counts import Query
from workbench.cli.options import FILE, gathered_as

if TYPE_CHECKING:
    from dp.counts import Counts
    from dp.log import Attributes, Log
    from dp.release import Plan

_SPELLED = re.compile(rf"(?P<values>.*):(?P<kind>({'|'.join(BREAKDOWN_KINDS)})(:[0-9]+)?)", re.DOTALL)
_TIMES = re.compile(rf"[{PRODUCT}*]")


class BreakdownType(click.ParamType[Breakdown]):
    """NAME=VALUES:KIND, such as country=GB,DE:last or platform×country=ios,web×GB,DE:any:2."""

    name = "breakdown"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Breakdown:
        """The breakdown that is spelt."""
        if isinstance(value, Breakdown):
            return value
        name, _, rest = str(value).partition("=")
        if not (spelt := _SPELLED.fullmatch(rest)):
            self.fail(
                f"{value!r} is not NAME=VALUES:KIND, such as country=GB,DE,FR:last, with the kind fixed, last, any or "
                "any:K",
                param, ctx,
            )  # fmt: skip
        columns, lists = _TIMES.split(name), _TIMES.split(spelt["values"])
        if len(lists) != len(columns):
            self.fail(
                f"{value!r} names {len(columns)} columns and {len(lists)} lists of values; write one list for each, as "
                f"in platform{PRODUCT}country=ios,web{PRODUCT}GB,DE:last",
                param, ctx,
            )  # fmt: skip
        try:
            listed = {column: _values(text) for column, text in zip(columns, lists, strict=True)}
            kind, most = kind_of(spelt["kind"])
            return breakdown(PRODUCT.join(columns), listed, kind, most=most)
        except (OSError, ValueError) as error:
            self.fail(str(error), param, ctx)


def _values(text: str) -> list[str]:
    """The values of a list, or of a file with one a line."""
    if text.startswith("@"):
        return Path(text[1:]).read_text(encoding="utf-8-sig").splitlines()
    return text.split(",") if text else []


@dataclass(frozen=True)
class Asked:
    """What is asked besides how many users are present in each window."""

    by: tuple[Breakdown, ...]
    flows: tuple[str, ...]
    calendar: tuple[str, ...]
    users: Path | None

    @property
    def given(self) -> bool:
        """Whether anything is."""
        return bool(self.by or self.flows or self.calendar)

    def windows(self, query: Query) -> dict[str, int]:
        """The metrics; none by default where flows or calendar cells are asked for."""
        if (self.flows or self.calendar) and not (query.metrics or query.windows):
            return {}
        return query.series

    def questions(self, windows: Mapping[str, int]) -> tuple[Question, ...]:
        """All questions besides the metrics.

        Raises:
            click.UsageError: flows of a metric that does not exist, or two breakdowns of one name.
        """
        try:
            asked = questions_of(windows, self.flows, self.calendar, self.by)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        names = [one.name for one in self.by]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise click.UsageError(f"--by {twice[0]} is given twice; each breakdown has a name of its own")
        return asked

    def names(self, windows: Mapping[str, int]) -> list[str]:
        """The names of all questions, metrics first."""
        return [*windows, *(question.name for question in self.questions(windows))]

    def segments(self, windows: Mapping[str, int]) -> tuple[str, ...]:
        """The columns that the log must have."""
        return segment_columns(self.questions(windows))

    def validate(self, engine: str, tombstones: Path | None) -> None:
        """Refuse what does not go together, before the log is read."""
        fixed = [one.name for one in self.by if one.kind == "fixed"]
        if fixed and self.users is None:
            raise click.UsageError(
                f"--by {fixed[0]} is fixed, an attribute of users: give the table of users that says it (--users "
                "FILE). It is not taken from events, because one of them would then decide all that a user does later"
            )
        if self.users is not None and not fixed:
            raise click.UsageError("--users goes with a breakdown of kind fixed: --by NAME=VALUES:fixed")
        if self.given and engine != "numpy":
            raise click.UsageError(f"flows, calendar cells and breakdowns need --engine numpy; this is {engine}")
        if self.given and tombstones is not None:
            raise click.UsageError(
                "--tombstones do not say in which segments erased users had been: leave flows, --calendar and --by out"
            )

    def attributes(self, windows: Mapping[str, int]) -> Attributes | None:
        """What the table of users says; None where nothing is asked of it."""
        from dp.log import read_attributes

        columns = attribute_columns(self.questions(windows))
        return None if self.users is None else read_attributes(self.users, columns)

    def counts(self, log: Log | None, plan: Plan, last: date, report: Progress) -> dict[str, Counts] | None:
        """The counts that a plan needs; None where it asks for metrics alone."""
        from dp.release import count_log

        if log is None or not self.given:
            return None
        return count_log(log, plan, last, attributes=self.attributes(plan.request.windows), progress=report)


asked_options = gathered_as(
    Asked, "asked",
    click.option("--flows", multiple=True, metavar="METRIC",
                 help="Count every day who comes into the metric's window and who leaves it: new, returning and gone "
                      "users. May be repeated."),
    click.option("--calendar", type=click.Choice(CALENDAR), multiple=True,
                 help="Users active in each ISO week or month, as known on its last day. May be repeated."),
    click.option("--by", type=BreakdownType(), multiple=True, metavar="NAME=VALUES:KIND",
                 help="Ask everything in segments, too. VALUES are public: a list, or @FILE with one a line; all "
                      "others count as 'other'. KIND is fixed (an attribute of the user, from --users), last (that of "
                      "the user's last activity) or any:K (every segment in which the user was active; of one day the "
                      "first K to arrive count). NAME is a column of the log, or several: platform×country. May be "
                      "repeated."),
    click.option("--users", type=FILE, default=None, metavar="FILE",
                 help="A table of users with a column 'user' and the columns of fixed breakdowns."),
)  # fmt: skip
