"""The question every engine answers: per tick, how many presence runs start and how many end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from dp.counts import Counts

if TYPE_CHECKING:
    import duckdb

EPOCH = date(1970, 1, 1)
# Larger than any flip number, and even: it freezes nobody.
NO_BOUND = 2**31 - 2


def day_number(day: date) -> int:
    """Days from 1970-01-01 to `day`: how a day is written in SQL."""
    return (day - EPOCH).days


@dataclass(frozen=True)
class DailyFlips:
    """Starts and ends of presence runs in one trailing window, tick by tick from `first`.

    Attributes:
        starts: runs that start at each tick, shape (T,).
        ends: runs that end at each tick, shape (T,).
        w_bound: the flips after which each user is cut; None where nobody is.
    """

    window: int
    first: date
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    w_bound: int | None = None

    @property
    def counts(self) -> Counts:
        """Users present at each tick."""
        return Counts(np.cumsum(self.starts - self.ends), self.window, self.first, self.w_bound)


class Engine(Protocol):
    """Answers what the portable SQL text says."""

    def daily_flips(
        self, windows: Sequence[int], first: date, last: date, w_bound: int | None = None
    ) -> dict[int, DailyFlips]:
        """The flips of every window over the ticks `first` .. `last`, each user cut after `w_bound` flips."""
        ...

    def bounded_counts(
        self, windows: Sequence[int], first: date, last: date, bounds: Sequence[int]
    ) -> dict[int, Counts]:
        """The counts of every window under several flip bounds; see `collect_bounded`."""
        ...


@dataclass(frozen=True)
class Horizon:
    """Windows, ticks and flip bound, or several bounds, of one question.

    Raises:
        ValueError: a window below 1 or given twice, no window, `first` after `last`, or a bound
            below 1 or given twice.
    """

    windows: tuple[int, ...]
    first: date
    last: date
    w_bound: int | None = None
    bounds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Validate once; everything after may rely on it."""
        if not self.windows or len(set(self.windows)) != len(self.windows):
            raise ValueError(f"windows = {self.windows}: give one or more different windows")
        for window in self.windows:
            if not 1 <= window <= 36_600:
                raise ValueError(f"window = {window}: must be between 1 and 36600 days")
        if self.first > self.last:
            raise ValueError(f"first = {self.first} is after last = {self.last}")
        if self.w_bound is not None and not 1 <= self.w_bound <= NO_BOUND:
            raise ValueError(f"w_bound = {self.w_bound}: must be at least 1, or None for no truncation")
        bounds = self.bounds
        if bounds is not None and (
            not bounds or len(set(bounds)) != len(bounds) or any(not 1 <= bound <= NO_BOUND for bound in bounds)
        ):
            raise ValueError(f"bounds = {bounds}: give one or more different ones, each at least 1")


def portable_text(name: str, horizon: Horizon, window: int) -> str:
    """The text `name` (cells, runs, flips or levels) with the literals of one window filled in.

    flips.sql and levels.sql read the relations `runs` and `spent`, runs.sql reads `cells`, cells.sql `operations`.
    """
    text = files("dp.presence").joinpath(f"{name}.sql").read_text(encoding="utf-8")
    return Template(text).substitute(
        window=int(window),
        first=day_number(horizon.first),
        last=day_number(horizon.last),
        w_bound=NO_BOUND if horizon.w_bound is None else int(horizon.w_bound),
        bounds=", ".join(f"({int(bound)})" for bound in horizon.bounds or ()),
    )


def integer_columns(answer: duckdb.DuckDBPyConnection) -> dict[str, NDArray[np.int64]]:
    """The columns of an answer, by name; all hold whole numbers and no NULL."""
    return {name: np.asarray(values).astype(np.int64) for name, values in answer.fetchnumpy().items()}


def collect(horizon: Horizon, answer: Callable[[int], Iterable[tuple[int, int, int]]]) -> dict[int, DailyFlips]:
    """Dense series from the sparse rows (tick, starts, ends) that `answer(window)` returns."""
    offset = day_number(horizon.first)
    length = day_number(horizon.last) - offset + 1
    result = {}
    for window in horizon.windows:
        starts, ends = np.zeros(length, dtype=np.int64), np.zeros(length, dtype=np.int64)
        for tick, started, ended in answer(window):
            starts[tick - offset] = started
            ends[tick - offset] = ended
        result[window] = DailyFlips(window, horizon.first, starts, ends, horizon.w_bound)
    return result


def collect_bounded(
    horizon: Horizon, answer: Callable[[int], Iterable[tuple[int, int, int, int]]]
) -> dict[int, Counts]:
    """Dense counts from the sparse rows (w_bound, tick, gained, frozen) that `answer(window)` returns.

    Returns:
        window → counts of shape (T, 2·bounds): for every bound in turn the users present, each frozen after that many
        flips, and the users who have had more than that many flips so far.
    """
    offset = day_number(horizon.first)
    length = day_number(horizon.last) - offset + 1
    bounds = horizon.bounds or ()
    result = {}
    for window in horizon.windows:
        steps = np.zeros((length, 2 * len(bounds)), dtype=np.int64)
        for w_bound, tick, gained, frozen in answer(window):
            column = 2 * bounds.index(w_bound)
            steps[tick - offset, column : column + 2] = gained, frozen
        result[window] = Counts(np.cumsum(steps, axis=0), window, horizon.first, bounds)
    return result
