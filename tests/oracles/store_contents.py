"""What the bytes of a store say, read without the code that writes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from dp.presence.tombstones import pseudonyms
from workbench.service import Settings

RECORD_BYTES = 25
NAME_BYTES = 16


def arrived(path: Path) -> list[bytes]:
    """The pseudonym of every operation that waits to be counted; zeros for one that names nobody."""
    return [name for records in _column(path, "SELECT records FROM batches ORDER BY first") for name in _cut(records)]


def counted(path: Path, window_count: int = 0, words: int = 1) -> dict[bytes, tuple[int, tuple[int, ...]]]:
    """Pseudonym → the days as one number, and the flips spent, of a store of so many bounds and words of 64 days."""
    query = "SELECT records FROM parts WHERE tick = (SELECT last FROM standing)"
    found = {}
    spent_from = NAME_BYTES + 8 * words
    size = spent_from + 4 * window_count
    for records in _column(path, query):
        for start in range(0, len(records), size):
            one = records[start : start + size]
            spent = [int.from_bytes(one[place : place + 4], "little") for place in range(spent_from, size, 4)]
            found[one[:16]] = (int.from_bytes(one[NAME_BYTES:spent_from], "little"), tuple(spent))
    return found


def rows_naming(settings: Settings, user: str) -> dict[str, int]:
    """How often a store names a user: waiting, in counted days, with flips, and as leaving."""
    name = pseudonyms(settings.key_path.read_bytes())(user)
    bounds = sum(bound is not None for bound in settings.bounds.values())
    days, spent = counted(settings.store_path, bounds).get(name, (0, ()))
    return {
        "arrived": arrived(settings.store_path).count(name),
        "days": days.bit_count(),
        "spent": sum(flips > 0 for flips in spent),
        "leaving": list(_column(settings.store_path, "SELECT name FROM erasures")).count(name),
    }


def _cut(records: bytes) -> Iterator[bytes]:
    for start in range(0, len(records), RECORD_BYTES):
        yield records[start : start + NAME_BYTES]


def _column(path: Path, query: str) -> list[bytes]:
    connection = sqlite3.connect(path)
    try:
        return [value for (value,) in connection.execute(query)]
    finally:
        connection.close()
