"""Counts of the cells of one breakdown, added up over the pieces of a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Integers
from dp.names import FLOWS
from dp.presence.daily import NO_BOUND, Horizon
from dp.presence.numpy_cells import LabelledDays, UserDays, in_time
from dp.presence.numpy_runs import Runs, calendar_runs, positions_within, presence_runs
from dp.presence.numpy_segments import admitted, by_segment, latest
from dp.questions import Breakdown, Cell


@dataclass(frozen=True)
class _Axis:
    """The ticks of a cell: those of the horizon for a trailing window, else the cells of the calendar.

    Attributes:
        window: None for a calendar.
        length: how many ticks.
        begins: first day of the first cell of a calendar, counted from the first tick of the horizon.
        ends: last days of these cells, likewise.
    """

    window: int | None
    length: int
    begins: int
    ends: Integers

    @classmethod
    def of(cls, cell: Cell, horizon: Horizon) -> _Axis:
        """The axis of a cell."""
        days = cell.days(horizon.first, horizon.last)
        ends = np.array([(day - horizon.first).days for day in days], dtype=np.int64)
        begins = (_first_day(cell, days[0]) - horizon.first).days if days and cell.window is None else 0
        return cls(cell.window, len(days), begins, ends)

    def runs(self, active: UserDays) -> Runs:
        """The presence of users on this axis; `active` is in the order of user and start."""
        if self.window is None:
            return calendar_runs(active, self.begins, self.ends)
        return presence_runs(active, self.window, self.length)


def _first_day(cell: Cell, last_day: date) -> date:
    return last_day - timedelta(days=6) if cell.kind == "week" else last_day.replace(day=1)


@dataclass(frozen=True)
class QuestionCounter:
    """Counts what is asked by one breakdown, or in total.

    Attributes:
        breakdown: None in total.
        segment_of: place of the segment of each label, or of each user where the breakdown is fixed.
        number: of segments.
        reach: days of the longest cell.
        beyond: the tick after the last.
        moves: for each axis in how many runs users came for the first time, came again, and left, shape
            (3, segments, T + 1), the last for runs that do not end; `add` adds to it.
    """

    breakdown: Breakdown | None
    segment_of: Integers
    number: int
    reach: int
    beyond: int
    axes: Mapping[object, tuple[_Axis, Integers]]

    @classmethod
    def of(
        cls, breakdown: Breakdown | None, cells: Sequence[Cell], horizon: Horizon, segment_of: Integers
    ) -> QuestionCounter:
        """A counter at zero for these cells; the horizon has one window, the longest cell."""
        number = 1 if breakdown is None else len(breakdown.segments)
        axes = {}
        for cell in cells:
            axis = _Axis.of(cell, horizon)
            axes[_axis_of(cell)] = axis, np.zeros((len(FLOWS), number, axis.length + 1), dtype=np.int64)
        beyond = (horizon.last - horizon.first).days + 1
        return cls(breakdown, segment_of, number, max(horizon.windows), beyond, axes)

    def add(self, part: LabelledDays, bound: int) -> None:
        """Count some users, each frozen after `bound` flips."""
        active = self._active(part)
        for axis, moves in self.axes.values():
            if axis.length:
                self._add(axis.runs(active), bound, moves)

    def answer(self, cell: Cell) -> Integers:
        """The counts of one of the cells, shape (series, days), series in the order of `Question.series`."""
        axis, moves = self.axes[_axis_of(cell)]
        new, returning, gone = within = moves[:, :, : axis.length]
        if cell.kind == "flows":
            return within.reshape(len(FLOWS) * self.number, axis.length)
        counts: Integers = (new + returning - gone).cumsum(axis=-1)
        return counts

    @property
    def _shared(self) -> bool:
        """Whether users move between segments, so that what they do there is bounded in all together."""
        return self.breakdown is not None and self.breakdown.kind != "fixed"

    def _active(self, part: LabelledDays) -> UserDays:
        """When users are active, in the order of user and start; if segments are shared, of user and segment."""
        if self.breakdown is None or not self._shared:
            return in_time(part.active, self.beyond)
        if self.breakdown.kind == "last":
            active, labels = latest(part, self.reach, self.beyond)
            return by_segment(active, self.segment_of[labels], self.number, self.beyond)
        kept = np.flatnonzero(admitted(part, self.segment_of, self.breakdown.most))
        segments = self.segment_of[part.labels[kept]]
        return by_segment(part.active.some(kept), segments, self.number, self.beyond)

    def _add(self, runs: Runs, bound: int, moves: Integers) -> None:
        users = runs.users // self.number if self._shared else runs.users
        segments = runs.users - users * self.number if self._shared else self._segments_of(users)
        ticks = moves.shape[-1]
        came = segments * ticks + runs.starts + np.where(runs.firsts, 0, self.number * ticks)
        left = segments * ticks + runs.stops + 2 * self.number * ticks
        if bound < NO_BOUND:
            if self._shared:
                comes = leaves = _counted_together(users, runs.starts, segments, bound)
            else:
                comes, leaves = 2 * runs.numbers - 1 <= bound, 2 * runs.numbers <= bound
            came, left = came[comes], left[leaves]
        np.add.at(moves.reshape(-1), came, 1)
        np.add.at(moves.reshape(-1), left, 1)

    def _segments_of(self, users: Integers) -> Integers:
        """The segment of each user where it is fixed; 0 in total."""
        return self.segment_of[users] if self.breakdown else np.zeros(len(users), dtype=np.int64)


def _axis_of(cell: Cell) -> object:
    """What two cells have in common that are counted by the same runs."""
    return cell.window or cell.kind


def _counted_together(users: Integers, starts: Integers, segments: Integers, bound: int) -> NDArray[np.bool_]:
    """Which runs count if the bound covers the start and the end of each, those of a user in the order of start."""
    counted = np.empty(len(users), dtype=np.bool_)
    order = np.lexsort((segments, starts, users))
    counted[order] = 2 * positions_within(users[order]) <= bound
    return counted
