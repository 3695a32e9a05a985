"""What every SQLite file of the project needs: a private file, write-ahead mode, a schema in one transaction."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

POLL_SECONDS = 0.1


def create_private(path: Path) -> bool:
    """Make an empty file of mode 0600 where there is none; returns whether it did.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    if path.exists():
        return False
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return True


def switch_to_wal(
    connection: sqlite3.Connection,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Put a file into write-ahead mode, waiting as long as the connection's timeout for others who have it open.

    The first switch needs the file for itself. SQLite may wait for it or refuse at once, depending on who holds which
    lock, so its own timeout is off meanwhile and the waiting is done here.

    Args:
        connection: outside any transaction.
        clock: seconds since some moment.
        sleep: waits for a number of seconds.

    Raises:
        sqlite3.OperationalError: another connection kept the file all the time, or the file cannot be written.
    """
    (timeout,) = connection.execute("PRAGMA busy_timeout").fetchone()
    deadline = clock() + timeout / 1000
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # Without the bits that say why it is busy.
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                remaining = deadline - clock()
                if not busy or remaining <= 0:
                    raise
            sleep(min(POLL_SECONDS, remaining))
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout}")


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one, because `executescript` would commit first."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
