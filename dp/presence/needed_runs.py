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
from dp.presence.daily import Horizon, day_number, integer_columns, portable_text

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
    horizon = Horizon((window,), first, last)
    start, ticks = day_number(first), (last - first).days + 1
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE cells AS {portable_text('cells', horizon, 1)}")
        cursor.execute(
            "CREATE TEMP TABLE seen AS SELECT user_id, day, "
            f"GREATEST(present_from, {start}) - {start} AS starts_at, "
            f"LEAST(present_until, day + {window}, {start + ticks}) - {start} AS ends_at FROM cells"
        )
        cursor.execute("DELETE FROM seen WHERE starts_at >= ends_at")
        # Without a retraction, an erasure or a late arrival nothing comes between the ends of a user-day.
        cursor.execute(
            "CREATE TEMP TABLE broken AS SELECT DISTINCT user_id FROM operations AS o WHERE op <> 1 OR o.at > o.day"
        )
        ((days, users),) = cursor.execute(
            "SELECT COUNT(DISTINCT (user_id, day)), COUNT(DISTINCT user_id) FROM seen ANTI JOIN broken USING (user_id)"
        ).fetchall()
        columns = integer_columns(
            cursor.execute("SELECT * FROM seen SEMI JOIN broken USING (user_id) ORDER BY user_id, day, starts_at")
        )
    found_days, found_users = Counter({1: days}), Counter({1: users})
    for user, runs in _runs_of_user_days(columns, ticks):
        first_of_user = np.flatnonzero(np.diff(user, prepend=-1))
        found_days.update(runs.tolist())
        found_users.update(np.maximum.reduceat(runs, first_of_user).tolist())
    return NeededRuns(window, dict(sorted(found_days.items())), dict(sorted(found_users.items())))


def _runs_of_user_days(columns: dict[str, Integers], ticks: int) -> Iterator[tuple[Integers, Integers]]:
    """The user and the number of runs of each user-day, some users at a time."""
    user = np.unique(columns["user_id"], return_inverse=True)[1].astype(np.int64)
    most = max(CHUNK // (ticks + 1), 1)
    for begin, end in pairwise(np.searchsorted(user, np.arange(0, user.max(initial=-1) + 1 + most, most))):
        part = slice(begin, end)
        yield _counted(
            _merged(user[part], columns["day"][part], columns["starts_at"][part], columns["ends_at"][part]), ticks
        )


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
