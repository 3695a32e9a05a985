"""The binary tree of continual counting: a tick measures the dyadic block of changes that ends with it.

Chan, Shi, Song, "Private and continual release of statistics", 2011; Dwork, Naor, Pitassi, Rothblum, "Differential
privacy under continual observation", 2010. The released prefix is the sum of the blocks in the binary expansion of
t + 1, so that only blocks which end at an odd multiple of their length are ever measured, one a tick.

A block holds the sum of the count's changes in it. Flips alternate, so one protected change alters a block by −1, 0 or
1, and by 0 when it has an even number of flips there: ℓ₁ = ℓ₂² = the most measured blocks with an odd number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dp.mechanisms.linear import GRID, Row
from dp.units import ProtectedClass

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BinaryTreeStrategy:
    """One measurement a tick: x_t − x_(t − 2^k), where 2^k is the largest power of two that divides t + 1."""

    def row(self, tick: int) -> Row:
        """Subtract the count just before the block that ends with `tick`, if there is one."""
        block = lowest_bit(tick + 1)
        if block == tick + 1:
            return Row(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        return Row(np.array([block]), np.array([GRID]))

    def memory(self, tick: int) -> int:
        """All ticks back to the end of the largest block so far; nothing later reaches beyond it."""
        ticks = tick + 1
        return ticks - (1 << (ticks.bit_length() - 1)) + 1

    def decode(self, noise: Floats) -> Floats:
        """Each tick's noise plus the error of the tick before its block; shape of `noise`, (trials, T)."""
        errors = noise.T.copy()
        for tick in range(noise.shape[1]):
            block = lowest_bit(tick + 1)
            if block <= tick:
                errors[tick] += errors[tick - block]
        return errors.T

    def decoder_energy(self, horizon: int) -> Floats:
        """Ones in the binary expansion of t + 1, shape (horizon,)."""
        return np.bitwise_count(np.arange(1, horizon + 1)).astype(np.float64)

    def sensitivity_squared(self, protected: ProtectedClass) -> float:
        """The most measured blocks with an odd number of flips, exactly.

        Raises:
            ValueError: the class has no horizon, so that the number of levels has no bound.
        """
        if protected.horizon is None:
            raise ValueError("binary-tree needs a horizon: a tree without a last tick has no bound on its levels")
        return float(_most_odd_in_class(protected, protected.horizon))

    def touched(self, protected: ProtectedClass) -> int:
        """As many blocks as can be odd."""
        return int(self.sensitivity_squared(protected))


def strategy(protected: ProtectedClass) -> BinaryTreeStrategy:
    """The tree; it has no parameters."""
    return BinaryTreeStrategy()


def lowest_bit(number: int) -> int:
    """The largest power of two that divides a positive number."""
    return number & -number


def most_odd_blocks(horizon: int, flips: int, low: int, high: int, *, even: bool = False) -> int:
    """The most measured blocks with an odd number of flips, over all sets of ≤ `flips` ticks in [low, high).

    Dynamic programming over the tree: for a subtree and each number of flips in it, the best number of odd blocks.
    Subtrees that look alike (same size, same cut by the range and the horizon) are computed once.
    """
    known: dict[tuple[int, int, int, int], list[int]] = {}

    def best(level: int, room: int, low: int, high: int, measured: bool) -> list[int]:
        """Best count for 0, 1, … flips in a block of 2^level ticks of which `room` lie before the horizon."""
        size = 1 << level
        low, high = max(low, 0), min(high, size, room)
        if low >= high:
            return [0]
        key = (level, min(room, size), low, high)
        if key not in known:
            known[key] = [0, 0]
            if level:
                half = size // 2
                left = best(level - 1, room, low, high, True)
                right = best(level - 1, room - half, low - half, high - half, False)
                known[key] = _combine(left, right, flips)
        counted = measured and room >= size
        return [value + (counted and number % 2) for number, value in enumerate(known[key])]

    return max(best(horizon.bit_length(), horizon, low, high, True)[:: 2 if even else 1])


@lru_cache(maxsize=64)
def _most_odd_in_class(protected: ProtectedClass, horizon: int) -> int:
    # Kept, because a design asks twice: for the sensitivity and for how many blocks a change touches.
    flips = 2 * protected.runs - int(protected.open_ended)
    positions = protected.hull + 1
    last = horizon - protected.hull
    # A hull that ends before the last tick holds whole runs, that is an even number of flips.
    inner = (most_odd_blocks(horizon, flips, start, start + positions, even=True) for start in range(last))
    outer = most_odd_blocks(horizon, flips, last, horizon)
    return max(outer, *inner, 0)


def _combine(left: list[int], right: list[int], flips: int) -> list[int]:
    best = [0] * min(len(left) + len(right) - 1, flips + 1)
    for i, from_left in enumerate(left):
        for j, from_right in enumerate(right):
            if i + j <= flips:
                best[i + j] = max(best[i + j], from_left + from_right)
    return best
