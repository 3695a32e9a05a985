"""What every SQLite file of the project needs: made for its owner only, its schema applied inside a transaction."""

from __future__ import annotations

import os
import sqlite3
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


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one, because `executescript` would commit before it begins."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
