"""When was each user active on each day? What cells.sql answers, from packed and sorted whole numbers.

The operations of a range of users become one 64-bit number each: user, day, label (of a log with segments), place in
the order of arrival, and whether the operation adds. Sorting these numbers brings together what cells.sql partitions
by, and is faster than sorting rows.
The sorted numbers are unpacked piece by piece. A piece fits the processor's cache and is cut between two users.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from dp.arrays import Integers
from dp.presence.daily import Horizon, day_number
from dp.presence.labels import Labels, read_labels
from dp.progress import Progress, silent


@dataclass(frozen=True)
class BatchSizes:
    """How much is in hand at once; answers do not depend on it.

    Attributes:
        rows: operations in memory, in about 60 bytes each. The operations of one user stay together, however many.
        piece: packed numbers in a piece.
        word: bits that a packed number may take. Users are halved until theirs fit. One user's always do: a day, a
            label and a place take 62 bits only beyond 2**22 labels and as many operations of that user.
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

    def some(self, rows: Integers) -> UserDays:
        """Some of the intervals, in this order."""
        return UserDays(self.users[rows], self.starts[rows], self.stops[rows], self.days[rows])


@dataclass(frozen=True)
class Additions:
    """The first addition under each label of a user-day, taken back or not.

    Attributes:
        users: ids, ascending; shape (additions,).
        days: ascending for each user, counted as in `UserDays`; shape (additions,).
        labels: ascending for each user-day; shape (additions,).
        places: in the order of arrival; shape (additions,).
    """

    users: Integers
    days: Integers
    labels: Integers
    places: Integers


@dataclass(frozen=True)
class LabelledDays:
    """The intervals of `UserDays` with what is known of their segments.

    Attributes:
        active: in the order of user, day, label and place.
        labels: shape (intervals,); 0 in a log without segments.
        places: in the order of arrival, of the addition that began each interval; shape (intervals,).
        contested: what was added to the user-days that were ever added to under several labels.
    """

    active: UserDays
    labels: Integers
    places: Integers
    contested: Additions


