"""Operations as packed records: what a batch of them looks like in the log, and in memory.

Row inserts, not hashing or parsing, were what bounded ingest; a batch is therefore one row, which only the close of a
day unpacks (docs/service.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from workbench.service.labels import NO_LABELS, LabelCodes
from workbench.service.operations import ERASE, Ingested, Operation

NEVER = -(2**31)
"""Before every day: where an operation without a day stands, and what counts before the first tick is known."""

NAME = [("high", "<u8"), ("low", "<u8")]
UNLABELLED = np.dtype([*NAME, ("offset", "<u4"), ("day", "<i4"), ("op", "i1")])
"""One operation in a batch: the pseudonym as two numbers, seq less the batch's first, day, and op."""
RECORD = np.dtype([*UNLABELLED.descr, ("label", "<u4")])
"""The same with what it says of segments, by `LabelCodes`; a batch that says nothing of them is stored without."""

Records = npt.NDArray[np.void]
Names = npt.NDArray[np.void]


@dataclass(frozen=True)
class PackedBatch:
    """Operations that count from the same tick, in the order of arrival.

    Attributes:
        at: the tick.
        first: seq of the first.
        records: (n,) of RECORD; an erasure that is carried out names nobody (all zero).
        codes: of its labels.
    """

    at: int
    first: int
    records: Records
    codes: LabelCodes = NO_LABELS

    @property
    def last(self) -> int:
        """Seq of the last."""
        return self.first + int(self.records["offset"][-1])


@dataclass(frozen=True)
class Erasure:
    """A user who is to leave at once: everything that arrived before."""

    seq: int
    at: int
    name: bytes


@dataclass(frozen=True)
class Arrivals:
    """What a group of requests comes down to."""

    batches: tuple[PackedBatch, ...]
    erasures: tuple[Erasure, ...]
    ingested: tuple[Ingested, ...]


@dataclass(frozen=True)
class Arriving:
    """Operations as columns, in the order of arrival.

    Attributes:
        names: (n,) of NAME, the pseudonyms.
        day: (n,) days since 1970-01-01; NEVER for an erasure.
        op: (n,) ADD, RETRACT or ERASE.
        at: (n,) the earliest tick from which it counts, where the sender knows one, else NEVER.
        label: (n,) what it says of segments.
    """

    names: Names
    day: npt.NDArray[np.int64]
    op: npt.NDArray[np.int8]
    at: npt.NDArray[np.int64]
    label: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, operations: Sequence[Operation], name_of: Callable[[str], bytes]) -> Arriving:
        """Operations as they are sent."""
        users, days, ops, ats, labels = zip(*operations, strict=True) if operations else ((), (), (), (), ())
        names = np.frombuffer(b"".join(map(name_of, users)), NAME)
        known = _numbers(ats) if any(at is not None for at in ats) else np.full(len(ats), NEVER, np.int64)
        return cls(names, _numbers(days), np.array(ops, np.int8), known, np.array(labels, np.uint32))


def pack(columns: Arriving, lengths: Sequence[int], seq: int, floor: int, closed: int | None) -> Arrivals:
    """Operations as batches, one for each tick from which some count.

    Args:
        lengths: how many operations each request has.
        seq: the number of the last operation that arrived before.
        floor: the tick from which an operation counts at the earliest; NEVER where none is known.
        closed: the last day that is counted.
    """
    ends = np.cumsum([0, *lengths])
    if not ends[-1]:
        return Arrivals((), (), tuple(Ingested(0, 0, seq) for _ in lengths))
    names, day, op = columns.names, columns.day, columns.op
    at = np.maximum(np.maximum(day, floor), columns.at)
    now = (op == ERASE) & (at == floor)
    records = np.zeros(len(op), RECORD)
    put_names(records, names)
    put_names(records, np.zeros((), NAME), now)
    records["offset"], records["day"], records["op"] = np.arange(len(op)), day, op
    records["label"] = columns.label
    late = np.cumsum([0, *((day <= closed) & (op != ERASE))]) if closed is not None else np.zeros(len(op) + 1)
    ingested = tuple(
        Ingested(int(end - start), int(late[end] - late[start]), seq + int(end)) for start, end in pairwise(ends)
    )
    erasures = tuple(Erasure(seq + 1 + int(i), floor, names[i].tobytes()) for i in np.flatnonzero(now))
    return Arrivals(tuple(by_tick(records, at, seq + 1)), erasures, ingested)


def put_names(records: npt.NDArray[np.void], names: Names, where: npt.NDArray[np.bool_] | slice = slice(None)) -> None:
    """Name the users of records, or of some of them."""
    for field in ("high", "low"):
        records[field][where] = names[field]


def by_tick(records: Records, at: npt.NDArray[np.int64], first: int) -> Sequence[PackedBatch]:
    """Records, whose first seq is `first`, as batches; nearly always all count from the same tick."""
    if (at == at[0]).all():
        return [PackedBatch(int(at[0]), first, records)]
    return [rebased(int(tick), first, records[at == tick]) for tick in np.unique(at)]


def rebased(at: int, first: int, records: Records) -> PackedBatch:
    """A batch of some of the records of another one, whose first seq was `first`."""
    records = records.copy()
    start = int(records["offset"][0])
    records["offset"] -= np.uint32(start)
    return PackedBatch(at, first + start, records)


def translated(records: Records, codes: LabelCodes, wanted: LabelCodes) -> Records:
    """Records whose labels have codes, with the codes that are wanted."""
    if codes == wanted or not len(records):
        return records
    records = records.copy()
    records["label"] = wanted.translated(records["label"], codes)
    return records


def stored(records: Records) -> tuple[bytes, bool]:
    """Records as they are stored, and whether with their labels."""
    if records["label"].any():
        return records.tobytes(), True
    short = np.zeros(len(records), UNLABELLED)
    for field in UNLABELLED.names or ():
        short[field] = records[field]
    return short.tobytes(), False


def loaded(content: bytes, *, labelled: bool) -> Records:
    """Records that were stored."""
    if labelled:
        return np.frombuffer(content, RECORD)
    short = np.frombuffer(content, UNLABELLED)
    records = np.zeros(len(short), RECORD)
    for field in UNLABELLED.names or ():
        records[field] = short[field]
    return records


def _numbers(values: Sequence[int | None]) -> npt.NDArray[np.int64]:
    try:
        return np.array(values, np.int64)
    except TypeError:
        return np.array([NEVER if value is None else value for value in values], np.int64)
