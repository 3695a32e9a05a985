"""What runs.sql, flips.sql and levels.sql answer, from the cells in arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

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


@dataclass(frozen=True)
class PackedDays:
    """The intervals of `UserDays` in the order of user and start, with the user in the upper bits of every number.

    Windows differ in what they make of days; packed once, they do it in a few steps each.

    Attributes:
        starts: user and start; shape (intervals,).
        stops: user and stop; shape (intervals,).
        days: user · 2**tick_bits + day; shape (intervals,).
        tick_bits: bits below the user; every tick fits, and the one after the last.
    """

    starts: Integers
    stops: Integers
    days: Integers
    tick_bits: int

    @classmethod
    def of(cls, active: UserDays, beyond: int) -> PackedDays:
        """The same intervals; `beyond` is the tick after the last."""
        tick_bits = beyond.bit_length()
        users = active.users << tick_bits
        return cls(users | active.starts, users | active.stops, users + active.days, tick_bits)


@dataclass(frozen=True)
class PackedRuns:
    """The runs of `Runs`, packed like `PackedDays`."""

    starts: Integers
    stops: Integers
    tick_bits: int

    @cached_property
    def users(self) -> Integers:
        """The user of each run, ascending; shape (runs,)."""
        return self.starts >> self.tick_bits

    @property
    def runs(self) -> Runs:
        """The same, unpacked."""
        tick = (1 << self.tick_bits) - 1
        return Runs(self.users, self.starts & tick, self.stops & tick)


def presence_runs(active: UserDays, window: int, beyond: int) -> Runs:
    """The runs of some users in a trailing window of that many days; `beyond` is the tick after the last."""
    return window_runs(PackedDays.of(active, beyond), window).runs


def window_runs(active: PackedDays, window: int) -> PackedRuns:
    """The runs of some users in a trailing window of that many days."""
    stops = np.minimum(active.stops, active.days + window)
    starts, lasting = active.starts, active.starts < stops
    if not lasting.all():
        starts, stops = starts[lasting], stops[lasting]
    return joined_runs(starts, stops, active.tick_bits)


def joined_runs(starts: Integers, stops: Integers, tick_bits: int) -> PackedRuns:
    """The union of packed intervals [starts, stops), in the order of user and start; those that touch make one run.

    A user and a tick share a number, so that the running maximum begins anew with each user by itself.
    """
    reach = np.maximum.accumulate(stops)
    # A run ends where nothing later touches what was reached; the next user never does.
    closing = np.ones(len(starts), dtype=bool)
    np.less(reach[:-1], starts[1:], out=closing[:-1])
    opening = np.ones(len(starts), dtype=bool)
    opening[1:] = closing[:-1]
    return PackedRuns(starts[opening], reach[closing], tick_bits)


def calendar_runs(active: PackedDays, begins: int, ends: Integers) -> PackedRuns:
    """The runs of some users in cells of the calendar that follow each other; their ticks are the numbers of cells.

    A user is present in a cell if there is activity on one of its days, as known on its last day.

    Args:
        active: in any order.
        begins: the first day of the first cell, counted as in `UserDays`.
        ends: the last day of each cell, one or more, likewise.
    """
    cell_of = np.searchsorted(ends, np.arange(begins, ends[-1] + 1))
    users = active.starts >> active.tick_bits << active.tick_bits
    days = active.days - users
    rows = np.flatnonzero((days >= begins) & (days <= ends[-1]))
    cells = cell_of[days[rows] - begins]
    closing = users[rows] + ends[cells]
    seen = (active.starts[rows] <= closing) & (closing < active.stops[rows])
    bits = len(ends).bit_length()
    there = sorted_unique(users[rows[seen]] >> active.tick_bits << bits | cells[seen])
    return joined_runs(there, there + 1, bits)


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
