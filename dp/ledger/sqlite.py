"""What every SQLite file of the project needs: made for its owner only, its schema applied inside a transaction."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path


def create_private(path: Path) -> bool:
    """Make an empty file of mode 0600 where there is none; returns whether it did.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    if path.exists():
        return False
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return True


def switch_to_wal(connection: sqlite3.Connection, tries: int = 600) -> None:
    """Put a file into write-ahead mode, waiting (up to a minute) for other processes that have it open.

    The first switch needs the file for itself and does not wait for it, whatever the connection's timeout.

    Raises:
        sqlite3.OperationalError: another process kept the file all the time, or the file cannot be written.
    """
    for left in reversed(range(tries)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or not left:
                raise
            time.sleep(0.1)


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one, because `executescript` would commit before it begins."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
