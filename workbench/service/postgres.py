"""A store in a PostgreSQL database, which several processes on several machines may use."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError

from dp.database_url import DatabaseUrl
from dp.ledger.postgres import HAS_TABLE, MAKING, OLDEST, connect
from workbench.service.database import Fence, driver_errors, writing
from workbench.service.errors import Refused, StoreError
from workbench.service.versions import stamp

LEASE = MAKING + 1
"""The advisory lock of whoever counts a day."""
REMOVED_FROM = ("batches", "erasures", "parts", "requests")
STORE_TABLES = ("standing", *REMOVED_FROM, "closed", "loads")
REST = 20
"""Times as long as it took, nothing is wiped again."""


@dataclass
class PostgresDatabase:
    """A store in a PostgreSQL database.

    **Who writes waits first and looks afterwards.** The lock is taken by a statement that has no snapshot, and under
    READ COMMITTED each statement has a snapshot of its own: so all that a transaction reads was committed before it got
    the lock, and stays so until it ends, because everybody who writes takes the lock. Weaker ways lose operations.
    Without a lock, READ COMMITTED lets a day be sealed between the moment when an operation looks which day is open and
    the moment when it is committed: it then waits for a day that is counted already. Under REPEATABLE READ a lock
    that is taken by a SELECT (pg_advisory_xact_lock) comes too late: the snapshot is that SELECT's, and is older than
    what the one before has committed.

    The lock is that of a table, so it ends with the transaction, and with its connection; it keeps out neither who
    reads nor pg_dump.
    """

    url: DatabaseUrl
    _name: str | None = field(default=None, init=False)
    _leased: threading.Lock = field(default_factory=threading.Lock, init=False)
    _wiped: tuple[float, float] = field(default=(0.0, 0.0), init=False)
    _engine: Engine = field(init=False)

    begin_making = ("BEGIN ISOLATION LEVEL READ COMMITTED", f"SELECT pg_advisory_xact_lock({MAKING})")
    begin_writing = ("BEGIN ISOLATION LEVEL READ COMMITTED", "LOCK TABLE standing IN EXCLUSIVE MODE")
    begin_reading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def __post_init__(self) -> None:
        self._engine = create_engine(
            "postgresql+psycopg://", isolation_level="AUTOCOMMIT", creator=partial(connect, self.url),
            pool_pre_ping=True, max_overflow=-1,
        )  # fmt: skip

    def connect(self) -> Connection:
        """A connection whose commits are on disk before they return (`synchronous_commit`).

        Raises:
            Refused: another store has taken the place of the one that was opened.
        """
        connection = self._engine.connect()
        try:
            if self._name is not None and self._name != _name(connection):
                raise Refused(
                    "unavailable", f"{self.url} holds another store than before; put it back, or start the service anew"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._engine.dispose()

    def version(self, connection: Connection) -> int | None:
        """The version of the store, 0 for what is no store, None where there is no such table.

        Raises:
            StoreError: the server is too old.
        """
        server, stands, versioned = connection.exec_driver_sql(
            f"SELECT current_setting('server_version_num')::int / 10000, {HAS_TABLE.format('standing')}, "
            f"{HAS_TABLE.format('alembic_version')}"
        ).one()
        if server < OLDEST:
            raise StoreError(f"{self.url} is a server of version {server}; version {OLDEST} is the oldest that will do")
        if not stands:
            return None
        if not versioned:
            return 0
        return int(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())

    def mark(self, connection: Connection, version: int) -> None:
        """Note the version, and add what only this database needs."""
        run = connection.exec_driver_sql
        stamp(connection, version)
        run("CREATE TABLE IF NOT EXISTS lease (term BIGINT NOT NULL)")
        run("INSERT INTO lease SELECT 0 WHERE NOT EXISTS (SELECT FROM lease)")
        # Pseudonyms are random: trying to compress them is in vain.
        for table in ("batches", "parts"):
            run(f"ALTER TABLE {table} ALTER COLUMN records SET STORAGE EXTERNAL")

    def damage(self, connection: Connection) -> str | None:
        """Nothing: the server looks after its pages itself (`initdb --data-checksums`)."""
        return None

    def opened(self, connection: Connection) -> None:
        """From now on every connection has to lead to this store."""
        self._name = _name(connection)

    def sizes(self, connection: Connection) -> tuple[int, int]:
        """Bytes of the tables with what belongs to them; the write-ahead log is the server's."""
        tables = ", ".join(f"('{name}')" for name in STORE_TABLES)
        return int(
            connection.exec_driver_sql(
                f"SELECT sum(pg_total_relation_size(name::regclass)) FROM (VALUES {tables}) AS of_store (name)"
            ).scalar_one()
        ), 0

    def alone(self, connection: Connection) -> bool:
        """Whether nobody else is connected who calls himself as this program does."""
        return not connection.exec_driver_sql(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND application_name = current_setting('application_name')"
        ).scalar_one()

    @contextmanager
    def lease(self) -> Iterator[Fence]:
        """Held by one thread of one process, on a connection of its own, and lost with either.

        Whoever gets the lease begins a new term, as one that writes. What is written under it looks in the same
        transaction whether the term is still the last one: so nothing of an earlier holder, which may not know that its
        connection was lost, is committed after a later one has begun.
        """
        with self._leased, driver_errors(), self.connect() as connection:
            run = connection.exec_driver_sql
            connection.detach()
            # A count takes as long as it takes.
            run("SET lock_timeout = 0")
            run(f"SELECT pg_advisory_lock({LEASE})")
            with writing(self, connection):
                term = run("UPDATE lease SET term = term + 1 RETURNING term").scalar_one()

            def check(other: Connection) -> None:
                if other.exec_driver_sql("SELECT term FROM lease").scalar_one() != term:
                    raise Refused("unavailable", "another process has gone on with this count; ask again in a moment")

            try:
                yield check
            finally:
                # A lost connection has given it up.
                with suppress(SQLAlchemyError):
                    run(f"SELECT pg_advisory_unlock({LEASE})")

    def wipe(self, connection: Connection) -> bool:
        """Let the server reuse what removed rows took; not possible while somebody reads, and not all the time.

        It says nothing of the write-ahead log, nor of the bytes until they are reused: docs/guarantees.md, 9.2.
        """
        ended, took = self._wiped
        if time.monotonic() < ended + REST * took:
            return False
        run = connection.exec_driver_sql
        with suppress(SQLAlchemyError):
            readers = run(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL "
                "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).scalar_one()
            started = time.monotonic()
            run(f"VACUUM {', '.join(REMOVED_FROM)}")
            ended = time.monotonic()
            self._wiped = ended, ended - started
            return not readers
        return False


def _name(connection: Connection) -> str:
    return str(connection.exec_driver_sql("SELECT name FROM standing").scalar_one())
