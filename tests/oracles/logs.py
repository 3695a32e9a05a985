"""Logs in memory, from lists of operations."""

from collections.abc import Sequence
from datetime import date, timedelta

import duckdb
import numpy as np

from dp.log import Log
from tests.oracles.presence import DAYS, Operation

CODES = {"+": 1, "-": -1, "erase": 0}

HORIZON_END = 36


def day(number: int) -> date:
    """The calendar day of a number."""
    return date(1970, 1, 1) + timedelta(days=number)


def log_of(operations: Sequence[Operation], connection: duckdb.DuckDBPyConnection) -> Log:
    """A log in memory, as read_log would make it from a file with these rows."""
    users = sorted({operation.user for operation in operations})
    connection.execute(
        "CREATE OR REPLACE TABLE operations AS SELECT unnest(?::INTEGER[]) AS user_id, unnest(?::INTEGER[]) AS day, "
        "unnest(?::INTEGER[]) AS at, unnest(?::BIGINT[]) AS seq, unnest(?::TINYINT[]) AS op",
        [
            [users.index(operation.user) for operation in operations],
            [operation.day for operation in operations],
            [operation.at for operation in operations],
            list(range(len(operations))),
            [CODES[operation.op] for operation in operations],
        ],
    )
    connection.execute(
        'CREATE OR REPLACE TABLE users AS SELECT unnest(?::INTEGER[]) AS user_id, unnest(?::VARCHAR[]) AS "user"',
        [list(range(len(users))), users],
    )
    rows = len(operations)
    return Log(connection, rows, rows, 0, day(0), day(HORIZON_END), len(users))


def stream(seed: int, rows: int) -> list[Operation]:
    """Random operations of four users, a tenth of them erases."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(rows):
        about, op = (
            int(rng.choice(DAYS)),
            str(rng.choice(["+", "+", "+", "-", "-", "erase"], p=[0.2] * 3 + [0.15] * 2 + [0.1])),
        )
        at = about + int(rng.choice([0, 0, 1, 7]))
        result.append(Operation(str(rng.choice(list("abcd"))), None if op == "erase" else about, op, at))
    return result
