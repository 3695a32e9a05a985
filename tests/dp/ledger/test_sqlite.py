"""What every SQLite file of the project needs."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from dp.ledger.sqlite import switch_to_wal


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A file in rollback mode."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE counts (count INTEGER)")
    return path


def reader(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM counts").fetchall()
    return connection


def test_the_switch_to_wal_waits_for_a_reader(used: Path) -> None:
    with closing(reader(used)) as other, closing(sqlite3.connect(used, isolation_level=None, timeout=60)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            connection.execute("PRAGMA journal_mode = WAL")
        timer = threading.Timer(0.3, other.execute, ["ROLLBACK"])
        timer.start()
        switch_to_wal(connection)
        timer.join()
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_switch_to_wal_does_not_wait_for_ever(used: Path) -> None:
    with (
        closing(reader(used)),
        closing(sqlite3.connect(used, isolation_level=None)) as connection,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        switch_to_wal(connection, tries=2)


def test_any_other_refusal_is_told_at_once(used: Path) -> None:
    with (
        closing(sqlite3.connect(f"file:{used}?mode=ro", uri=True, isolation_level=None)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        switch_to_wal(connection)
