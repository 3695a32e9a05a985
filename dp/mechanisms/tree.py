"""What trees of blocks share: a stream's path of blocks, and how many blocks one protected change can alter.

A tree is given by its depths. After tick t a stream remembers a path of earlier ticks; tick t measures the change since
the end of the path cut to `depth` entries, and then stands on the path itself. Blocks are therefore nested or apart. A
tick may measure several blocks, each containing the one before: its depths then fall.

A block holds the sum of the count's changes in it. Flips alternate, so one protected change alters a block by −1, 0 or
1, and by 0 when it has an even number of flips there: ℓ₁ = ℓ₂² = the most measured blocks with an odd number of flips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from dp.arrays import Floats, Integers
from dp.mechanisms.protocol import GRID
from dp.units import ProtectedClass

PLACES = 8
"""Where in a series the most odd blocks are sought first, evenly spread."""

LONGEST = 2**20
"""Ticks of the longest series whose blocks are counted (2,870 years of days)."""

Best = tuple[int, ...]
"""The most odd blocks in a piece of a tree, by its number of flips."""

Depths = tuple[tuple[int, ...], ...]
"""For every tick, how much of the path is kept before each of its blocks; falling within a tick."""


def horizon_of(protected: ProtectedClass) -> int:
    """The horizon of a class that a tree can serve.

    Raises:
        ValueError: the class has none, or too long a one.
    """
    if protected.horizon is None:
        raise ValueError("a tree needs a horizon: without a last tick nothing bounds its levels")
    if protected.horizon > LONGEST:
        raise ValueError(f"horizon is {protected.horizon} ticks, of which a tree can have at most {LONGEST}")
    return protected.horizon


def measure_path(depth: int, secret: Integers, count: int | Integers) -> tuple[Integers, Integers]:
    """The change since the path's entry `depth`, and the path of counts afterwards."""
    now = np.array([count], dtype=np.int64)
    return GRID * (now - (secret[depth - 1] if depth else 0)), np.concatenate([secret[:depth], now])


def estimate_path(depth: int, public: Floats, measured: Floats) -> tuple[Floats, Floats]:
    """The estimate at the path's entry `depth` plus a noisy change, and the path of estimates afterwards."""
    estimate = np.asarray(measured / GRID + (public[depth - 1] if depth else 0.0))
    return estimate, np.concatenate([public[:depth], estimate[np.newaxis]])


def ancestors(depths: Sequence[int]) -> list[int]:
    """The tick that each tick's block begins after, −1 for the beginning."""
    path: list[int] = []
    found = []
    for tick, depth in enumerate(depths):
        del path[depth:]
        found.append(path[-1] if path else -1)
        path.append(tick)
    return found


def sum_along_paths(depths: Sequence[int], noise: Floats) -> Floats:
    """Each tick's noise plus that of all blocks before its own; `noise` and result have shape (ticks, trials)."""
    errors = noise.copy()
    for tick, before in enumerate(ancestors(depths)):
        if before >= 0:
            errors[tick] += errors[before]
    return errors


@lru_cache(maxsize=64)
def most_odd_in_class(depths: Depths, protected: ProtectedClass) -> int:
    """The most blocks with an odd number of flips that one protected change can have, exactly."""
    horizon, flips = len(depths), _flips(protected)
    last = horizon - protected.hull
    known: dict[tuple[tuple[int, ...], ...], int] = {}
    closings = _later_closings(depths)
    best = most_odd_blocks(depths, flips, last, horizon, closings=closings)
    # A hull that ends before the last tick holds whole runs, that is an even number of flips.
    for start in range(last):
        stop = start + protected.hull + 1
        window = _seen_from(depths, closings, start, stop)
        if window not in known:
            known[window] = most_odd_blocks(depths, flips, start, stop, even=True, closings=closings)
    return max(best, *known.values(), 0)


