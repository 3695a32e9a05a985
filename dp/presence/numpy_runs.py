"""What runs.sql, flips.sql and levels.sql answer, from the cells in arrays."""

from __future__ import annotations

from dataclasses import dataclass

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
        numbers: from 1 for each user, in time; shape (runs,).
    """

    users: Integers
    starts: Integers
    stops: Integers
    numbers: Integers


def presence_runs(active: UserDays, window: int, beyond: int) -> Runs:
    """The runs of some users in a trailing window of that many days; `beyond` is the tick after the last.

    A user and a tick share a number, so that the running maximum begins anew with each user by itself.
    """
    tick_bits = beyond.bit_length()
    stops = np.minimum(active.stops, active.days + window)
    lasting = np.flatnonzero(active.starts < stops)
    users = active.users[lasting] << tick_bits
    starts = users | active.starts[lasting]
    reach = np.maximum.accumulate(users | stops[lasting])
    # A run ends where nothing later touches what was reached; the next user never does.
    closing = np.ones(len(lasting), dtype=bool)
    np.less(reach[:-1], starts[1:], out=closing[:-1])
    opening = np.ones(len(lasting), dtype=bool)
    opening[1:] = closing[:-1]
    starts, stops = starts[opening], reach[closing]
    users = stops >> tick_bits
    tick = (1 << tick_bits) - 1
    return Runs(users, starts & tick, stops & tick, _numbers(users))


def _numbers(users: Integers) -> Integers:
    """1, 2, … for each user in ascending order."""
    positions = np.arange(len(users))
    new = np.ones(len(users), dtype=bool)
    np.not_equal(users[1:], users[:-1], out=new[1:])
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
