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
from dp.presence.numpy_runs import PackedDays, PackedRuns, calendar_runs, positions_within, window_runs
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
        flows: whether anybody asks who is new and who returns; if not, all count as new.
    """

    window: int | None
    length: int
    begins: int
    ends: Integers
    flows: bool

    @classmethod
    def of(cls, cell: Cell, horizon: Horizon, *, flows: bool) -> _Axis:
        """The axis of a cell."""
        days = cell.days(horizon.first, horizon.last)
        ends = np.array([(day - horizon.first).days for day in days], dtype=np.int64)
        begins = (_first_day(cell, days[0]) - horizon.first).days if days and cell.window is None else 0
        return cls(cell.window, len(days), begins, ends, flows)

    @property
    def only_counts(self) -> bool:
        """Whether all that is asked is how many users are present in a trailing window."""
        return self.window is not None and not self.flows

    def runs(self, active: PackedDays) -> PackedRuns:
        """The presence of users on this axis."""
        if self.window is None:
            return calendar_runs(active, self.begins, self.ends)
        return window_runs(active, self.window)


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
            (3, segments, 2**tick_bits), with room for the tick after the last; `add` adds to it.
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
        number = 1 if breakdown is None else breakdown.size
        axes = {}
        with_flows = {_axis_of(cell) for cell in cells if cell.kind == "flows"}
        for cell in cells:
            axis = _Axis.of(cell, horizon, flows=_axis_of(cell) in with_flows)
            axes[_axis_of(cell)] = axis, np.zeros((len(FLOWS), number, 1 << axis.length.bit_length()), dtype=np.int64)
        beyond = (horizon.last - horizon.first).days + 1
        return cls(breakdown, segment_of, number, max(horizon.windows), beyond, axes)

    def add(self, part: LabelledDays, bound: int) -> None:
        """Count some users, each frozen after `bound` flips."""
        axes = [(axis, moves) for axis, moves in self.axes.values() if axis.length]
        if self.breakdown is None or not self._shared:
            active = PackedDays.of(in_time(part.active, self.beyond), self.beyond)
        elif self.breakdown.kind == "last":
            last, labels = latest(part, self.reach, self.beyond)
            segments = self.segment_of[labels]
            if bound == NO_BOUND:
                self._add_apart(last, segments, [one for one in axes if one[0].only_counts])
                axes = [one for one in axes if not one[0].only_counts]
                if not axes:
                    return
            active = by_segment(last, segments, self._segment_bits, self.beyond)
        else:
            several, labels = admitted(part, self.segment_of, self.breakdown.most)
            active = by_segment(several, self.segment_of[labels], self._segment_bits, self.beyond)
        for axis, moves in axes:
            self._add(axis.runs(active), bound, axis.flows, moves)

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

    @property
    def _segment_bits(self) -> int:
        return (self.number - 1).bit_length()

    def _add_apart(self, active: UserDays, segments: Integers, axes: Sequence[tuple[_Axis, Integers]]) -> None:
        """Count intervals of which no two of a user overlap, where nobody is frozen: they need not make up runs.

        What ends as another begins, in one segment, cancels out in the count.
        """
        places = segments << self.beyond.bit_length()
        for axis, moves in axes:
            assert axis.window is not None
            # Nobody comes who is not seen within the window.
            stops = np.maximum(np.minimum(active.stops, active.days + axis.window), active.starts)
            np.add.at(moves[0].reshape(-1), places | active.starts, 1)
            np.add.at(moves[2].reshape(-1), places | stops, 1)

    def _add(self, runs: PackedRuns, bound: int, flows: bool, moves: Integers) -> None:
        # Segment and tick in one number are a place in `moves`.
        came, left = (self._places(ends, runs.tick_bits) for ends in (runs.starts, runs.stops))
        if flows:
            came[1:] += (runs.users[1:] == runs.users[:-1]) * moves[0].size
        if bound < NO_BOUND:
            if self._shared:
                comes = leaves = self._counted_together(runs, bound)
            else:
                numbers = positions_within(runs.users)
                comes, leaves = 2 * numbers - 1 <= bound, 2 * numbers <= bound
            came, left = came[comes], left[leaves]
        np.add.at(moves[:2].reshape(-1), came, 1)
        np.add.at(moves[2].reshape(-1), left, 1)

    def _places(self, ends: Integers, tick_bits: int) -> Integers:
        """Segment and tick of starts or stops, in one number."""
        if self._shared:
            return ends & (1 << self._segment_bits + tick_bits) - 1
        ticks = ends & (1 << tick_bits) - 1
        return self.segment_of[ends >> tick_bits] << tick_bits | ticks if self.breakdown else ticks

    def _counted_together(self, runs: PackedRuns, bound: int) -> NDArray[np.bool_]:
        """Which runs count if the bound covers the start and the end of each, those of a user in the order of start."""
        users, places = runs.users >> self._segment_bits, self._places(runs.starts, runs.tick_bits)
        segments, starts = places >> runs.tick_bits, places & (1 << runs.tick_bits) - 1
        order = np.lexsort((segments, starts, users))
        counted = np.empty(len(users), dtype=np.bool_)
        counted[order] = 2 * positions_within(users[order]) <= bound
        return counted


def _axis_of(cell: Cell) -> object:
    """What two cells have in common that are counted by the same runs."""
    return cell.window or cell.kind