@dataclass(frozen=True)
class _Operations:
    """Operations in any order; the days of erasures mean nothing."""

    users: NDArray[np.int32]
    days: NDArray[np.int32]
    at: NDArray[np.int32]
    seq: NDArray[np.int64]
    ops: NDArray[np.int8]
    labels: NDArray[np.int32]

    def chosen(self, rows: NDArray[np.bool_]) -> _Operations:
        """Some of them."""
        return _Operations(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class _Widths:
    """How a number is made of its parts, from the left: user, day, label, place.

    Attributes:
        user: the least user; numbers hold the distance from it.
        day: the least day, likewise, counted from the first tick.
        day_bits: bits of a day.
        label_bits: bits of a label; 0 in a log without segments.
        place_bits: bits of a place.
    """

    user: int
    day: int
    day_bits: int
    label_bits: int
    place_bits: int

    def of_user(self, cells: Integers) -> Integers:
        """What is left of the numbers of user, day and label without day and label."""
        return cells >> self.day_bits + self.label_bits

    def unpacked(self, cells: Integers) -> tuple[Integers, Integers, Integers]:
        """User, day and label."""
        days = (cells >> self.label_bits) & (1 << self.day_bits) - 1
        return self.of_user(cells) + self.user, days + self.day, cells & (1 << self.label_bits) - 1


@dataclass(frozen=True)
class _Packed:
    """The operations of some users, sorted.

    Attributes:
        keys: a number for each addition and each retraction of one label, ascending: user, day, label, place, and 1 for
            an addition.
        erasures: a number for each erasure, ascending: user and place.
        wide: retractions that cover several labels, by `dp.presence.labels.CoveredLabels`: of each label what that
            keeps, and a number for each retraction, ascending: user, day, what it says, place.
        arrived: tick of the operation at each place.
        widths: of the numbers.
    """

    keys: Integers
    erasures: Integers
    wide: list[tuple[Integers, Integers]]
    arrived: Integers
    widths: _Widths


def user_days(
    cursor: duckdb.DuckDBPyConnection, horizon: Horizon, sizes: BatchSizes | None = None, report: Progress = silent
) -> Iterator[UserDays]:
    """What cells.sql answers, as far as the windows of the horizon reach, in pieces of ascending users.

    The rows of a user are in one piece. A user is active on a day under any label.

    Args:
        cursor: of a connection with the table `operations`, as in `dp.log.Log`.
        report: called with a stage and the fraction done.
    """
    for part in labelled_days(cursor, horizon, read_labels(cursor), sizes, report):
        yield in_time(part.active, (horizon.last - horizon.first).days + 1)


def labelled_days(
    cursor: duckdb.DuckDBPyConnection,
    horizon: Horizon,
    labels: Labels,
    sizes: BatchSizes | None = None,
    report: Progress = silent,
) -> Iterator[LabelledDays]:
    """The same with labels. Of a user-day under a label the last write wins.

    Args:
        labels: of the log.
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
        for packed in _pack(_operations(cursor, found, first, labels), labels, first, sizes.word):
            yield from _unpack(packed, (horizon.last - horizon.first).days + 1, sizes.piece)


def in_time(active: UserDays, beyond: int) -> UserDays:
    """The intervals in the order of user and start; `beyond` is the tick after the last."""
    # Days are in order; arrivals are, too, unless some were late.
    ordered = active.users * beyond + active.starts
    return active if (ordered[1:] >= ordered[:-1]).all() else active.some(np.argsort(ordered))


def _operations(cursor: duckdb.DuckDBPyConnection, condition: str, no_day: int, labels: Labels) -> _Operations:
    """The operations under a condition; an erasure has the day `no_day`."""
    label = "COALESCE(o.label, 0)" if labels.columns else "0"
    table = cursor.sql(
        f"SELECT o.user_id::INTEGER, COALESCE(o.day, {no_day})::INTEGER, o.at::INTEGER, o.seq::BIGINT, o.op::TINYINT, "
        f"{label}::INTEGER FROM operations AS o WHERE {condition}"
    ).to_arrow_table()
    # Not column.to_numpy(), which loads pandas.
    columns: list[NDArray[Any]] = [np.from_dlpack(column.combine_chunks()) for column in table.columns]
    return _Operations(*columns)


def _pack(found: _Operations, labels: Labels, first: int, word: int) -> list[_Packed]:
    """All operations in one, or the users halved as often as it takes for a number to fit."""
    if len(found.users) == 0:
        return []
    user, day = int(found.users.min()), int(found.days.min())
    spread = int(found.users.max()) - user
    day_bits, label_bits = (int(found.days.max()) - day).bit_length(), (len(labels) - 1).bit_length()
    widths = _Widths(user, day - first, day_bits, label_bits, len(found.users).bit_length())
    if spread and spread.bit_length() + day_bits + label_bits + widths.place_bits + 1 > word:
        lower = found.users <= user + spread // 2
        return [packed for half in (lower, ~lower) for packed in _pack(found.chosen(half), labels, first, word)]
    # Whole numbers of up to 16 bits are sorted in linear time.
    earliest, latest = int(found.at.min()), int(found.at.max())
    order = np.lexsort((found.seq, (found.at - earliest).astype(np.min_scalar_type(latest - earliest))))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    arrived = np.maximum(found.at[order].astype(np.int64) - first, 0)
    users = found.users.astype(np.int64) - user
    erases = found.ops == 0
    erasures = np.sort((users << widths.place_bits | places)[erases])
    cells = users << day_bits | (found.days.astype(np.int64) - day)
    wide, elsewhere = _wide_retractions(found, labels, cells, places, widths)
    if label_bits:
        cells = cells << label_bits | found.labels
    keys = (cells << widths.place_bits | places) << 1 | (found.ops > 0)
    if len(erasures) or wide:
        keys = keys[~(erases | elsewhere)]
    keys.sort()
    return [_Packed(keys, erasures, wide, arrived, widths)]


def _wide_retractions(
    found: _Operations, labels: Labels, user_days: Integers, places: Integers, widths: _Widths
) -> tuple[list[tuple[Integers, Integers]], NDArray[np.bool_]]:
    """`_Packed.wide`, and which operations these are."""
    wide, elsewhere = [], np.zeros(len(found.users), dtype=np.bool_)
    for covered in labels.wide:
        rows = np.flatnonzero((found.ops < 0) & covered.belongs[found.labels])
        if len(rows):
            elsewhere[rows] = True
            said = user_days[rows] << widths.label_bits | covered.kept[found.labels[rows]]
            wide.append((covered.kept, np.sort(said << widths.place_bits | places[rows])))
    return wide, elsewhere


def _unpack(packed: _Packed, beyond: int, piece: int) -> Iterator[LabelledDays]:
    """The intervals of the operations, a piece at a time; `beyond` is the tick after the last."""
    keys, widths = packed.keys, packed.widths
    user_shift = widths.day_bits + widths.label_bits + widths.place_bits + 1
    heads = keys[::piece] >> user_shift << user_shift
    cuts = np.unique(np.append(np.searchsorted(keys, heads), len(keys)))
    for low, high in pairwise(cuts.tolist()):
        yield _labelled_days_of(packed, keys[low:high], beyond)


def _labelled_days_of(packed: _Packed, keys: Integers, beyond: int) -> LabelledDays:
    """The intervals of the users in a piece of keys."""
    widths = packed.widths
    places = keys >> 1 & (1 << widths.place_bits) - 1
    cells = keys >> widths.place_bits + 1
    starts = packed.arrived[places]
    # An addition lasts until the next operation on its day under its label, or the next that covers it.
    stops = np.full(len(keys), beyond)
    np.copyto(stops[:-1], starts[1:], where=cells[1:] == cells[:-1])
    _end(packed, packed.erasures, None, cells, places, stops)
    for kept, retractions in packed.wide:
        _end(packed, retractions, kept, cells, places, stops)
    adds = keys & 1 == 1
    lasting = np.flatnonzero(adds & (starts < stops))
    users, days, labels = widths.unpacked(cells[lasting])
    active = UserDays(users, starts[lasting], stops[lasting], days)
    return LabelledDays(active, labels, places[lasting], _contested(cells, places, adds, widths))


def _contested(cells: Integers, places: Integers, adds: NDArray[np.bool_], widths: _Widths) -> Additions:
    """The first additions under each label, on user-days that were added to under several."""
    if widths.label_bits:
        # Most user-days have one operation, so they go first.
        rows = beside_an_equal(cells >> widths.label_bits)
        rows = rows[adds[rows]]
        rows = rows[np.diff(cells[rows], prepend=-1) != 0]
        rows = rows[beside_an_equal(cells[rows] >> widths.label_bits)]
        return Additions(*widths.unpacked(cells[rows]), places[rows])
    nothing = np.zeros(0, dtype=np.int64)
    return Additions(nothing, nothing, nothing, nothing)


def beside_an_equal(values: Integers) -> Integers:
    """The positions of values of which a neighbour is the same."""
    same = values[1:] == values[:-1]
    return np.flatnonzero(np.append(same, False) | np.append(False, same))


def _end(
    packed: _Packed, events: Integers, kept: Integers | None, cells: Integers, places: Integers, stops: Integers
) -> None:
    """Bring stops forward to the next event: a user's next erasure, or the next retraction that covers the label.

    Args:
        events: one of `_Packed.erasures`, or of `_Packed.wide`.
        kept: with it, of each label what such retractions say; None of erasures.
        cells: user, day and label of each operation, ascending.
        places: of each operation.
    """
    widths, shift = packed.widths, packed.widths.place_bits
    label_bits = 0 if kept is None else widths.label_bits
    groups = widths.of_user(cells) if kept is None else cells >> label_bits
    edges = [groups[0] << label_bits + shift, groups[-1] + 1 << label_bits + shift]
    low, high = np.searchsorted(events, edges)
    if low == high:
        return
    events = events[low:high]
    rows = positions_among(groups, events >> label_bits + shift)
    owners = groups[rows]
    if kept is not None:
        owners = owners << label_bits | kept[cells[rows] & (1 << label_bits) - 1]
    written = owners << shift | places[rows]
    following = events.take(np.searchsorted(events, written), mode="clip")
    ended = np.flatnonzero((following > written) & (following >> shift == owners))
    rows, ended_at = rows[ended], packed.arrived[following[ended] & (1 << shift) - 1]
    stops[rows] = np.minimum(stops[rows], ended_at)


def positions_among(values: Integers, wanted: Integers) -> Integers:
    """The positions of all values that are among the wanted ones; both ascend."""
    wanted = wanted[np.diff(wanted, prepend=-1) != 0]
    first, after = np.searchsorted(values, wanted), np.searchsorted(values, wanted, side="right")
    lengths = after - first
    positions: Integers = np.repeat(after - np.cumsum(lengths), lengths) + np.arange(lengths.sum())
    return positions
