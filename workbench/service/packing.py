"""Operations as packed records: what a batch of them looks like in the log, and in memory.

Row inserts, not hashing or parsing, were what bounded ingest; a batch is therefore one row, which only the close of a
day unpacks (docs/service.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from workbench.service.operations import ERASE, Ingested, Operation

NEVER = -(2**31)
"""Before every day: where an operation without a day stands, and what counts before the first tick is known."""

NAME = [("high", "<u8"), ("low", "<u8")]
RECORD = np.dtype([*NAME, ("offset", "<u4"), ("day", "<i4"), ("op", "i1")])
"""One operation in a batch: the pseudonym as two numbers, seq less the batch's first, day, and op."""

Records = npt.NDArray[np.void]
Names = npt.NDArray[np.void]


@dataclass(frozen=True)
class PackedBatch:
    """Operations that count from the same tick, in the order of arrival.

    Attributes:
        at: the tick.
        first: seq of the first.
        records: (n,) of RECORD; an erasure that is carried out names nobody (all zero).
    """

    at: int
    first: int
    records: Records

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


def pack(
    groups: Sequence[Sequence[Operation]], name_of: Callable[[str], bytes], seq: int, floor: int, closed: int | None
) -> Arrivals:
    """Operations in the order of arrival as batches, one for each tick from which some count.

    Args:
        seq: the number of the last operation that arrived before.
        floor: the tick from which an operation counts at the earliest; NEVER where none is known.
        closed: the last day that is counted.
    """
    flat = list(chain.from_iterable(groups))
    ends = np.cumsum([len(group) for group in groups])
    if not flat:
        return Arrivals((), (), tuple(Ingested(0, 0, seq) for _ in groups))
    users, days, ops, ats = zip(*flat, strict=True)
    records = np.zeros(len(flat), RECORD)
    names = np.frombuffer(b"".join(map(name_of, users)), NAME)
    day = records["day"] = _numbers(days)
    op = records["op"] = np.array(ops, np.int8)
    at = np.maximum(day, floor)
    if any(value is not None for value in ats):
        at = np.maximum(at, _numbers(ats))
    now = (op == ERASE) & (at == floor)
    records["high"], records["low"] = np.where(now, 0, names["high"]), np.where(now, 0, names["low"])
    records["offset"] = np.arange(len(flat))
    late = np.concatenate(
        [[0], np.cumsum((day <= closed) & (op != ERASE) if closed is not None else np.zeros(len(flat)))]
    )
    starts = np.concatenate([[0], ends[:-1]])
    ingested = tuple(
        Ingested(int(end - start), int(late[end] - late[start]), seq + int(end))
        for start, end in zip(starts, ends, strict=True)
    )
    erasures = tuple(Erasure(seq + 1 + int(i), floor, names[i].tobytes()) for i in np.flatnonzero(now))
    return Arrivals(tuple(by_tick(records, at, seq + 1)), erasures, ingested)


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


def _numbers(values: Sequence[int | None]) -> npt.NDArray[np.int64]:
    return np.array([NEVER if value is None else value for value in values], np.int64)


def name_of_bytes(name: bytes) -> tuple[int, int]:
    """A pseudonym of 16 bytes as the two numbers of a record."""
    high, low = np.frombuffer(name, NAME)[0]
    return int(high), int(low)
