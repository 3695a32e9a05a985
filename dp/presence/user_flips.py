"""Who comes and who leaves at every tick: the flips themselves, for when daily counts are not enough."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from dp.arrays import Integers
from dp.presence.daily import Horizon, day_number, integer_columns, portable_text


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
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE cells AS {portable_text('cells', horizon, 1)}")
        runs = integer_columns(
            cursor.execute(f"SELECT user_id, starts_at, ends_at, run FROM ({portable_text('runs', horizon, window)})")
        )
    known = connection.sql('SELECT user_id, "user" FROM users ORDER BY "user"').to_arrow_table()
    rows = known["user_id"].to_numpy()
    number = np.zeros(int(rows.max(initial=-1)) + 1, dtype=np.int64)
    number[rows] = np.arange(len(rows))
    users = number[runs["user_id"]]
    bound = np.inf if w_bound is None else w_bound
    beyond = day_number(last) + 1
    starts = 2 * runs["run"] - 1 <= bound
    # Runs that last beyond the last tick end after it.
    ends = (2 * runs["run"] <= bound) & (runs["ends_at"] < beyond)
    ticks = np.concatenate([runs["starts_at"][starts], runs["ends_at"][ends]]) - day_number(first)
    who = np.concatenate([users[starts], users[ends]])
    steps = np.repeat(np.array([1, -1], dtype=np.int64), [starts.sum(), ends.sum()])
    order = np.lexsort((who, steps, ticks))
    return UserFlips(known["user"], ticks[order], who[order], steps[order])
