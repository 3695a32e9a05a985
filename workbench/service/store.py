"""The store: a log of what arrived, users as they stood at the last closed day, and the counts of closed days.

User ids are not in it: they become keyed pseudonyms on the way in. Everything here works inside the caller's
transaction on one connection and keeps nothing in memory, so several processes may use one store. An operation counts
from its *arrival tick*: the day it is about, or the open day if that is later (docs/service.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from itertools import accumulate, chain
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from dp.arrays import Integers
from dp.presence.daily import EPOCH
from workbench.service.closed_days import ClosedDays
from workbench.service.database import Database, driver_errors
from workbench.service.errors import NotNext, Refused, StoreError
from workbench.service.folding import Count, RecordLayout
from workbench.service.key_file import CHECKED
from workbench.service.labels import NO_LABELS
from workbench.service.operations import ERASE, Ingested, Operation
from workbench.service.packing import (
    NAME,
    NEVER,
    Arrivals,
    Arriving,
    Erasure,
    PackedBatch,
    Records,
    pack,
)
from workbench.service.roster import Packed, Roster
from workbench.service.stored_rows import answer_row, batch_row, left_of_batch, part_row, read_batches
from workbench.service.tables import answers, batches, closed, erasures, loads, parts, requests, standing

LAST_TICK = 2**31 - 1
BATCHES_AT_ONCE = 256
MOST_CLEANED = 500_000
"""Operations, which are as many bytes as others wait for, and that the write-ahead log takes."""
PROBE = "probe"


class Store:
    """A store on an open connection; use `opening.open_store`. Without `pseudonym` it can be read only."""

    def __init__(
        self, database: Database, connection: Connection, pseudonym: Callable[[str], bytes] | None = None
    ) -> None:
        self.database = database
        # What the labels of operations mean that are taken in; the service says so.
        self.codes = NO_LABELS
        self.connection = connection
        self._pseudonym = pseudonym or _keyless
        # Also what an earlier process left.
        self.unwiped = True
        self.somebody_leaves = False

    @property
    def lost(self) -> bool:
        """Whether the connection has ended; whether its last commit has succeeded, nobody knows."""
        return self.connection.invalidated or self.connection.closed

    def close(self) -> None:
        """Close its connection, and those that nobody reads on."""
        self.connection.close()
        self.database.close()

    def reconnect(self) -> None:
        """Go on with a new connection where the last one was lost."""
        if self.lost:
            self.connection = self.database.connect()

    @property
    def name(self) -> str:
        """A random name, given when the store was made; streams in the ledger carry it."""
        return str(self._fact("name"))

    def hide(self, text: str) -> bytes:
        """A keyed digest of a text, from which the text cannot be found without the key."""
        return self._pseudonym(text)

    def progress(self) -> ClosedDays:
        """How far the days have come."""
        row = self.connection.execute(select(standing.c.first, standing.c.last, standing.c.sealed)).one()
        return ClosedDays(*row)

    # What arrives

    def append(self, operations: Sequence[Operation], earliest: int | None = None) -> Ingested:
        """Store operations in the order of arrival; see `append_all`."""
        return self.append_all([operations], earliest)[0]

    def append_all(self, groups: Sequence[Sequence[Operation]], earliest: int | None = None) -> list[Ingested]:
        """Store groups of operations in the order of arrival.

        Args:
            earliest: the first tick, if it is known; used while no tick is closed.
        """
        columns = Arriving.of(list(chain.from_iterable(groups)), self._pseudonym)
        return self._take_in(columns, [len(group) for group in groups], earliest)

    def append_columns(self, columns: Arriving, earliest: int | None = None) -> Ingested:
        """`append` for many operations, whose users are pseudonyms already."""
        return self._take_in(columns, [len(columns.op)], earliest)[0]

    def _take_in(self, columns: Arriving, lengths: Sequence[int], earliest: int | None) -> list[Ingested]:
        row = self.connection.execute(
            select(standing.c.arrived, standing.c.first, standing.c.last, standing.c.sealed, standing.c.key_check)
        ).one()
        if bytes(row.key_check) != self._pseudonym(CHECKED):
            raise Refused("unavailable", "the key of the store was rotated; start the service anew. Nothing was stored")
        progress = ClosedDays(row.first, row.last, row.sealed)
        counted = progress.sealed if progress.sealed is not None else progress.last
        arrivals = pack(columns, lengths, row.arrived, progress.counts_from(earliest), counted)
        self._keep(arrivals)
        return list(arrivals.ingested)

    def _keep(self, arrivals: Arrivals) -> None:
        if not arrivals.batches:
            return
        run = self.connection.execute
        run(batches.insert(), [batch_row(self.connection, batch, self.codes) for batch in arrivals.batches])
        if arrivals.erasures:
            run(erasures.insert(), [asdict(one) for one in arrivals.erasures])
            self.somebody_leaves = True
        run(update(standing).values(arrived=arrivals.ingested[-1].seq))

    def name_at(self, seq: int) -> bytes:
        """The pseudonym of the user whom the operation of this number names.

        Raises:
            StoreError: it names nobody, or is counted already.
        """
        query = select(batches).where(batches.c.first <= seq, batches.c.last >= seq)
        for batch in read_batches(self.connection, query):
            found = batch.records[batch.records["offset"] == seq - batch.first]
            if len(found) and (found["high"][0] or found["low"][0]):
                return bytes(found[["high", "low"]][0].tobytes()[:16])
        raise StoreError(f"operation {seq} names nobody; its user may be erased already, or its day closed")

    def erase(self, user: str, earliest: int | None = None) -> Ingested:
        """Take in that a user is to leave at once. The log keeps that somebody was erased, without saying who."""
        return self.erase_name(self._pseudonym(user), earliest)

    def erase_name(self, name: bytes, earliest: int | None = None) -> Ingested:
        """`erase` by the pseudonym."""
        never, nothing = np.full(1, NEVER, np.int64), np.zeros(1, np.uint32)
        one = Arriving(np.frombuffer(name, NAME), never, np.full(1, ERASE, np.int8), never, nothing)
        return self.append_columns(one, earliest)

    def keep_probe(self, size: int) -> None:
        """Write so many bytes, to see whether that is possible."""
        self.connection.execute(requests.insert().values(key=PROBE, digest=bytes(size), day=0, answer=b""))

    def remove_probe(self) -> None:
        """Remove them again."""
        self.connection.execute(requests.delete().where(requests.c.key == PROBE))

    def last_seq(self) -> int:
        """The number of the operation that arrived last; 0 before the first."""
        return int(self._fact("arrived"))

    def recent(self, most: int) -> list[tuple[int, bytes | None, int | None, int, int]]:
        """What arrived last and is not counted yet, newest first: (seq, pseudonym, day, at, op). NOT PRIVATE."""
        found: list[tuple[int, bytes | None, int | None, int, int]] = []
        query = select(batches).order_by(batches.c.last.desc()).limit(most)
        for batch in read_batches(self.connection, query):
            for one in batch.records[-most:]:
                high, low, offset, day, op, _ = one.item()
                name = one.tobytes()[:16] if high or low else None
                found.append((batch.first + offset, name, None if day == NEVER else day, batch.at, op))
        return sorted(found, key=lambda row: -row[0])[:most]

    # Days

    def seal(self, day: int) -> None:
        """From now on, what arrives counts from the day after; that day is counted next.

        Raises:
            NotNext: another day is next.
        """
        self.progress().require_next(day)
        self.connection.execute(update(standing).values(sealed=day))

    def commit_day(
        self, day: int, counts: Mapping[int, Count], answered: Mapping[str, Integers], layout: RecordLayout,
        part_bits: int,
    ) -> None:  # fmt: skip
        """Count a sealed day for good; its users are in `parts` already.

        Raises:
            NotNext: it is not sealed, because somebody else has counted it.
        """
        run = self.connection.execute
        if self.progress().sealed != day:
            raise NotNext(f"day {EPOCH + timedelta(days=day)} is counted already")
        rows = [
            {"day": day, "window": window, "truth": one.truth, "bounded": one.bounded} for window, one in counts.items()
        ]
        run(closed.insert(), rows)
        if answered:
            run(answers.insert(), [answer_row(day, name, found) for name, found in answered.items()])
        run(
            update(standing).values(
                first=func.coalesce(standing.c.first, day), last=day, sealed=None, part_bits=part_bits,
                layout=json.dumps(asdict(layout)), known_since=max(self.known_since, day - layout.days + 1),
            )
        )  # fmt: skip

    def clear_parts(self, tick: int) -> None:
        """Remove what an interrupted count of that tick has left."""
        self.unwiped = True
        self.connection.execute(parts.delete().where(parts.c.tick == tick))

    def put_parts(self, tick: int, rosters: Mapping[int, Roster]) -> None:
        """Write users, by part, as they stand at the end of a tick."""
        self.connection.execute(parts.delete().where(parts.c.tick == tick, parts.c.part.in_(list(rosters))))
        rows = [part_row(tick, part, roster) for part, roster in rosters.items()]
        if rows:
            self.connection.execute(parts.insert(), rows)

    def replace_batch(self, batch: PackedBatch, records: Records) -> None:
        """Some of a batch's operations are gone."""
        run = self.connection.execute
        where = batches.c.first == batch.first
        left = update(batches).where(where).values(left_of_batch(records))
        run(left if len(records) else batches.delete().where(where))

    def forget_erasures(self, last: int, through: int) -> None:
        """Everything of the users is gone whose erasures arrived up to this one and count as of that tick."""
        self.connection.execute(erasures.delete().where(erasures.c.seq <= last, erasures.c.at <= through))
        self.unwiped = True

    def look_for_remains(self) -> None:
        """Another process may have removed something and not overwritten it."""
        self.unwiped = True

    def wipe(self) -> None:
        """After a transaction: overwrite what was removed, if there may be some; where that is not possible, later."""
        if self.unwiped:
            self.unwiped = not self.database.wipe(self.connection)

    def clean(self, most: int) -> bool:
        """Remove batches of closed days, and users as they stood before; whether there are more.

        Args:
            most: rows of each; and of batches no more than have `MOST_CLEANED` operations, or one.
        """
        last = self.progress().last
        if last is None:
            return False
        run = self.connection.execute
        # The oldest first, so that what is left is always the end of what is counted.
        counted = select(batches).where(batches.c.at <= last).order_by(batches.c.at, batches.c.first).limit(most)
        found = run(counted.with_only_columns(batches.c.first, batches.c.last)).all()
        sizes = accumulate(row.last - row.first + 1 for row in found)
        old = [row.first for row, size in zip(found, sizes, strict=True) if row is found[0] or size <= MOST_CLEANED]
        stale = run(select(parts.c.tick, parts.c.part).where(parts.c.tick < last).limit(most)).all()
        if old:
            run(batches.delete().where(batches.c.first.in_(old)))
        for tick in {row.tick for row in stale}:
            some = [row.part for row in stale if row.tick == tick]
            run(parts.delete().where(parts.c.tick == tick, parts.c.part.in_(some)))
        self.unwiped = self.unwiped or bool(old or stale)
        return len(old) < len(found) or most in (len(old), len(stale))

    def closed_counts(self, window: int) -> list[Count]:
        """The counts of all closed days, in order."""
        query = select(closed.c.truth, closed.c.bounded).where(closed.c.window == window).order_by(closed.c.day)
        return [Count(*row) for row in self.connection.execute(query)]

    def answers(self, question: str, first: int, last: int | None) -> list[Integers]:
        """The counts of a question on the days on which it is published, between two days, each of shape (series,)."""
        query = select(answers.c.counts).where(answers.c.question == question, answers.c.day >= first)
        if last is not None:
            query = query.where(answers.c.day <= last)
        found = self.connection.execute(query.order_by(answers.c.day))
        return [np.frombuffer(row.counts, "<i8").astype(np.int64) for row in found]

    # What is read to count a day

    def waiting(self, through: int = LAST_TICK, after: int | None = None) -> Iterator[PackedBatch]:
        """What counts from a tick `after` that to `through`, in the order in which it counts."""
        query = select(batches).where(batches.c.at <= through).order_by(batches.c.at, batches.c.first)
        if after is not None:
            query = query.where(batches.c.at > after)
        streaming = {"stream_results": True, "yield_per": BATCHES_AT_ONCE}
        return read_batches(self.connection, query, streaming)

    def leaving(self, through: int = LAST_TICK) -> list[Erasure]:
        """Who is to leave, as of that tick, and has not left everywhere."""
        query = select(erasures).where(erasures.c.at <= through).order_by(erasures.c.seq)
        return [Erasure(row.seq, row.at, bytes(row.name)) for row in self.connection.execute(query)]

    @property
    def known_since(self) -> int:
        """The first day of which everything is remembered; NEVER before the first close."""
        found = self._fact("known_since")
        return NEVER if found is None else int(found)

    def layout(self) -> RecordLayout | None:
        """What a user's record holds; None before the first close."""
        text = self._fact("layout")
        if text is None:
            return None
        return RecordLayout.from_plain(json.loads(text))

    def part_bits(self) -> int:
        """Users lie in 2^part_bits parts, by the first bits of their pseudonyms."""
        return int(self._fact("part_bits"))

    def users_known(self) -> int:
        """How many users the store knows from closed days."""
        last = self._fact("last")
        return int(
            self.connection.execute(
                select(func.coalesce(func.sum(parts.c.users), 0)).where(parts.c.tick == last)
            ).scalar_one()
        )

    def roster(self, layout: RecordLayout, start: int, stop: int) -> Roster:
        """Users of the parts from `start` to before `stop` at the last closed day, sorted by pseudonym."""
        query = (
            select(parts.c.records, parts.c.labelled, parts.c.flips)
            .where(parts.c.tick == self._fact("last"), parts.c.part >= start, parts.c.part < stop)
            .order_by(parts.c.part)
        )
        found = self.connection.execute(query)
        return Roster.unpacked([Packed(*(content or b"" for content in row)) for row in found], layout)

    # What it knows of ledger, files and publications

    def bind(self, ledger: str) -> str:
        """The ledger that this store publishes to: the one of that name, if it had none yet."""
        self.connection.execute(update(standing).where(standing.c.ledger.is_(None)).values(ledger=ledger))
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
        self.connection.execute(update(standing).where(standing.c.charged < charges).values(charged=charges))

    @property
    def published(self) -> int:
        """How many days are known to be published."""
        return int(self._fact("published"))

    def note_published(self, days: int) -> None:
        """Remember how many days are published; never fewer than before."""
        self.connection.execute(update(standing).where(standing.c.published < days).values(published=days))

    def loaded(self, file: str) -> int:
        """How many rows of a file were stored already."""
        found = self.connection.execute(select(loads.c.rows).where(loads.c.file == file)).scalar()
        return 0 if found is None else int(found)

    def note_loaded(self, file: str, rows: int) -> None:
        """Remember how many rows of a file are stored."""
        run = self.connection.execute
        if run(update(loads).where(loads.c.file == file).values(rows=rows)).rowcount == 0:
            run(loads.insert().values(file=file, rows=rows))

    def _fact(self, name: str) -> Any:
        return self.connection.execute(select(standing.c[name])).scalar_one()


@contextmanager
def reading(database: Database) -> Iterator[Store]:
    """A store at one moment, without its key, beside the connection that writes."""
    with driver_errors(), database.connect() as connection:
        connection.exec_driver_sql(database.begin_reading)
        try:
            yield Store(database, connection)
        finally:
            with suppress(SQLAlchemyError):
                connection.exec_driver_sql("ROLLBACK")


def _keyless(user: str) -> bytes:
    raise StoreError("this connection has no key: it reads only")
