"""How many runs of presence a user-day needs: what the unit user-day assumes of a log, measured. NOT PRIVATE.

A user-day is seen where no other day of its user covers the window. If that is in one run, the user-day is in the class
of W_BOUND 2 (docs/guarantees.md, section 1.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Integers
from dp.presence.daily import Horizon
from dp.presence.numpy_cells import UserDays, user_days

if TYPE_CHECKING:
    import duckdb

CHUNK = 2**23
"""Users times ticks that are looked at together."""


@dataclass(frozen=True)
class NeededRuns:
    """How many user-days need how many runs, and how many users have one that needs so many and none that needs more.

    Attributes:
        window: in days.
        user_days: number of runs, from 1, to the number of user-days; one that other days hide altogether counts as 1.
        users: the same for users, by the user-day that needs most.
    """

    window: int
    user_days: dict[int, int]
    users: dict[int, int]


def needed_runs(connection: duckdb.DuckDBPyConnection, window: int, first: date, last: date) -> NeededRuns:
    """What the user-days need that can be seen at the ticks `first` .. `last`.

    Args:
        connection: has the tables `operations` and `users`, as `dp.log.read_log` makes them.
        window: length of the trailing window in days.

    Raises:
        ValueError: see `dp.presence.daily.Horizon`.
    """
    horizon, ticks = Horizon((window,), first, last), (last - first).days + 1
    # Nobody may need one run, which is then said.
    found_days, found_users = Counter({1: 0}), Counter({1: 0})
    with connection.cursor() as cursor:
        for part in user_days(cursor, horizon):
            for users, runs in _runs_of_user_days(part, window, ticks):
                first_of_user = np.flatnonzero(np.diff(users, prepend=-1))
                found_days.update(runs.tolist())
                found_users.update(np.maximum.reduceat(runs, first_of_user).tolist())
    return NeededRuns(window, dict(sorted(found_days.items())), dict(sorted(found_users.items())))


def _runs_of_user_days(part: UserDays, window: int, ticks: int) -> Iterator[tuple[Integers, Integers]]:
    """The user and the number of runs of each user-day, some users at a time."""
    ends = np.minimum(part.stops, part.days + window)
    seen = np.flatnonzero(part.starts < ends)
    order = seen[np.lexsort((part.starts[seen], part.days[seen], part.users[seen]))]
    users = np.unique(part.users[order], return_inverse=True)[1].astype(np.int64)
    most = max(CHUNK // (ticks + 1), 1)
    for begin, end in pairwise(np.searchsorted(users, np.arange(0, users.max(initial=-1) + 1 + most, most))):
        rows = order[begin:end]
        yield _counted(_merged(users[begin:end], part.days[rows], part.starts[rows], ends[rows]), ticks)


class _Intervals(NamedTuple):
    """Of user-days, in their order: the user, whether another user-day begins, the first tick and the one after."""

    users: Integers
    begins: NDArray[np.bool_]
    starts: Integers
    ends: Integers


def _merged(users: Integers, days: Integers, starts: Integers, ends: Integers) -> _Intervals:
    """Intervals of a user-day that touch become one."""
    begins = (np.diff(users, prepend=-1) != 0) | (np.diff(days, prepend=days[:1] - 1) != 0)
    # Every user-day on a stretch of its own, so that one running maximum serves all.
    offset = np.cumsum(begins) * (int(ends.max(initial=0)) + 1)
    reach = np.maximum.accumulate(ends + offset)
    opens = begins.copy()
    opens[1:] |= starts[1:] + offset[1:] > reach[:-1]
    last = np.append(np.flatnonzero(opens)[1:], len(opens)) - 1
    return _Intervals(users[opens], begins[opens], starts[opens], (reach - offset)[last])


def _counted(intervals: _Intervals, ticks: int) -> tuple[Integers, Integers]:
    """For each user-day its user, and the runs of ticks at which it alone is there, at least 1."""
    users, begins, starts, ends = intervals
    row = (users - users[0]) * (ticks + 1)
    size = int(row[-1]) + ticks + 1
    cover = np.bincount(row + starts, minlength=size) - np.bincount(row + ends, minlength=size)
    alone = np.cumsum(cover) == 1
    # Ticks at which one day is there by itself, and at the tick before none or several were.
    opened = np.cumsum(alone & ~np.concatenate([[False], alone[:-1]]))
    runs = alone[row + starts] + opened[row + ends - 1] - opened[row + starts]
    first = np.flatnonzero(begins)
    return users[first], np.maximum(np.add.reduceat(runs, first), 1)
