"""Who comes and who leaves at every tick: the flips themselves, for when daily counts are not enough."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from dp.arrays import Integers
from dp.presence.daily import NO_BOUND, Horizon
from dp.presence.numpy_cells import user_days
from dp.presence.numpy_runs import Runs, presence_runs


@dataclass(frozen=True, eq=False)
class UserFlips:
    """The flips of one window, in the order of their ticks.

    A user's number is the position of the id among all ids of the log in ascending order, so it depends on the content
    of the log and not on the order of its rows.

    Attributes:
        ids: the ids of the users, ascending; shape (users,).
        ticks: counted from 0; shape (flips,).
        users: number of the user of each flip; shape (flips,).
        steps: 1 for a user who comes, −1 for one who leaves; shape (flips,).
    """

    ids: pa.ChunkedArray
    ticks: Integers
    users: Integers
    steps: Integers


def user_flips(
    connection: duckdb.DuckDBPyConnection, window: int, first: date, last: date, w_bound: int | None = None
) -> UserFlips:
    """The flips within `first` .. `last` of everyone in the log, each user cut after `w_bound` flips.

    Args:
        connection: has the tables `operations` and `users`, as `dp.log.read_log` makes them.
        window: length of the trailing window in days.
        first: the first tick.
        last: the last tick.
        w_bound: the flips after which a user is frozen; None freezes nobody.

    Raises:
        ValueError: see `Horizon`.
    """
    horizon = Horizon((window,), first, last, w_bound)
    beyond = (last - first).days + 1
    with connection.cursor() as cursor:
        found = [_steps(presence_runs(part, window, beyond), w_bound, beyond) for part in user_days(cursor, horizon)]
    ticks, users, steps = np.concatenate([np.zeros((3, 0), dtype=np.int64), *found], axis=1)
    known = connection.sql('SELECT user_id, "user" FROM users ORDER BY "user"').to_arrow_table()
    ids = known["user_id"].to_numpy()
    by_id = np.argsort(ids)
    who = by_id[np.searchsorted(ids, users, sorter=by_id)]
    order = np.lexsort((who, steps, ticks))
    return UserFlips(known["user"], ticks[order], who[order], steps[order])


def _steps(found: Runs, w_bound: int | None, beyond: int) -> Integers:
    """Tick, user id and step of each flip within the horizon; shape (3, flips)."""
    bound = NO_BOUND if w_bound is None else w_bound
    starts = 2 * found.numbers - 1 <= bound
    ends = (2 * found.numbers <= bound) & (found.stops < beyond)
    came = [found.starts[starts], found.users[starts], np.ones(starts.sum(), dtype=np.int64)]
    left = [found.stops[ends], found.users[ends], np.full(ends.sum(), -1)]
    return np.concatenate([came, left], axis=1)
