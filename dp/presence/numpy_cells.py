"""When was each user active on each day? What cells.sql answers, from packed and sorted whole numbers.

The operations of a range of users become one 64-bit number each: user, day, place in the order of arrival, and whether
the operation adds. Sorting these numbers brings together what cells.sql partitions by, and is faster than sorting rows.
The sorted numbers are unpacked piece by piece. A piece fits the processor's cache and is cut between two users.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from dp.arrays import Integers
from dp.presence.daily import Horizon, day_number
from dp.progress import Progress, silent


@dataclass(frozen=True)
class BatchSizes:
    """How much is in hand at once; answers do not depend on it.

    Attributes:
        rows: operations in memory, in about 60 bytes each. The operations of one user stay together, however many.
        piece: packed numbers in a piece.
        word: bits that a packed number may take. Users are halved until theirs fit. One user's always do: a day and a
            place take 62 bits only beyond 2**30 operations of that user.
    """

    rows: int = 2**22
    piece: int = 2**16
    word: int = 63


@dataclass(frozen=True)
class UserDays:
    """Arrival ticks [starts, stops) during which users are recorded as active on a day, as in cells.sql.

    Ticks and days count from the first tick of the horizon. An earlier arrival counts as one on the first tick. What
    lasts beyond the horizon stops on the tick after it.

    Attributes:
        users: ids, ascending; shape (intervals,).
        starts: ascending for each user; shape (intervals,).
        stops: shape (intervals,).
        days: of the activity, in part negative; shape (intervals,).
    """

    users: Integers
    starts: Integers
    stops: Integers
    days: Integers


@dataclass(frozen=True)
class _Operations:
    """Operations in any order; the days of erasures mean nothing."""

    users: NDArray[np.int32]
    days: NDArray[np.int32]
    at: NDArray[np.int32]
    seq: NDArray[np.int64]
    ops: NDArray[np.int8]


@dataclass(frozen=True)
class _Packed:
    """The operations of some users, sorted.

    Attributes:
        keys: a number for each addition and retraction, ascending: user, day, place, and 1 for an addition.
        erasures: a number for each erasure, ascending: user and place.
        arrived: tick of the operation at each place.
        place_bits: bits of a place.
        day_bits: bits of a day.
        user: the least user; numbers hold the distance from it.
        day: the least day, likewise.
    """

    keys: Integers
    erasures: Integers
    arrived: Integers
    place_bits: int
    day_bits: int
    user: int
    day: int


def user_days(
    cursor: duckdb.DuckDBPyConnection, horizon: Horizon, sizes: BatchSizes | None = None, report: Progress = silent
) -> Iterator[UserDays]:
    """What cells.sql answers, as far as the windows of the horizon reach, in pieces of ascending users.

    The rows of a user are in one piece.

    Args:
        cursor: of a connection with the table `operations`, as in `dp.log.Log`.
        report: called with a stage and the fraction done.
    """
    sizes = sizes or BatchSizes()
    first, last = day_number(horizon.first), day_number(horizon.last)
    relevant = f"o.at <= {last} AND (o.op = 0 OR o.day > {first - max(horizon.windows)})"
    ((rows, least, most),) = cursor.execute(
        f"SELECT COUNT(*), MIN(o.user_id), MAX(o.user_id) FROM operations AS o WHERE {relevant}"
    ).fetchall()
    parts = -(-rows // sizes.rows)
    for part in range(parts):
        report("counting", part / parts)
        low, high = (least + (most + 1 - least) * edge // parts for edge in (part, part + 1))
        found = f"{relevant} AND o.user_id >= {low} AND o.user_id < {high}"
        for packed in _pack(_operations(cursor, found, first), first, sizes.word):
            yield from _unpack(packed, horizon, sizes.piece)


def _operations(cursor: duckdb.DuckDBPyConnection, condition: str, no_day: int) -> _Operations:
    """The operations under a condition; an erasure has the day `no_day`."""
    table = cursor.sql(
        f"SELECT o.user_id::INTEGER, COALESCE(o.day, {no_day})::INTEGER, o.at::INTEGER, o.seq::BIGINT, o.op::TINYINT "
        f"FROM operations AS o WHERE {condition}"
    ).to_arrow_table()
    # Not column.to_numpy(), which loads pandas.
    columns: list[NDArray[Any]] = [np.from_dlpack(column.combine_chunks()) for column in table.columns]
    return _Operations(*columns)


def _pack(found: _Operations, first: int, word: int) -> list[_Packed]:
    """All operations in one, or the users halved as often as it takes for a number to fit."""
    if len(found.users) == 0:
        return []
    user, day = int(found.users.min()), int(found.days.min())
    spread = int(found.users.max()) - user
    place_bits, day_bits = len(found.users).bit_length(), (int(found.days.max()) - day).bit_length()
    if spread and spread.bit_length() + day_bits + place_bits + 1 > word:
        lower = found.users <= user + spread // 2
        return [packed for half in (lower, ~lower) for packed in _pack(_chosen(found, half), first, word)]
    # Whole numbers of up to 16 bits are sorted in linear time.
    earliest, latest = int(found.at.min()), int(found.at.max())
    order = np.lexsort((found.seq, (found.at - earliest).astype(np.min_scalar_type(latest - earliest))))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    arrived = np.maximum(found.at[order].astype(np.int64) - first, 0)
    users = found.users.astype(np.int64) - user
    erases = found.ops == 0
    erasures = np.sort((users << place_bits | places)[erases])
    keys = ((users << day_bits | (found.days.astype(np.int64) - day)) << place_bits | places) << 1 | (found.ops > 0)
    if len(erasures):
        keys = keys[~erases]
    keys.sort()
    return [_Packed(keys, erasures, arrived, place_bits, day_bits, user, day - first)]


def _chosen(found: _Operations, rows: NDArray[np.bool_]) -> _Operations:
    return _Operations(found.users[rows], found.days[rows], found.at[rows], found.seq[rows], found.ops[rows])


def _unpack(packed: _Packed, horizon: Horizon, piece: int) -> Iterator[UserDays]:
    """The intervals of the operations, a piece at a time."""
    keys = packed.keys
    beyond = (horizon.last - horizon.first).days + 1
    user_shift = packed.day_bits + packed.place_bits + 1
    heads = keys[::piece] >> user_shift << user_shift
    cuts = np.unique(np.append(np.searchsorted(keys, heads), len(keys)))
    for low, high in pairwise(cuts.tolist()):
        yield _user_days_of(packed, keys[low:high], beyond)


def _user_days_of(packed: _Packed, keys: Integers, beyond: int) -> UserDays:
    """The intervals of the users in a piece of keys; `beyond` is the tick after the last."""
    places = keys >> 1 & (1 << packed.place_bits) - 1
    cells = keys >> packed.place_bits + 1
    starts = packed.arrived[places]
    # An addition lasts until the next operation on its day, or the next erasure.
    stops = np.full(len(keys), beyond)
    np.copyto(stops[:-1], starts[1:], where=cells[1:] == cells[:-1])
    _erase(packed, cells >> packed.day_bits << packed.place_bits | places, stops)
    lasting = np.flatnonzero((keys & 1 == 1) & (starts < stops))
    users = (cells[lasting] >> packed.day_bits) + packed.user
    days = (cells[lasting] & (1 << packed.day_bits) - 1) + packed.day
    starts, stops = starts[lasting], stops[lasting]
    # Days are in order; arrivals are, too, unless some were late.
    ordered = users * beyond + starts
    if (ordered[1:] < ordered[:-1]).any():
        order = np.argsort(ordered)
        users, starts, stops, days = users[order], starts[order], stops[order], days[order]
    return UserDays(users, starts, stops, days)


def _erase(packed: _Packed, written: Integers, stops: Integers) -> None:
    """Bring stops forward to the user's next erasure; `written` holds user and place of each operation."""
    shift = packed.place_bits
    edges = [written[0] >> shift << shift, (written[-1] >> shift) + 1 << shift]
    low, high = np.searchsorted(packed.erasures, edges)
    if low == high:
        return
    erasures = packed.erasures[low:high]
    following = erasures.take(np.searchsorted(erasures, written), mode="clip")
    erased = np.flatnonzero((following > written) & (following >> shift == written >> shift))
    erased_at = packed.arrived[following[erased] & (1 << shift) - 1]
    stops[erased] = np.minimum(stops[erased], erased_at)
