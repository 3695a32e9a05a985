"""Counting a day, and letting users leave: long work in short transactions, beside the writer.

Whoever does it holds the database's lease, so nobody else changes what is read here. What arrives meanwhile counts from
a later day. A process that dies leaves a sealed day or a list of users who are to leave; whoever comes next goes on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.arrays import Integers
from dp.presence.daily import day_number
from workbench.service.counted_questions import CountedQuestion
from workbench.service.database import Database, Fence
from workbench.service.errors import NotNext
from workbench.service.folding import Count, RecordLayout, count, within
from workbench.service.operations import ERASE
from workbench.service.packing import NAME, RECORD, Erasure, Names, PackedBatch, Records, translated
from workbench.service.periods import Period
from workbench.service.roster import Roster, added
from workbench.service.settings import Settings
from workbench.service.store import LAST_TICK, Store

USERS_AT_ONCE = 2**16
USERS_WRITTEN_AT_ONCE = 2**14
PARTS_AT_ONCE_BITS = 4
MOST_CHUNK_BITS = 16
CLEANED_AT_ONCE = 64
NAME_BYTES = np.dtype(NAME).itemsize

Read = Callable[[], AbstractContextManager[Store]]
"""The store at one moment."""

Write = Callable[[Callable[[Store], Any]], Any]
"""Does something in a transaction of its own and returns what it gave, once that is durable."""


@dataclass(frozen=True)
class Leaving:
    """Users who are to leave, by pseudonym, and when that arrived."""

    names: Names
    seqs: Mapping[bytes, int]

    @classmethod
    def of(cls, erasures: list[Erasure]) -> Leaving:
        """The last erasure of each user."""
        seqs = {one.name: one.seq for one in erasures}
        return cls(np.frombuffer(b"".join(seqs), NAME), seqs)

    def seq_of(self, named: Names) -> npt.NDArray[np.int64]:
        """When each user is to leave, by the number of the erasure; 0 for who stays."""
        found = np.zeros(len(named), np.int64)
        if len(self.names):
            for place in np.flatnonzero(np.isin(named["high"], self.names["high"])):
                found[place] = self.seqs.get(named[place].tobytes()[:NAME_BYTES], 0)
        return found

    def staying(self, batch: PackedBatch) -> Records:
        """What of a batch is not taken back: erasures that are to come stay."""
        if not (leaves := self.seq_of(batch.records)).any():
            return batch.records
        arrived = batch.first + batch.records["offset"].astype(np.int64)
        staying: Records = batch.records[(batch.records["op"] == ERASE) | (arrived >= leaves)]
        return staying

    def absent(self, roster: Roster, layout: RecordLayout) -> Roster:
        """The users, of whom those that leave are present on no day; what they have spent stays."""
        return roster.absent(self.seq_of(roster.users) > 0, slots=layout.slots)


@dataclass(frozen=True)
class Wanted:
    """What is counted of a day.

    Attributes:
        bounds: window → after how many flips its users are frozen; None where nobody is.
        layout: what has to be remembered.
        asked: what else is asked.
        anew: whether flips are counted from this day on: whoever is present on it has spent one.
    """

    bounds: Mapping[int, int | None]
    layout: RecordLayout
    asked: tuple[CountedQuestion, ...] = ()
    anew: bool = False

    @classmethod
    def of(cls, period: Period, fresh_days: int, day: int) -> Wanted:
        """What is counted of a day of a period."""
        layout = RecordLayout.needed(period.bounds, fresh_days, period.asked)
        return cls(period.bounds, layout, period.asked, day == day_number(period.first))


@dataclass(frozen=True)
class DayCounts:
    """What a day counts; NOT PRIVATE.

    Attributes:
        windows: window → users present in it.
        answers: name of each question that is published on the day → the counts of its series; shape (series,).
    """

    windows: Mapping[int, Count]
    answers: Mapping[str, Integers]

    def __add__(self, other: DayCounts) -> DayCounts:
        windows = {window: one + other.windows[window] for window, one in self.windows.items()}
        return DayCounts(windows, added(self.answers, other.answers))


def counted(roster: Roster, wanted: Wanted, tick: int) -> tuple[DayCounts, Roster]:
    """What a day counts of some users, and these users with what they have spent on it."""
    roster = roster.counted_anew() if wanted.anew else roster
    windows = count(roster.users, wanted.layout, wanted.bounds)
    answers, roster = roster.answered(wanted.asked, wanted.layout, tick)
    return DayCounts(windows, answers), roster


def preview(store: Store, day: int, wanted: Wanted) -> DayCounts:
    """What closing that day now would count."""
    found = (
        counted(roster, wanted, day)[0] for roster, _ in _folded(lambda: nullcontext(store), day, wanted.layout, day)
    )
    return functools.reduce(DayCounts.__add__, found)


def recount(store: Store, day: int, window: int, layout: RecordLayout) -> int:
    """Users active in the window that ends on a closed day, as the log stands now. NOT PRIVATE."""
    open_day = store.progress().open_day
    assert open_day is not None
    folded = _folded(lambda: nullcontext(store), open_day, layout, LAST_TICK)
    return sum(int(np.count_nonzero(within(one.users, layout, open_day - day, window))) for one, _ in folded)


@dataclass(frozen=True)
class Counter:
    """Counts the days of one service, one process at a time."""

    database: Database
    read: Read
    write: Write
    settings: Settings

    def count(self, day: int, period: Period) -> None:
        """Count a day of a period for good, unless another process has done so meanwhile; then its count stands."""
        wanted = Wanted.of(period, self.settings.fresh_days, day)
        with suppress(NotNext), self.database.lease() as fence:
            count_day(self.read, self._fenced(fence), day, wanted)

    def let_go(self) -> None:
        """Remove everything of the users who are to leave."""
        with self.database.lease() as fence:
            let_go(self.read, self._fenced(fence))

    def stop(self) -> None:
        """Nothing of it runs by itself."""

    def _fenced(self, fence: Fence) -> Write:
        """Writes only what is written under the lease."""

        def write(work: Callable[[Store], Any]) -> Any:
            def fenced(store: Store) -> Any:
                fence(store.connection)
                return work(store)

            return self.write(fenced)

        return write


def count_day(read: Read, write: Write, day: int, wanted: Wanted) -> None:
    """Count a day for good: what arrives from its beginning on counts from the next day. The lease is held.

    Raises:
        NotNext: another day is next.
    """
    write(lambda store: store.seal(day))
    let_go(read, write, day)
    write(lambda store: store.clear_parts(day))
    total: DayCounts | None = None
    bits = 0
    # Under the lease nothing of it changes. One long read would keep the write-ahead log from being emptied, and
    # whoever commits next would copy all of it.
    for roster, bits in _folded(read, day, wanted.layout, day):
        counts, roster = counted(roster, wanted, day)
        total = counts if total is None else total + counts
        for some in _portions(split(roster.remembered(), bits)):
            write(partial(_put, day, some))
    assert total is not None
    write(lambda store: store.commit_day(day, total.windows, total.answers, wanted.layout, bits))
    clean(write)


def clean(write: Write) -> None:
    """Remove what is counted."""
    while write(lambda store: store.clean(CLEANED_AT_ONCE)):
        pass


def let_go(read: Read, write: Write, through: int = LAST_TICK) -> None:
    """Remove everything of the users who are to leave, but the flips they spent.

    The lease is held.

    Args:
        through: only whoever leaves as of that tick or before.
    """
    with read() as store:
        sealed = store.progress().sealed
        # What is sealed is counted with those who leave only afterwards.
        through = through if sealed is None else min(through, sealed)
        erasures = store.leaving(through)
    # Also without erasures: what somebody who read the store has kept from being overwritten, here or where it counts.
    write(Store.look_for_remains)
    if not erasures:
        return
    # What is counted and not removed yet may name them, too.
    clean(write)
    with read() as store:
        leaving = Leaving.of(erasures)
        last = erasures[-1].seq
        for batch in store.waiting():
            if batch.first < last and len(records := leaving.staying(batch)) < len(batch.records):
                write(partial(_replace, batch, records))
        _let_go_of_users(store, write, leaving)
    write(lambda store: store.forget_erasures(last, through))


def _let_go_of_users(store: Store, write: Write, leaving: Leaving) -> None:
    tick, layout, bits = store.progress().last, store.layout(), store.part_bits()
    if tick is None or layout is None:
        return
    for part in np.unique(_part(leaving.names, bits)):
        roster = store.roster(layout, int(part), int(part) + 1)
        absent = leaving.absent(roster, layout).remembered()
        if absent.packed() != roster.packed():
            write(partial(_put, tick, {int(part): absent}))


def _folded(read: Read, tick: int, layout: RecordLayout, through: int) -> Iterator[tuple[Roster, int]]:
    """Users as they stand at the end of a tick, some at a time by pseudonym, and in how many parts they are to lie.

    Args:
        read: gives the same moment every time, or the lease is held.
        through: whoever leaves as of that tick or before is left out.
    """
    with read() as store:
        last, old, old_bits = store.progress().last, store.layout(), store.part_bits()
        leaving = Leaving.of(store.leaving(through))
        due = [translated(leaving.staying(batch), batch.codes, layout.codes) for batch in store.waiting(tick, last)]
        known = store.users_known()
    wanted = max(0, (known + sum(map(len, due)) - 1) // USERS_AT_ONCE).bit_length()
    chunks = min(wanted, MOST_CHUNK_BITS if old is None else old_bits)
    # Each is let go as soon as it is sorted: together they may be large.
    sorted_due = [_by_part(due.pop(0), chunks) for _ in range(len(due))]
    for chunk in range(2**chunks):
        roster = Roster.empty(layout)
        if old is not None and last is not None:
            width = 1 << (old_bits - chunks)
            with read() as store:
                found = store.roster(old, chunk * width, (chunk + 1) * width)
            roster = leaving.absent(found, old).taken(layout, old, last)
        shift = 0 if last is None else tick - last
        here = np.concatenate(
            [np.zeros(0, RECORD), *(records[starts[chunk] : starts[chunk + 1]] for records, starts in sorted_due)]
        )
        yield roster.folded(here, layout, tick, shift), chunks + PARTS_AT_ONCE_BITS


def _put(tick: int, rosters: Mapping[int, Roster], store: Store) -> None:
    store.put_parts(tick, rosters)


def _replace(batch: PackedBatch, records: Records, store: Store) -> None:
    store.replace_batch(batch, records)


def _part(named: Names, bits: int) -> npt.NDArray[np.int64]:
    """The part of each user, of 2^bits."""
    if not bits:
        return np.zeros(len(named), np.int64)
    return (named["high"] >> np.uint64(64 - bits)).astype(np.int64)


def _by_part(records: Records, bits: int) -> tuple[Records, npt.NDArray[np.intp]]:
    """The records of a batch stably sorted by part, of 2^bits, and where each part begins.

    Batches that fit into a cache cost half of sorting them as one.
    """
    part = _part(records, bits).astype(np.uint16)
    order = np.argsort(part, kind="stable")
    return records[order], np.searchsorted(part[order], np.arange(2**bits + 1))


def split(roster: Roster, bits: int) -> dict[int, Roster]:
    """Users by the part in which they are to lie, of 2^bits."""
    return dict(roster.parts(_part(roster.users, bits)))


def _portions(parts: Mapping[int, Roster]) -> Iterator[dict[int, Roster]]:
    """Parts, no more together than a short transaction writes."""
    some: dict[int, Roster] = {}
    for part, roster in parts.items():
        some[part] = roster
        if sum(len(one.users) for one in some.values()) >= USERS_WRITTEN_AT_ONCE:
            yield some
            some = {}
    if some:
        yield some
