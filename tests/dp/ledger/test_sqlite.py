"""What every SQLite file of the project needs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
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
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM counts").fetchall()
    return connection


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, on_sleep: Callable[[float], None]) -> None:
        self.now = 0.0
        self.on_sleep = on_sleep

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep(self.now)


def test_the_switch_to_wal_waits_for_a_reader(used: Path) -> None:
    with closing(reader(used)) as other, closing(sqlite3.connect(used, isolation_level=None, timeout=60)) as connection:
        with (
            closing(sqlite3.connect(used, isolation_level=None, timeout=0)) as impatient,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            impatient.execute("PRAGMA journal_mode = WAL")

        def on_sleep(now: float) -> None:
            if now > 30:
                other.execute("ROLLBACK")

        clock = Clock(on_sleep)
        switch_to_wal(connection, clock.read, clock.sleep)
        assert 30 < clock.now < 31
        assert pragma(connection, "journal_mode") == "wal"


@pytest.mark.parametrize("timeout", [0, 0.25, 60])
def test_the_switch_to_wal_does_not_wait_for_ever(used: Path, timeout: float) -> None:
    """The connection's timeout in all: SQLite's own is off, so that it is not waited for in every attempt."""
    with (
        closing(reader(used)),
        closing(sqlite3.connect(used, isolation_level=None, timeout=timeout)) as connection,
    ):

        def on_sleep(now: float) -> None:
            assert pragma(connection, "busy_timeout") == 0

        clock = Clock(on_sleep)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            switch_to_wal(connection, clock.read, clock.sleep)
        assert clock.now == pytest.approx(timeout)
        assert pragma(connection, "busy_timeout") == 1000 * timeout


def test_any_other_refusal_is_raised_at_once(used: Path) -> None:
    with (
        closing(sqlite3.connect(f"file:{used}?mode=ro", uri=True, isolation_level=None)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        switch_to_wal(connection)
