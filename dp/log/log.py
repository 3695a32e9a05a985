"""A checked log: one table of operations in a database of its own."""

from dataclasses import dataclass, replace
from datetime import date
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa


class LogError(ValueError):
    """A log that cannot be used; the message names file, line and reason."""


@dataclass(frozen=True)
class Log:
    """A checked log in a DuckDB connection of its own. Use it as a context manager, or close it.

    Tables: `operations(user_id, day, at, seq, op)` with days as INT since 1970-01-01 (day is NULL in an erase), op
    +1 add, -1 retract, 0 erase, seq the order of arrival; `users(user_id, user)`.

    A log that was read with segment columns also has `operations.label`, a number from 0 that names a row of
    `labels(label, "<column>", …)`: what the operation says in each segment column, NULL where it says nothing.
    """

    connection: duckdb.DuckDBPyConnection
    rows_read: int
    rows_used: int
    rows_set_aside: int
    first_day: date | None
    """The earliest day in the log (an erase counts with its arrival); None if the log has no rows."""
    last_day: date | None
    """The last arrival in the log; None if the log has no rows."""
    users: int
    paths: tuple[str, ...] = ()
    """What it was read from, as it was named."""
    read_as: str = ""
    """How its rows were read, where that is not as usual (`dp.log.reading.read_as`)."""
    segments: tuple[str, ...] = ()
    """The segment columns that were read."""

    @property
    def period(self) -> tuple[date, date]:
        """The first and the last day.

        Raises:
            LogError: the log has no rows.
        """
        if self.first_day is None or self.last_day is None:
            raise LogError("the log has no rows, so it has no first and last day: name both (--from and --to)")
        return self.first_day, self.last_day

    def __enter__(self) -> Self:
        """The log itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection, which frees the memory of the rows."""
        self.connection.close()


def log_of(log: Log, operations: pa.Table, users: pa.Table) -> Log:
    """A log of these operations and users over the period of `log`.

    Args:
        log: gives the period and the labels; it stays open.
        operations: user_id, day, at, seq and op, as in `Log`, and label where there are segments.
        users: user_id and user.

    Returns:
        A log with a connection of its own, whose rows all count as read and used.
    """
    connection = duckdb.connect()
    tables = {"operations": operations, "users": users}
    if log.segments:
        tables["labels"] = log.connection.sql("FROM labels").to_arrow_table()
    for relation, rows in tables.items():
        connection.register("moved", rows)
        connection.execute(f"CREATE TABLE {relation} AS SELECT * FROM moved")
        connection.unregister("moved")
    kept = operations.num_rows
    return replace(log, connection=connection, rows_read=kept, rows_used=kept, rows_set_aside=0, users=users.num_rows)
