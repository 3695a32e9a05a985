"""The store: an append-only log of operations, the user-days it comes down to, and the counts of closed days.

User ids are not in it: they become keyed pseudonyms on the way in. Everything here works inside the caller's
transaction on one SQLite connection and keeps nothing in memory, so several processes may use one store. An operation
counts from its *arrival tick*: the day it is about, or the open day if that is later (docs/service.md).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from dp.presence.daily import EPOCH
from workbench.service.errors import NotNext, StoreError
from workbench.service.operations import ADD, ERASE, RETRACT, Ingested, Operation

TIMEOUT_SECONDS = 60
ROWS_A_STATEMENT = 1000
NEVER = -(2**31)
SEQ_LIMIT = 2**40
"""More operations than a store will see: at · SEQ_LIMIT + seq orders operations by tick and arrival."""


@dataclass(frozen=True)
class Count:
    """Users present at one tick in one window; NOT PRIVATE.

    Attributes:
        truth: all of them.
        bounded: with every user frozen after the flip bound, where there is one.
    """

    truth: int
    bounded: int


@dataclass(frozen=True)
class ClosedDays:
    """How far the days have come: the first and the last closed tick, both None before the first."""

    first: int | None
    last: int | None

    @property
    def open_day(self) -> int | None:
        """The tick that is closed next; None where that is still to be chosen."""
        return self.open_from(None)

    def open_from(self, earliest: int | None) -> int | None:
        """The tick that is closed next; `earliest` if no tick is closed yet."""
        return earliest if self.last is None else self.last + 1

    @property
    def days(self) -> int:
        """How many days are closed."""
        return 0 if self.first is None or self.last is None else self.last - self.first + 1


class Store:
    """A store on an open connection; use `opening.open_store`. Without `pseudonym` it can be read only."""

    def __init__(self, connection: sqlite3.Connection, pseudonym: Callable[[str], bytes] | None = None) -> None:
        self.connection = connection
        self._pseudonym = pseudonym or _keyless
        # Also what an earlier process left.
        self._to_wipe = True

    @property
    def name(self) -> str:
        """A random name, given when the store was made; streams in the ledger carry it."""
        return str(self._fact("name"))

    def hide(self, text: str) -> bytes:
        """A keyed digest of a text, from which the text cannot be found without the key."""
        return self._pseudonym(text)

    def progress(self) -> ClosedDays:
        """How far the days have come."""
        first, last = self.connection.execute("SELECT MIN(day), MAX(day) FROM closed").fetchone()
        return ClosedDays(first, last)

    def append(self, operations: Iterable[Operation], earliest: int | None = None) -> Ingested:
        """Store operations in the order of arrival; see `append_all`."""
        return self.append_all([operations], earliest)[0]

    def append_all(self, batches: Sequence[Iterable[Operation]], earliest: int | None = None) -> list[Ingested]:
        """Store batches of operations in the order of arrival; erasures that count from now on are carried out at once.

        Args:
            earliest: the first tick, if it is known; used while no tick is closed.
        """
        progress = self.progress()
        last, open_day = progress.last, progress.open_from(earliest)
        # Before the first tick is known everything counts from its own day.
        floor = NEVER if open_day is None else open_day
        seq = self.last_seq()
        rows: list[tuple[int, bytes | None, int | None, int, int]] = []
        erased: list[tuple[bytes, int]] = []
        ingested: list[Ingested] = []
        name_of = self._pseudonym
        for operations in batches:
            first, late = seq, 0
            for user, day, op, at in operations:
                seq += 1
                counts_from = floor if day is None or day < floor else day
                if at is not None and at > counts_from:
                    counts_from = at
                if op == ERASE and counts_from == floor:
                    erased.append((name_of(user), seq))
                    rows.append((seq, None, None, open_day or 0, ERASE))
                else:
                    late += last is not None and day is not None and day <= last
                    rows.append((seq, name_of(user), day, counts_from, op))
            ingested.append(Ingested(seq - first, late, seq))
        self._insert(rows)
        self._arrived(seq)
        self._erase(erased)
        return ingested

    def erase(self, user: str, earliest: int | None = None) -> int:
        """Remove all rows of a user, keeping the flips spent under a pseudonym; returns the rows removed.

        The log keeps a row that somebody was erased, without saying who. An erasure that is to come stays.
        """
        return self._erase_at_once(self._pseudonym(user), earliest)

    def erase_whom(self, seq: int, earliest: int | None = None) -> int:
        """`erase` for the user whom the operation of this number names.

        Raises:
            StoreError: it names nobody.
        """
        found = self.connection.execute("SELECT pseudonym FROM operations WHERE seq = ?", (seq,)).fetchone()
        if found is None or found[0] is None:
            raise StoreError(f"operation {seq} names nobody; its user may be erased already")
        return self._erase_at_once(found[0], earliest)

    def _erase_at_once(self, pseudonym: bytes, earliest: int | None) -> int:
        open_day = self.progress().open_from(earliest) or 0
        seq = self.last_seq() + 1
        self.connection.execute("INSERT INTO operations VALUES (?, NULL, NULL, ?, ?)", (seq, open_day, ERASE))
        self._arrived(seq)
        return self._erase([(pseudonym, seq)])

    def _insert(self, rows: Sequence[tuple[int, bytes | None, int | None, int, int]]) -> None:
        """Many rows a statement: each statement gives up the interpreter's lock and has to get it back."""
        for start in range(0, len(rows), ROWS_A_STATEMENT):
            part = rows[start : start + ROWS_A_STATEMENT]
            places = ", ".join(["(?, ?, ?, ?, ?)"] * len(part))
            self.connection.execute(f"INSERT INTO operations VALUES {places}", list(chain.from_iterable(part)))

    def _arrived(self, seq: int) -> None:
        self.connection.execute("UPDATE facts SET value = ? WHERE name = 'arrived'", (seq,))

    def _erase(self, erased: Sequence[tuple[bytes, int]]) -> int:
        """Remove what arrived before the erasures (pseudonym, seq); one pass over the log for all of them."""
        if not erased:
            return 0
        run = self.connection.execute
        run("CREATE TEMP TABLE gone (pseudonym BLOB PRIMARY KEY, seq INTEGER) WITHOUT ROWID")
        self.connection.executemany("INSERT OR REPLACE INTO gone VALUES (?, ?)", erased)
        removed = run(
            "DELETE FROM operations WHERE op <> ? AND EXISTS "
            "(SELECT 1 FROM gone AS g WHERE g.pseudonym = operations.pseudonym AND operations.seq < g.seq)",
            (ERASE,),
        ).rowcount
        self._forget()
        run("DROP TABLE gone")
        return removed

    def _forget(self) -> None:
        """Take the users in the table `gone` out of everything but their flips; the next close ends their presence."""
        run = self.connection.execute
        run("DELETE FROM cells WHERE pseudonym IN (SELECT pseudonym FROM gone)")
        run("UPDATE latest SET day = NULL WHERE pseudonym IN (SELECT pseudonym FROM gone)")
        run("INSERT OR IGNORE INTO touched SELECT pseudonym FROM gone")
        self._to_wipe = True

    def wipe(self) -> None:
        """After a transaction: empty the write-ahead log, where removed rows linger, if it may hold some.

        While somebody reads the store that is not possible; then it is done after a later transaction.
        """
        if not self._to_wipe:
            return
        self.connection.execute("PRAGMA busy_timeout = 0")
        # What was committed is committed, whatever becomes of this.
        with suppress(sqlite3.OperationalError):
            (busy, _, _) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._to_wipe = bool(busy)
        self.connection.execute(f"PRAGMA busy_timeout = {TIMEOUT_SECONDS * 1000}")

    def last_seq(self) -> int:
        """The number of the operation that arrived last; 0 before the first."""
        return int(self._fact("arrived"))

    def recent(self, most: int) -> list[tuple[int, bytes | None, int | None, int, int]]:
        """The operations that arrived last, newest first: (seq, pseudonym, day, at, op). NOT PRIVATE."""
        return self.connection.execute(
            "SELECT seq, pseudonym, day, at, op FROM operations ORDER BY seq DESC LIMIT ?", (most,)
        ).fetchall()

    def close(self, day: int, bounds: Mapping[int, int | None]) -> dict[int, Count]:
        """Count a day for good: what arrives from now on counts from the next one.

        Args:
            bounds: trailing window → W_BOUND, None for no freeze.

        Raises:
            NotNext: another day is next.
        """
        self._check_next(day)
        counts = self._count(day, bounds)
        self.connection.executemany(
            "INSERT INTO closed (day, window, truth, bounded) VALUES (?, ?, ?, ?)",
            [(day, window, count.truth, count.bounded) for window, count in counts.items()],
        )
        return counts

    def preview(self, day: int, bounds: Mapping[int, int | None]) -> dict[int, Count]:
        """What closing that day now would count; nothing is changed.

        Raises:
            NotNext: another day is next.
        """
        self._check_next(day)
        self.connection.execute("SAVEPOINT preview")
        try:
            return self._count(day, bounds)
        finally:
            self.connection.execute("ROLLBACK TO preview")
            self.connection.execute("RELEASE preview")

    def recount(self, day: int, window: int, through: int) -> int:
        """Users active in the window that ends on a past day, as the log stands at tick `through`. NOT PRIVATE."""
        self._fold(through)
        (count,) = self.connection.execute(
            "SELECT COUNT(DISTINCT pseudonym) FROM cells WHERE day > ? AND day <= ?", (day - window, day)
        ).fetchone()
        return int(count)

    def closed_counts(self, window: int) -> list[Count]:
        """The counts of all closed days, in order."""
        rows = self.connection.execute("SELECT truth, bounded FROM closed WHERE window = ? ORDER BY day", (window,))
        return [Count(*row) for row in rows]

    def bind(self, ledger: str) -> str:
        """The ledger that this store publishes to: the one of that name, if it had none yet."""
        self.connection.execute("UPDATE facts SET value = ? WHERE name = 'ledger' AND value IS NULL", (ledger,))
        return str(self._fact("ledger"))

    @property
    def ledger(self) -> str | None:
        """The name of the ledger that this store publishes to, None before its first close."""
        name = self._fact("ledger")
        return None if name is None else str(name)

    @property
    def charged(self) -> int:
        """How many charges the ledger is known to hold for this store."""
        return int(self._fact("charged"))

    def note_charged(self, charges: int) -> None:
        """Remember that the ledger holds so many charges; never fewer than before."""
        self.connection.execute("UPDATE facts SET value = MAX(value, ?) WHERE name = 'charged'", (charges,))

    @property
    def published(self) -> int:
        """How many days are known to be published."""
        return int(self._fact("published"))

    def note_published(self, days: int) -> None:
        """Remember how many days are published; never fewer than before."""
        self.connection.execute("UPDATE facts SET value = MAX(value, ?) WHERE name = 'published'", (days,))

    def loaded(self, file: str) -> int:
        """How many rows of a file were stored already."""
        row = self.connection.execute("SELECT rows FROM loads WHERE file = ?", (file,)).fetchone()
        return row[0] if row else 0

    def note_loaded(self, file: str, rows: int) -> None:
        """Remember how many rows of a file are stored."""
        self.connection.execute("INSERT OR REPLACE INTO loads (file, rows) VALUES (?, ?)", (file, rows))

    def _check_next(self, day: int) -> None:
        open_day = self.progress().open_day
        if open_day is not None and day != open_day:
            raise NotNext(f"day {EPOCH + timedelta(days=day)} is not next: {EPOCH + timedelta(days=open_day)} is")

    def _count(self, day: int, bounds: Mapping[int, int | None]) -> dict[int, Count]:
        self._fold(day)
        run = self.connection.execute
        run(
            "INSERT INTO latest SELECT pseudonym, (SELECT MAX(day) FROM cells AS c WHERE c.pseudonym = t.pseudonym) "
            "FROM touched AS t WHERE true ON CONFLICT DO UPDATE SET day = excluded.day"
        )
        counts = {}
        for window, bound in bounds.items():
            # A user is present in a window exactly if the latest present day lies in it.
            run(
                "INSERT INTO flips SELECT ?1, pseudonym, 1 FROM touched JOIN latest USING (pseudonym) WHERE day > ?2 "
                "ON CONFLICT DO UPDATE SET spent = spent + 1 WHERE spent % 2 = 0",
                (window, day - window),
            )
            run(
                "UPDATE flips SET spent = spent + 1 WHERE window = ?1 AND spent % 2 = 1 AND pseudonym IN ("
                "SELECT pseudonym FROM latest WHERE day = ?2 UNION ALL "
                "SELECT pseudonym FROM touched JOIN latest USING (pseudonym) WHERE day IS NULL OR day <= ?2)",
                (window, day - window),
            )
            # Frozen after w flips: absent for even w, present for odd.
            truth, bounded = run(
                "SELECT COALESCE(SUM(spent % 2), 0), COALESCE(SUM(MIN(spent, ?2) % 2), 0) FROM flips WHERE window = ?1",
                (window, bound if bound is not None else 2**62),
            ).fetchone()
            counts[window] = Count(truth, truth if bound is None else bounded)
        run("DELETE FROM latest WHERE day IS NULL")
        run("DELETE FROM touched")
        return counts

    def _fold(self, through: int) -> None:
        """Bring the cells up to the operations that count from the tick `through` or before; last write wins."""
        run = self.connection.execute
        run("INSERT INTO pending SELECT at, seq FROM operations WHERE seq > ?", (self._fact("folded"),))
        run("UPDATE facts SET value = ? WHERE name = 'folded'", (self.last_seq(),))
        run(
            "CREATE TEMP TABLE due AS SELECT o.pseudonym, o.day, o.op, o.at, o.seq "
            "FROM pending AS p JOIN operations AS o ON o.seq = p.seq WHERE p.at <= ? AND o.pseudonym IS NOT NULL",
            (through,),
        )
        run("DELETE FROM pending WHERE at <= ?", (through,))
        self._erase_due()
        # With a bare column beside MAX, SQLite gives the value of the row that has the maximum.
        run(
            f"CREATE TEMP TABLE written AS SELECT pseudonym, day, op, MAX(at * {SEQ_LIMIT} + seq) FROM due "
            "WHERE op <> 0 GROUP BY pseudonym, day"
        )
        run("INSERT OR IGNORE INTO cells SELECT pseudonym, day FROM written WHERE op = ?", (ADD,))
        run("DELETE FROM cells WHERE (pseudonym, day) IN (SELECT pseudonym, day FROM written WHERE op = ?)", (RETRACT,))
        run("INSERT OR IGNORE INTO touched SELECT pseudonym FROM written")
        run("DROP TABLE written")
        run("DROP TABLE due")

    def _erase_due(self) -> None:
        """Carry out the erasures among what is due: whatever counted before them goes, from cells and log."""
        run = self.connection.execute
        run(
            f"CREATE TEMP TABLE gone AS SELECT pseudonym, MAX(at * {SEQ_LIMIT} + seq) AS place FROM due "
            "WHERE op = 0 GROUP BY pseudonym"
        )
        (erased,) = run("SELECT COUNT(*) FROM gone").fetchone()
        if erased:
            run("CREATE UNIQUE INDEX gone_by_name ON gone (pseudonym)")
            self._forget()
            run("UPDATE operations SET pseudonym = NULL WHERE seq IN (SELECT seq FROM due WHERE op = 0)")
            for table in ("due", "operations"):
                run(
                    f"DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM gone AS g WHERE g.pseudonym = {table}.pseudonym "
                    f"AND {table}.at * {SEQ_LIMIT} + {table}.seq < g.place)"
                )
        run("DROP TABLE gone")

    def _fact(self, name: str) -> Any:
        return self.connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0]


@contextmanager
def reading(path: Path) -> Iterator[Store]:
    """A store that is read, without its key, beside the connection that writes."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=TIMEOUT_SECONDS)
    try:
        yield Store(connection)
    finally:
        connection.close()


def _keyless(user: str) -> bytes:
    raise StoreError("this connection has no key: it reads only")
