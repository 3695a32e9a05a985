"""What trees of blocks share: a stream's path of blocks, and how many blocks one protected change can alter.

A tree is given by its depths. After tick t a stream remembers a path of earlier ticks; tick t measures the change since
the end of the path cut to `depth` entries, and then stands on the path itself. Blocks are therefore nested or apart. A
tick may measure several blocks, each containing the one before: its depths then fall.

A block holds the sum of the count's changes in it. Flips alternate, so one protected change alters a block by −1, 0 or
1, and by 0 when it has an even number of flips there: ℓ₁ = ℓ₂² = the most measured blocks with an odd number of flips.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from dp.mechanisms.protocol import GRID, Floats, Integers
from dp.units import ProtectedClass

Depths = tuple[tuple[int, ...], ...]
"""For every tick, how much of the path is kept before each of its blocks; falling within a tick."""


def measure_path(depth: int, secret: Integers, count: int) -> tuple[Integers, Integers]:
    """The change since the path's entry `depth`, and the path of counts afterwards."""
    before = int(secret[depth - 1]) if depth else 0
    return np.array([GRID * (count - before)]), np.append(secret[:depth], np.int64(count))


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
    horizon = len(depths)
    flips = 2 * protected.runs - int(protected.open_ended)
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


def most_odd_blocks(
    depths: Depths, flips: int, low: int, high: int, *, even: bool = False, closings: list[int] | None = None
) -> int:
    """The most blocks with an odd number of flips, over all sets of ≤ `flips` ticks in [low, high).

    For each entry of the path: the best number of odd blocks inside it with 0, 1, … flips. Only ticks that close a
    block around the range matter after it, and those are found by following `closings`.
    """
    path: dict[int, list[int]] = {}
    for tick in range(low, high):
        entry = [0, 0]
        for depth in depths[tick]:
            entry = _close(path, depth, entry, flips)
        path[depths[tick][-1]] = entry
    tick = high - 1
    closings = closings or _later_closings(depths)
    while (tick := closings[tick]) < len(depths):
        entry = [0]
        for depth in depths[tick]:
            entry = _close(path, depth, entry, flips)
        path[depths[tick][-1]] = entry
    whole = [0]
    for entry in path.values():
        whole = _combine(whole, entry, flips)
    return max(whole[:: 2 if even else 1])


def _close(path: dict[int, list[int]], depth: int, entry: list[int], flips: int) -> list[int]:
    """Take everything from `depth` on off the path into one block that ends with `entry`, and count it if it is odd."""
    for position in [position for position in path if position >= depth]:
        entry = _combine(path.pop(position), entry, flips)
    return [value + number % 2 for number, value in enumerate(entry)]


def _combine(left: list[int], right: list[int], flips: int) -> list[int]:
    best = [0] * min(len(left) + len(right) - 1, flips + 1)
    for i, from_left in enumerate(left):
        for j, from_right in enumerate(right):
            if i + j <= flips:
                best[i + j] = max(best[i + j], from_left + from_right)
    return best


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
