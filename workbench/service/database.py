"""Where a store lies: a SQLite file of its own, or a PostgreSQL database (`postgres`).

Both give the same thing: transactions that write one after the other, whichever process they are in; readers who see
one moment; and a lease, which one process at a time holds while it counts a day in several transactions.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from dp.ledger.postgres import failing
from dp.ledger.sqlite import switch_to_wal
from dp.private_files import locked
from workbench.service.errors import Refused

APPLICATION_ID = 0x64706461
TIMEOUT_SECONDS = 60
CACHE_KIB = 16 * 1024


Fence = Callable[[Connection], None]
"""Called in a transaction that writes: refuses where somebody else has taken the lease over."""


class Database(Protocol):
    """A place that a store lies in."""

    @property
    def begin_making(self) -> tuple[str, ...]:
        """The statements that begin a transaction in which a store may be made."""

    @property
    def begin_writing(self) -> tuple[str, ...]:
        """The statements that begin a transaction of which there is only one at a time."""

    @property
    def begin_reading(self) -> str:
        """The statement that begins a transaction that sees one moment."""

    def connect(self) -> Connection:
        """A connection that begins and commits nothing by itself, and whose commits are durable."""

    def close(self) -> None:
        """Close the connections that nobody uses."""

    def version(self, connection: Connection) -> int | None:
        """The version of the store, 0 for what is no store, None where there is nothing."""

    def mark(self, connection: Connection, version: int) -> None:
        """Note the version, in the transaction that made the store or brought it up to date."""

    def damage(self, connection: Connection) -> str | None:
        """What is broken, as far as that can be seen in a moment."""

    def opened(self, connection: Connection) -> None:
        """The store is there and is the right one: from now on it has to stay that."""

    def sizes(self, connection: Connection) -> tuple[int, int]:
        """Bytes of the store and of its write-ahead log."""

    def alone(self, connection: Connection) -> bool:
        """Whether no other process has the store open, as far as that can be told; outside any transaction."""

    def lease(self) -> AbstractContextManager[Fence]:
        """Held by one thread of one process; a process that dies, or loses its connection, gives it up."""

    def wipe(self, connection: Connection) -> bool:
        """Overwrite what was removed, outside any transaction; returns whether nothing is left to do."""


@dataclass
class SqliteFile:
    """A store in one SQLite file.

    Attributes:
        lock_path: a file beside it that is locked while a day is counted.
        read_only: whether the file is left as it is.
    """

    path: Path
    lock_path: Path
    read_only: bool = False
    _leased: threading.Lock = field(default_factory=threading.Lock, init=False)
    _engine: Engine = field(init=False)

    begin_making = ("BEGIN IMMEDIATE",)
    begin_writing = ("BEGIN IMMEDIATE",)
    begin_reading = "BEGIN"

    def __post_init__(self) -> None:
        self._engine = create_engine(
            "sqlite://", poolclass=NullPool, isolation_level="AUTOCOMMIT", creator=self._open
        )  # fmt: skip

    def connect(self) -> Connection:
        """A connection; FULL makes a commit durable before it returns, and what is deleted is overwritten."""
        connection = self._engine.connect()
        run = connection.exec_driver_sql
        run("PRAGMA synchronous = FULL")
        run("PRAGMA secure_delete = ON")
        run("PRAGMA temp_store = MEMORY")
        run(f"PRAGMA cache_size = -{CACHE_KIB}")
        if self.read_only:
            run("PRAGMA query_only = ON")
        return connection

    def close(self) -> None:
        """There are none."""

    def version(self, connection: Connection) -> int | None:
        """The version of the store, 0 for what is no store, None for an empty file."""
        application, version, entries = (
            connection.exec_driver_sql(text).scalar_one()
            for text in ("PRAGMA application_id", "PRAGMA user_version", "SELECT COUNT(*) FROM sqlite_master")
        )
        if not application and not version and not entries:
            return None
        return int(version) if application == APPLICATION_ID else 0

    def mark(self, connection: Connection, version: int) -> None:
        """Note the version in the file's head."""
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version = {version}")

    def damage(self, connection: Connection) -> str | None:
        """What `quick_check` finds first."""
        found = " ".join(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one().split())
        return None if found == "ok" else found

    def opened(self, connection: Connection) -> None:
        """Whoever reads holds up nobody who writes."""
        switch_to_wal(connection.connection.driver_connection)  # type: ignore[arg-type]

    def sizes(self, connection: Connection) -> tuple[int, int]:
        """Bytes of the file and of the log beside it."""
        return _size(self.path), _size(self.path.with_name(self.path.name + "-wal"))

    def alone(self, connection: Connection) -> bool:
        """Whether the file can leave write-ahead mode, which takes it for oneself; it goes back at once."""
        run = connection.exec_driver_sql
        run("PRAGMA busy_timeout = 0")
        try:
            with suppress(DBAPIError):
                return bool(run("PRAGMA journal_mode = DELETE").scalar_one() == "delete")
            return False
        finally:
            run(f"PRAGMA busy_timeout = {TIMEOUT_SECONDS * 1000}")
            self.opened(connection)

    @contextmanager
    def lease(self) -> Iterator[Fence]:
        """Held by one thread of one process; it cannot be lost while the process lives."""
        with self._leased, locked(self.lock_path):
            yield lambda connection: None

    def wipe(self, connection: Connection) -> bool:
        """Empty the write-ahead log, where removed rows linger; not possible while somebody reads."""
        run = connection.exec_driver_sql
        run("PRAGMA busy_timeout = 0")
        try:
            with suppress(DBAPIError):
                # Most is copied beside whoever writes; only the rest needs the file for itself.
                run("PRAGMA wal_checkpoint(PASSIVE)")
                return not run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]  # type: ignore[index]
            return False
        finally:
            run(f"PRAGMA busy_timeout = {TIMEOUT_SECONDS * 1000}")

    def _open(self) -> sqlite3.Connection:
        # A missing file is not made anew.
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=TIMEOUT_SECONDS,
            check_same_thread=False,
        )  # fmt: skip


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def writing(database: Database, connection: Connection) -> Iterator[None]:
    """A transaction that writes: durable when the block has ended, and undone where it fails."""
    run = connection.exec_driver_sql
    try:
        with driver_errors():
            for statement in database.begin_writing:
                run(statement)
            yield
            run("COMMIT")
    except BaseException:
        # A failed COMMIT may have rolled back by itself.
        with suppress(SQLAlchemyError):
            run("ROLLBACK")
        raise


@contextmanager
def driver_errors() -> Iterator[None]:
    """Within the block, errors are those of the driver: what a file or a server says, without the statement.

    Raises:
        Refused: the server cannot be used now; a commit that was under way may have succeeded.
    """
    try:
        yield
    except DBAPIError as error:
        if error.orig is None:
            raise
        if (why := failing(error.orig)) is not None:
            raise Refused(
                "unavailable", f"the store cannot be used now; {why}. What was acknowledged before is safe"
            ) from None
        raise error.orig from None