def least_odd_in_class(depths: Depths, protected: ProtectedClass) -> int:
    """`most_odd_in_class` from below and soon: the most in some places."""
    last, closings = len(depths) - protected.hull, _later_closings(depths)
    starts = range(0, last, max(last // PLACES, 1))
    within = [(start, start + protected.hull + 1, True) for start in starts]
    return max(
        most_odd_blocks(depths, _flips(protected), low, high, even=even, closings=closings)
        for low, high, even in [(last, len(depths), False), *within]
    )


def best_candidate(candidates: Sequence[tuple[Depths, float]], protected: ProtectedClass) -> int:
    """Which candidate has the smallest product of squared sensitivity and variance, the first of several.

    Most are ruled out by a bound from below, without the search for their sensitivity.

    Args:
        candidates: depths for the horizon of the class, and the mean variance of a release per unit of noise variance.
    """
    ranked = sorted(
        (least_odd_in_class(depths, protected) * variance, index) for index, (depths, variance) in enumerate(candidates)
    )
    found = (math.inf, 0)
    for least, index in ranked:
        if (least, index) < found:
            depths, variance = candidates[index]
            found = min(found, (most_odd_in_class(depths, protected) * variance, index))
    return found[1]


def most_odd_blocks(
    depths: Depths, flips: int, low: int, high: int, *, even: bool = False, closings: list[int] | None = None
) -> int:
    """The most blocks with an odd number of flips, over all sets of ≤ `flips` ticks in [low, high).

    For each entry of the path: the best number of odd blocks inside it with 0, 1, … flips. Only ticks that close a
    block around the range matter after it, and those are found by following `closings`.
    """
    path: list[tuple[int, Best]] = []
    for tick in range(low, high):
        _close_all(path, depths[tick], (0, 0), flips)
    tick = high - 1
    closings = closings or _later_closings(depths)
    while (tick := closings[tick]) < len(depths):
        _close_all(path, depths[tick], (0,), flips)
    whole: Best = (0,)
    for _, entry in path:
        whole = combined(whole, entry, flips)
    return max(whole[:: 2 if even else 1])


def _flips(protected: ProtectedClass) -> int:
    return 2 * protected.runs - int(protected.open_ended)


def _close_all(path: list[tuple[int, Best]], blocks: Sequence[int], entry: Best, flips: int) -> None:
    """Take what lies in a tick's blocks off the path, each time into one block that ends with `entry`, and put it on.

    Each block is counted where its number of flips is odd.
    """
    for depth in blocks:
        while path and path[-1][0] >= depth:
            entry = combined(path.pop()[1], entry, flips)
        entry = counted(entry)
    path.append((blocks[-1], entry))


@lru_cache(maxsize=2**16)
def counted(entry: Best) -> Best:
    """The same piece as one measured block, which counts where its number of flips is odd."""
    return tuple(value + number % 2 for number, value in enumerate(entry))


@lru_cache(maxsize=2**16)
def combined(left: Best, right: Best, flips: int) -> Best:
    """The best of two neighbours together. Trees look alike in many places, so that most pairs come again."""
    best = [0] * min(len(left) + len(right) - 1, flips + 1)
    for i, from_left in enumerate(left):
        for j, from_right in enumerate(right[: flips + 1 - i]):
            best[i + j] = max(best[i + j], from_left + from_right)
    return tuple(best)


def _later_closings(depths: Depths) -> list[int]:
    """For each tick the next one whose last block contains it; the number of ticks where there is none."""
    found = [len(depths)] * len(depths)
    waiting: list[int] = []
    for tick, blocks in enumerate(depths):
        while waiting and depths[waiting[-1]][-1] >= blocks[-1]:
            found[waiting.pop()] = tick
        waiting.append(tick)
    return found


def _seen_from(depths: Depths, closings: list[int], low: int, high: int) -> tuple[tuple[int, ...], ...]:
    """What decides how many blocks flips in [low, high) can make odd: windows that look alike are searched once."""
    seen = list(depths[low:high])
    lowest = merged = min(blocks[-1] for blocks in seen)
    tick = high - 1
    around = 0
    while (tick := closings[tick]) < len(depths):
        # A block from at or below the lowest entry contains the whole range: only how many there are matters.
        around += sum(depth <= merged for depth in depths[tick])
        if depths[tick][-1] <= lowest:
            merged = depths[tick][-1]
        if merged == lowest:
            seen.append(tuple(depth for depth in depths[tick] if depth > lowest))
    return (*(tuple(depth - lowest for depth in blocks) for blocks in seen), (-1, around))
