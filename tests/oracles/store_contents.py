"""What the bytes of a store say, read without the code that writes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from dp.database_url import DatabaseUrl, Place
from dp.presence.tombstones import pseudonyms
from tests.oracles import postgres
from workbench.service import Settings

RECORD_BYTES = 25
NAME_BYTES = 16


def arrived(place: Place) -> list[bytes]:
    """The pseudonym of every operation that waits to be counted; zeros for one that names nobody."""
    return [name for records in _column(place, "SELECT records FROM batches ORDER BY first") for name in _cut(records)]


def counted(place: Place, window_count: int = 0, words: int = 1) -> dict[bytes, tuple[int, tuple[int, ...]]]:
    """Pseudonym → the days as one number, and the flips spent, of a store of so many bounds and words of 64 days."""
    query = "SELECT records FROM parts WHERE tick = (SELECT last FROM standing)"
    found = {}
    spent_from = NAME_BYTES + 8 * words
    size = spent_from + 4 * window_count
    for records in _column(place, query):
        for start in range(0, len(records), size):
            one = records[start : start + size]
            spent = [int.from_bytes(one[place : place + 4], "little") for place in range(spent_from, size, 4)]
            found[one[:16]] = (int.from_bytes(one[NAME_BYTES:spent_from], "little"), tuple(spent))
    return found


def rows_naming(settings: Settings, user: str) -> dict[str, int]:
    """How often a store names a user: waiting, in counted days, with flips, and as leaving."""
    name = pseudonyms(settings.key_path.read_bytes())(user)
    bounds = sum(bound is not None for bound in settings.bounds.values())
    days, spent = counted(settings.store_place, bounds).get(name, (0, ()))
    return {
        "arrived": arrived(settings.store_place).count(name),
        "days": days.bit_count(),
        "spent": sum(flips > 0 for flips in spent),
        "leaving": list(_column(settings.store_place, "SELECT name FROM erasures")).count(name),
    }


def held(settings: Settings) -> bytes:
    """What is left of everything that was ever written: of files all bytes, of a database what its rows hold."""
    if isinstance(settings.store_place, DatabaseUrl):
        return b"".join(
            postgres.rows_of(settings.store_place, table)
            for table in ("standing", "batches", "erasures", "parts", "closed", "loads", "requests")
        )
    return every_byte(settings)


def every_byte(settings: Settings) -> bytes:
    """All bytes of files; of a database those of its server's files, the write-ahead log included."""
    own = b"".join(path.read_bytes() for path in sorted(settings.key_path.parent.iterdir()) if path.is_file())
    place = settings.store_place
    return own + postgres.bytes_of(place) if isinstance(place, DatabaseUrl) else own


def _cut(records: bytes) -> Iterator[bytes]:
    for start in range(0, len(records), RECORD_BYTES):
        yield records[start : start + NAME_BYTES]


def _column(place: Place, query: str) -> list[bytes]:
    connection: Any = postgres.connected(place) if isinstance(place, DatabaseUrl) else sqlite3.connect(place)
    try:
        return [value for (value,) in connection.execute(query)]
    finally:
        connection.close()
