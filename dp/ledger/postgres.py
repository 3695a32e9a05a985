"""What every PostgreSQL database of the project needs: connections that lose nothing, and words for what goes wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dp.database_url import DatabaseUrl
from dp.ledger.values import LedgerError, LedgerUnavailable

if TYPE_CHECKING:
    import psycopg

OLDEST = 13
MAKING = 0x64706461
"""The advisory lock under which tables are made."""
HAS_TABLE = "EXISTS (SELECT FROM pg_class WHERE relname = '{}' AND pg_table_is_visible(oid))"
"""Whether a table is there. to_regclass may answer from a cache what was so before a lock was waited for."""
SESSION = {
    "lock_timeout": "60s",
    # A process that stands still in a transaction keeps the others from writing no longer than this.
    "idle_in_transaction_session_timeout": "300s",
    # A server that has lost a client lets go of what it has locked.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
CLIENT: dict[str, Any] = {
    "application_name": "dpdau", "connect_timeout": 30, "keepalives_idle": 30, "keepalives_interval": 10,
    "keepalives_count": 3, "tcp_user_timeout": 60_000,
}  # fmt: skip
FAILINGS = {
    "53100": "the disk of the database server is full: make room",
    "53": "the database server has no connections or no memory left: raise its limits, or end what uses them",
    "25006": "the database may only be read: name the primary server, not a standby",
    "25P03": "the database server has ended a transaction that stood still: try again",
    "28": "the database server does not let this user in: look at user, password and pg_hba.conf",
    "3D": "the database does not exist: look at the URL, or restore it",
    "3F": "the schema does not exist: look at the URL, or restore it",
    "40": "another process was in the way: try again",
    "42501": "the user of the database lacks a privilege: let it own its tables",
    "42P01": "its tables are not there: look at the URL, or restore the newest backup",
    "55": "another process keeps the database: wait for that one, or end it",
    "57": "the database server stops, starts or was restarted: wait for it",
    "58": "the database server cannot read or write its files: look at its log",
    "XX": "the database is damaged: look at the server's log, and restore the newest backup",
    "08": "the database server cannot be reached, or refuses: start it, or look at the URL",
}
"""Beginning of an SQLSTATE → what is wrong and what to do."""


def failing(error: BaseException) -> str | None:
    """What is wrong with a database, and what to do, where an error of the driver says that; None for any other."""
    # Without the driver there is no error of it.
    psycopg = sys.modules.get("psycopg")
    if psycopg is None or not isinstance(error, psycopg.Error):
        return None
    # Without a state, it is the connection that has ended or was never made.
    state = error.sqlstate or ("08" if isinstance(error, psycopg.OperationalError) else "")
    return next((why for start, why in FAILINGS.items() if state.startswith(start)), None)


def require_driver(url: DatabaseUrl) -> None:
    """Refuse to go on without the driver of PostgreSQL.

    Raises:
        LedgerError: it is not installed.
    """
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise LedgerError(
            f"{url} needs the driver psycopg, which is the extra \"postgres\": pip install 'dpdau[postgres]'"
        ) from error


def connect(url: DatabaseUrl) -> psycopg.Connection[Any]:
    """A connection that begins and commits nothing by itself, and whose commits are durable before they return.

    Raises:
        LedgerError: the driver is missing, or cannot read the URL.
        psycopg.OperationalError: the database cannot be reached.
    """
    require_driver(url)
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    try:
        given = conninfo_to_dict(url.conninfo)
    except psycopg.ProgrammingError:
        # What the driver says repeats parts of the URL.
        raise LedgerError(f"{url} cannot be read as a URL of a PostgreSQL database; look at its parameters") from None
    connection = psycopg.connect(make_conninfo(**{**CLIENT, **given}), autocommit=True)
    names = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in SESSION.items())
    try:
        # What a stronger setting promises stays promised.
        connection.execute(
            f"SELECT {names}, CASE current_setting('synchronous_commit') WHEN 'off' THEN "
            "set_config('synchronous_commit', 'on', false) END"
        )
    except BaseException:
        connection.close()
        raise
    return connection


class PostgresConnection:
    """A connection of a ledger, with parameters written as in SQLite."""

    def __init__(self, inner: psycopg.Connection[Any]) -> None:
        self._inner = inner

    @property
    def in_transaction(self) -> bool:
        """Whether there is a transaction; there is none on a connection that was lost."""
        from psycopg.pq import TransactionStatus

        return self._inner.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        """Run a statement; returns its rows.

        Raises:
            LedgerUnavailable: the database cannot be used now.
        """
        with unavailable_errors():
            return self._inner.execute(statement.replace("?", "%s"), parameters or None)

    def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> Any:
        """Run a statement for each row.

        Raises:
            LedgerUnavailable: the database cannot be used now.
        """
        with unavailable_errors(), self._inner.cursor() as cursor:
            cursor.executemany(statement.replace("?", "%s"), rows)

    def close(self) -> None:
        """Close it."""
        self._inner.close()


@contextmanager
def unavailable_errors() -> Iterator[None]:
    """Within the block, a database that cannot be used is `LedgerUnavailable`."""
    try:
        yield
    except Exception as error:
        if (why := failing(error)) is None:
            raise
        raise LedgerUnavailable(f"the ledger cannot be used now; {why}. What was acknowledged before is safe") from None
