"""In which segments users are active: intervals by segment, for each kind of breakdown.

Users are numbered anew, and a user and a segment make one number, with the segment in the lower bits. To what counts
runs this number is a user.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Integers
from dp.presence.numpy_cells import Additions, LabelledDays, UserDays, beside_an_equal, positions_among
from dp.presence.numpy_runs import PackedDays, positions_within, sorted_unique


def by_segment(active: UserDays, segments: Integers, segment_bits: int, beyond: int) -> PackedDays:
    """The same intervals with a user for each user and segment, in the order of these and start.

    Args:
        active: the users ascend.
        segments: of each interval; shape (intervals,).
        segment_bits: bits of a segment.
        beyond: the tick after the last.
    """
    ranks = np.cumsum(np.diff(active.users, prepend=active.users[:1]) != 0)
    tick_bits, row_bits = beyond.bit_length(), len(ranks).bit_length()
    # Numbers with their position in the last bits are sorted several times as fast as positions by numbers.
    keys = ((ranks << segment_bits | segments) << tick_bits | active.starts) << row_bits | np.arange(len(ranks))
    keys.sort()
    order = keys & (1 << row_bits) - 1
    starts = keys >> row_bits
    users = starts >> tick_bits << tick_bits
    return PackedDays(starts, users | active.stops[order], users + active.days[order], tick_bits)


def admitted(part: LabelledDays, segment_of: Integers, most: int) -> tuple[UserDays, Integers]:
    """The intervals in the first `most` segments to which their user-day was added, and the label of each.

    Args:
        segment_of: of each label; shape (labels,).
    """
    contested, active = part.contested, part.active
    segments = segment_of[contested.labels]
    late = too_late(_numbered_user_days(contested), segments, contested.places, most)
    if not len(late):
        return active, part.labels
    refused = _Cells(contested.users[late], contested.days[late], segments[late])
    # Only these users are looked at.
    looked = positions_among(active.users, refused.users)
    theirs = _Cells(active.users[looked], active.days[looked], segment_of[part.labels[looked]])
    kept = np.ones(len(active.users), dtype=np.bool_)
    kept[looked[theirs.are_among(refused)]] = False
    chosen = np.flatnonzero(kept)
    return active.some(chosen), part.labels[chosen]


def too_late(user_days: Integers, segments: Integers, places: Integers, most: int) -> Integers:
    """The first addition of every segment of a user-day before which others came, as many as may count.

    Args:
        user_days: 0, 1, … of each addition, ascending; shape (additions,).
        places: in the order of arrival.

    Returns:
        Positions.
    """
    # Where no user-day was added to under more labels, none is in more segments.
    crowded = np.zeros(len(user_days), dtype=np.bool_)
    crowded[user_days[positions_within(user_days) > most]] = True
    rows = np.flatnonzero(crowded[user_days])
    rows = rows[np.lexsort((places[rows], segments[rows], user_days[rows]))]
    rows = rows[(np.diff(user_days[rows], prepend=-1) != 0) | (np.diff(segments[rows], prepend=-1) != 0)]
    rows = rows[np.lexsort((places[rows], user_days[rows]))]
    late: Integers = rows[positions_within(user_days[rows]) > most]
    return late


class _Cells(NamedTuple):
    """Users, days and segments, each in an array of the same shape."""

    users: Integers
    days: Integers
    segments: Integers

    def are_among(self, others: _Cells) -> NDArray[np.bool_]:
        """Which of these are among others, of which there are some."""
        both = [np.concatenate(pair) for pair in zip(self, others, strict=True)]
        numbers = np.zeros(len(both[0]), dtype=np.int64)
        for values in both:
            least = int(values.min())
            numbers = numbers * (int(values.max()) - least + 1) + values - least
        among: NDArray[np.bool_] = np.isin(numbers[: len(self.users)], numbers[len(self.users) :])
        return among


def _numbered_user_days(additions: Additions) -> Integers:
    """0, 1, … for the user-days in their order."""
    new = (np.diff(additions.users, prepend=additions.users[:1]) != 0) | (
        np.diff(additions.days, prepend=additions.days[:1]) != 0
    )
    return np.cumsum(new)


def latest(part: LabelledDays, reach: int, beyond: int) -> tuple[UserDays, Integers]:
    """When is which interval the last activity of its user: that of the latest day, and on it the last to arrive.

    Args:
        reach: days after which no activity counts, at least the longest window.
        beyond: the tick after the last.

    Returns:
        For each user intervals that do not overlap, and the label of each.
    """
    active = part.active
    days = active.days - active.days.min(initial=0)
    user_days = active.users * (int(days.max(initial=0)) + 1) + days
    order = np.arange(len(days))
    # On most days a user was active under one label; additions under one are in the order of arrival.
    several = beside_an_equal(user_days)
    order[several] = several[np.lexsort((part.places[several], user_days[several]))]
    ends = np.minimum(active.stops, active.days + reach)
    order = order[(active.starts < ends)[order]]
    shown, starts, stops = uncovered(active.users[order], active.starts[order], ends[order], beyond)
    rows = order[shown]
    return UserDays(active.users[rows], starts, stops, active.days[rows]), part.labels[rows]


def uncovered(users: Integers, starts: Integers, stops: Integers, beyond: int) -> tuple[Integers, Integers, Integers]:
    """The parts of intervals [starts, stops) that no later interval of the same user covers.

    Args:
        users: ascending; shape (intervals,).
        beyond: no stop is above it.

    Returns:
        Position of the interval, start and stop of each part, in the order of user and start.
    """
    tick_bits = beyond.bit_length()
    starts, stops = users << tick_bits | starts, users << tick_bits | stops
    # Where starts and stops ascend, the next interval covers all that is left of the one before.
    tangled = _tangled(starts, stops)
    plain = np.flatnonzero(~tangled)
    until = stops.copy()
    np.minimum(stops[:-1], starts[1:], out=until[:-1])
    plain = plain[starts[plain] < until[plain]]
    which, begins, ends = plain, starts[plain], until[plain]
    if tangled.any():
        rest = np.flatnonzero(tangled)
        shown, opened, closed = _topmost(starts[rest], stops[rest])
        which, begins, ends = (
            np.concatenate(pair) for pair in ((which, rest[shown]), (begins, opened), (ends, closed))
        )
        order = np.argsort(begins, kind="stable")
        which, begins, ends = which[order], begins[order], ends[order]
    tick = (1 << tick_bits) - 1
    return which, begins & tick, ends & tick


def _tangled(starts: Integers, stops: Integers) -> NDArray[np.bool_]:
    """The intervals in groups within which starts or stops do not ascend; a group is apart in time from the others."""
    falls = (starts[1:] < starts[:-1]) | (stops[1:] < stops[:-1])
    if not falls.any():
        return np.zeros(len(starts), dtype=np.bool_)
    apart = np.maximum.accumulate(stops)[:-1] <= np.minimum.accumulate(starts[::-1])[-2::-1]
    groups = np.concatenate([[0], np.cumsum(apart)])
    of_group = np.zeros(groups[-1] + 1, dtype=np.bool_)
    of_group[groups[1:][falls]] = True
    tangled: NDArray[np.bool_] = of_group[groups]
    return tangled


def _topmost(starts: Integers, stops: Integers) -> tuple[Integers, Integers, Integers]:
    """The last of the intervals that cover each stretch between two neighbouring starts or stops, if one does.

    A tree over the stretches: an interval is noted at the few nodes that make it up, and the last one noted above a
    stretch is the answer. So it takes n log n steps, whatever is in a log.

    Returns:
        Position of the interval, start and stop of each stretch, ascending.
    """
    edges = sorted_unique(np.concatenate([starts, stops]))
    leaves = len(edges)
    top = np.full(2 * leaves, -1)
    low, high = np.searchsorted(edges, starts) + leaves, np.searchsorted(edges, stops) + leaves
    which = np.arange(len(starts))
    while len(which):
        odd = low & 1 == 1
        np.maximum.at(top, low[odd], which[odd])
        odd = high & 1 == 1
        np.maximum.at(top, high[odd] - 1, which[odd])
        low, high = low + 1 >> 1, high >> 1
        left = low < high
        low, high, which = low[left], high[left], which[left]
    level = 1
    while 2 * level < 2 * leaves:
        nodes = np.arange(2 * level, min(4 * level, 2 * leaves))
        top[nodes] = np.maximum(top[nodes], top[nodes >> 1])
        level *= 2
    found = top[leaves:]
    stretches = np.flatnonzero(found >= 0)
    return found[stretches], edges[stretches], edges[stretches + 1]
