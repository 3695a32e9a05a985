"""What runs.sql, flips.sql and levels.sql answer, from the cells in arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Integers
from dp.presence.numpy_cells import UserDays


@dataclass(frozen=True)
class Runs:
    """Presence runs [starts, stops) in one trailing window; ticks count from the first, as in `UserDays`.

    Attributes:
        users: ids, ascending; shape (runs,).
        starts: ascending for each user; shape (runs,).
        stops: the tick after the last where the run does not end within the horizon; shape (runs,).
    """

    users: Integers
    starts: Integers
    stops: Integers

    @cached_property
    def numbers(self) -> Integers:
        """From 1 for each user, in time; shape (runs,)."""
        return positions_within(self.users)

    @property
    def firsts(self) -> NDArray[np.bool_]:
        """Whether each run is the first of its user; shape (runs,)."""
        firsts: NDArray[np.bool_] = np.diff(self.users, prepend=-1) != 0
        return firsts


def presence_runs(active: UserDays, window: int, beyond: int) -> Runs:
    """The runs of some users in a trailing window of that many days; `beyond` is the tick after the last."""
    stops = np.minimum(active.stops, active.days + window)
    lasting = active.starts < stops
    if lasting.all():
        return joined_runs(active.users, active.starts, stops, beyond)
    rows = np.flatnonzero(lasting)
    return joined_runs(active.users[rows], active.starts[rows], stops[rows], beyond)


def joined_runs(users: Integers, starts: Integers, stops: Integers, beyond: int) -> Runs:
    """The union of intervals [starts, stops), in the order of user and start; those that touch make one run.

    A user and a tick share a number, so that the running maximum begins anew with each user by itself.
    """
    tick_bits = beyond.bit_length()
    users = users << tick_bits
    starts = users | starts
    reach = np.maximum.accumulate(users | stops)
    # A run ends where nothing later touches what was reached; the next user never does.
    closing = np.ones(len(users), dtype=bool)
    np.less(reach[:-1], starts[1:], out=closing[:-1])
    opening = np.ones(len(users), dtype=bool)
    opening[1:] = closing[:-1]
    starts, stops = starts[opening], reach[closing]
    users = stops >> tick_bits
    tick = (1 << tick_bits) - 1
    return Runs(users, starts & tick, stops & tick)


def calendar_runs(active: UserDays, begins: int, ends: Integers) -> Runs:
    """The runs of some users in cells of the calendar that follow each other; their ticks are the numbers of cells.

    A user is present in a cell if there is activity on one of its days, as known on its last day.

    Args:
        active: in any order.
        begins: the first day of the first cell, counted as in `UserDays`.
        ends: the last day of each cell, one or more, likewise.
    """
    cell_of = np.searchsorted(ends, np.arange(begins, ends[-1] + 1))
    rows = np.flatnonzero((active.days >= begins) & (active.days <= ends[-1]))
    cells = cell_of[active.days[rows] - begins]
    closing = ends[cells]
    seen = (active.starts[rows] <= closing) & (closing < active.stops[rows])
    there = sorted_unique(active.users[rows[seen]] * len(ends) + cells[seen])
    users, cells = there // len(ends), there % len(ends)
    return joined_runs(users, cells, cells + 1, len(ends))


def sorted_unique(values: Integers) -> Integers:
    """What `numpy.unique` returns; that one makes a table of hashes, which takes several times as long."""
    if (values[1:] < values[:-1]).any():
        values = np.sort(values)
    unique: Integers = values[np.diff(values, prepend=values[:1] - 1) != 0]
    return unique


def positions_within(groups: Integers) -> Integers:
    """1, 2, … within each group of equal neighbours."""
    positions = np.arange(len(groups))
    new = np.ones(len(groups), dtype=bool)
    np.not_equal(groups[1:], groups[:-1], out=new[1:])
    return positions - np.maximum.accumulate(np.where(new, positions, 0)) + 1


def flips_by_tick(runs: Runs, spent: Integers, bounds: Integers, beyond: int) -> Integers:
    """Starts and ends of runs at each tick, each user cut after each of several numbers of flips, as in flips.sql.

    Args:
        spent: flips of each run's user before all runs; shape (runs,).
        bounds: ascending, all different; shape (bounds,).
        beyond: the tick after the last.

    Returns:
        Shape (2, bounds, T).
    """
    ends, within = 2 * runs.numbers + spent, runs.stops < beyond
    moves = ((ends - 1, runs.starts), (ends[within], runs.stops[within]))
    counted = np.zeros((2, len(bounds) + 1, beyond), dtype=np.int64)
    for direction, (numbers, ticks) in zip(counted, moves, strict=True):
        places = np.searchsorted(bounds, numbers) * beyond + ticks
        direction += np.bincount(places, minlength=direction.size).reshape(direction.shape)
    return counted[:, :-1].cumsum(axis=1)
