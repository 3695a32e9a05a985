"""The smooth binary mechanism: a binary tree in which every release is the sum of the same number of blocks.

Andersson and Pagh, "A smooth binary mechanism for efficient private continual observation", 2023. Only leaves whose
index has exactly `ones` ones among `height` bits are used, one a tick; the prefix up to a leaf is one block for every
one of its index. So all releases have the same variance, and a flip is seen by as many blocks as its leaf has zeros.
Blocks of the lowest ones hold no leaf in use: nothing is measured there, but their noise is drawn to keep the variance
the same. Height and ones are chosen for the class (the paper takes half as many ones as bits); with one single one it
would be independent noise, so at least two are taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from dp.arrays import Floats, Integers
from dp.mechanisms import tree
from dp.mechanisms.linear import measure_and_estimate, measure_in_turn
from dp.mechanisms.protocol import GRID
from dp.mechanisms.together import columns_together
from dp.units import ProtectedClass

MOST_ONES = 12
TALLEST = 64
LONG_ENOUGH_TO_JUDGE = 1024


@dataclass(frozen=True)
class SmoothBinaryStrategy:
    """Tick t's release is the prefix up to the leaf after its own, t + 1 among those with `ones` ones.

    Attributes:
        height: bits of a leaf's index.
        ones: ones in the index of every leaf in use; also the blocks in every release.
    """

    height: int
    ones: int

    def measure(self, tick: int, secret: Integers, count: int | Integers) -> tuple[Integers, Integers]:
        """The change over the one new block that holds ticks, and nothing for each empty one."""
        empty = self._empty(tick)
        exact, path = tree.measure_path(self.ones - empty - 1, secret, count)
        return np.concatenate([exact, np.zeros((empty, *exact.shape[1:]), dtype=np.int64)]), path

    def estimate(self, tick: int, public: Floats, measured: Floats) -> tuple[Floats, Floats]:
        """The sum of the blocks; the empty ones are forgotten at once."""
        estimate, path = tree.estimate_path(self.ones - self._empty(tick) - 1, public, measured[0])
        return np.asarray(estimate + measured[1:].sum(axis=0) / GRID), path

    advance = measure_and_estimate
    measurements = measure_in_turn
    run_together = columns_together

    def draws(self, start: int, stop: int) -> int:
        """One a tick and one for every empty block."""
        return int(stop - start + empty_blocks(self.height, self.ones, stop)[start:].sum())

    def memory(self, tick: int) -> int:
        """The entries of the path: the blocks that hold ticks."""
        return self.ones - self._empty(tick)

    def decode(self, noise: Floats) -> Floats:
        """The noise along each tick's path and that of its empty blocks; (trials, T)."""
        by_draw = np.ascontiguousarray(noise.T)
        # Each tick makes at least one draw, so that there are no more ticks than draws.
        leaves = math.comb(self.height, self.ones) - 1
        empty = empty_blocks(self.height, self.ones, min(len(by_draw), leaves))
        ends = np.cumsum(empty + 1)
        empty = empty[ends <= len(by_draw)]
        starts = ends[: len(empty)] - empty - 1
        errors = tree.sum_along_paths((self.ones - empty - 1).tolist(), by_draw[starts])
        for tick in np.flatnonzero(empty):
            # Nobody's path is read from here any more.
            errors[tick] += by_draw[starts[tick] + 1 : starts[tick] + 1 + empty[tick]].sum(axis=0)
        return errors.T

    def decoder_energy(self, horizon: int) -> Floats:
        """The number of ones, at every tick; shape (horizon,)."""
        return np.full(horizon, float(self.ones))

    def sensitivity_squared(self, protected: ProtectedClass) -> float:
        """The most measured blocks with an odd number of flips, exactly.

        Raises:
            ValueError: the class has no horizon, or one too long for the leaves.
        """
        return float(tree.most_odd_in_class(self.depths(tree.horizon_of(protected)), protected))

    def depths(self, horizon: int) -> tree.Depths:
        """How much of the path is kept before each tick's block."""
        empty = empty_blocks(self.height, self.ones, horizon)
        return tuple((depth,) for depth in (self.ones - empty - 1).tolist())

    def touched(self, protected: ProtectedClass) -> int:
        """As many blocks as can be odd."""
        return int(self.sensitivity_squared(protected))

    def _empty(self, tick: int) -> int:
        return int(empty_blocks(self.height, self.ones, tick + 1)[tick])


def strategy(protected: ProtectedClass) -> SmoothBinaryStrategy:
    """The height and the number of ones with the smallest error for the class.

    Raises:
        ValueError: the class has no horizon, or too long a one.
    """
    if protected.horizon is None:
        raise ValueError("smooth-binary needs a horizon: without a last tick nothing bounds its levels")
    horizon = tree.horizon_of(protected)
    heights = {ones: _height(ones, horizon) for ones in range(2, MOST_ONES + 1)}
    candidates = [SmoothBinaryStrategy(height, ones) for ones, height in heights.items() if height <= TALLEST]
    judged_on = min(horizon, LONG_ENOUGH_TO_JUDGE)
    shorter = replace(protected, hull=min(protected.hull, judged_on), horizon=judged_on)
    return candidates[tree.best_candidate([(one.depths(judged_on), float(one.ones)) for one in candidates], shorter)]


def empty_blocks(height: int, ones: int, ticks: int) -> Integers:
    """How many of each release's blocks hold no leaf in use, shape (ticks,): ones at the low end of the next index.

    Raises:
        ValueError: there are not that many leaves.
    """
    leaves = math.comb(height, ones) - 1
    if ticks > leaves:
        raise ValueError(f"smooth-binary with {ones} of {height} bits set has {leaves} ticks; {ticks} are asked for")
    return _low_ones(height, ones)[1 : ticks + 1]


@lru_cache(maxsize=256)
def _low_ones(height: int, ones: int) -> Integers:
    """Ones at the low end of each index with `ones` ones among `height` bits, in rising order."""
    if ones in (0, height):
        return np.array([ones])
    return np.concatenate([_low_ones(height - 1, ones), _low_ones(height - 1, ones - 1)])


def _height(ones: int, horizon: int) -> int:
    height = ones
    while math.comb(height, ones) <= horizon:
        height += 1
    return height
