"""Where a store lies: a SQLite file of its own, or a PostgreSQL database.

Both give the same thing: transactions that write one after the other, whichever process they are in; readers who see
one moment; and a lease, which one process at a time holds while it counts a day in several transactions.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from dp.private_files import locked

TIMEOUT_SECONDS = 60
CACHE_KIB = 16 * 1024


class Database(Protocol):
    """A place that a store lies in."""

    @property
    def begin_writing(self) -> tuple[str, ...]:
        """The statements that begin a transaction of which there is only one at a time."""

    @property
    def begin_reading(self) -> str:
        """The statement that begins a transaction that sees one moment."""

    def connect(self) -> Connection:
        """A connection that begins and commits nothing by itself."""

    def lease(self) -> AbstractContextManager[None]:
        """Held by one thread of one process; a process that dies gives it up."""

    def wipe(self, connection: Connection) -> bool:
        """Overwrite what was removed, outside any transaction; returns whether that was possible."""


@dataclass
class SqliteFile:
    """A store in one SQLite file."""

    path: Path
    lock_path: Path
    _leased: threading.Lock = field(default_factory=threading.Lock, init=False)
    _engine: Engine = field(init=False)

    begin_writing = ("BEGIN IMMEDIATE",)
    begin_reading = "BEGIN"

    def __post_init__(self) -> None:
        self._engine = create_engine(
            "sqlite://", poolclass=NullPool, isolation_level="AUTOCOMMIT",
            creator=lambda: sqlite3.connect(
                self.path, isolation_level=None, timeout=TIMEOUT_SECONDS, check_same_thread=False
            ),
        )  # fmt: skip

    def connect(self) -> Connection:
        """A connection; FULL makes a commit durable before it returns, and what is deleted is overwritten."""
        connection = self._engine.connect()
        run = connection.exec_driver_sql
        run("PRAGMA synchronous = FULL")
        run("PRAGMA secure_delete = ON")
        run("PRAGMA temp_store = MEMORY")
        run(f"PRAGMA cache_size = -{CACHE_KIB}")
        return connection

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Held by one thread of one process; a process that dies gives it up."""
        with self._leased, locked(self.lock_path):
            yield

    def wipe(self, connection: Connection) -> bool:
        """Empty the write-ahead log, where removed rows linger; not possible while somebody reads."""
        run = connection.exec_driver_sql
        run("PRAGMA busy_timeout = 0")
        try:
            with suppress(DBAPIError):
                return not run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]  # type: ignore[index]
            return False
        finally:
            run(f"PRAGMA busy_timeout = {TIMEOUT_SECONDS * 1000}")


@contextmanager
def driver_errors() -> Iterator[None]:
    """Within the block, errors are those of the driver: what a file or a server says, without the statement."""
    try:
        yield
    except DBAPIError as error:
        if error.orig is None:
            raise
        raise error.orig from None
