"""The binary tree of continual counting, and trees of another branching: a tick measures the block that ends with it.

Chan, Shi, Song, "Private and continual release of statistics", 2011; Dwork, Naor, Pitassi, Rothblum, "Differential
privacy under continual observation", 2010. The released prefix is the sum of the blocks of t + 1 written in base b, one
for every unit of every digit, so that the last of b sibling blocks is never measured. The path has as many entries as
the sum of the digits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from dp.arrays import Floats, Integers
from dp.mechanisms import tree
from dp.mechanisms.linear import measure_and_estimate, measure_in_turn, one_draw_a_tick
from dp.mechanisms.together import columns_together
from dp.units import ProtectedClass

BRANCHINGS = range(2, 17)
LONG_ENOUGH_TO_JUDGE = 1024


@dataclass(frozen=True)
class TreeStrategy:
    """One measurement a tick: the change over the largest block of b^k ticks that ends with it, b = `branching`."""

    branching: int = 2

    def measure(self, tick: int, secret: Integers, count: int | Integers) -> tuple[Integers, Integers]:
        """The change over the block."""
        return tree.measure_path(digit_sum(tick + 1, self.branching) - 1, secret, count)

    def estimate(self, tick: int, public: Floats, measured: Floats) -> tuple[Floats, Floats]:
        """The measurement and the estimate before the block."""
        return tree.estimate_path(digit_sum(tick + 1, self.branching) - 1, public, measured[0])

    advance = measure_and_estimate
    measurements = measure_in_turn
    draws = one_draw_a_tick
    run_together = columns_together

    def memory(self, tick: int) -> int:
        """The entries of the path: the sum of the digits of t + 1."""
        return digit_sum(tick + 1, self.branching)

    def decode(self, noise: Floats) -> Floats:
        """Each tick's noise plus the error of the tick before its block; shape of `noise`, (trials, T)."""
        depths = [blocks[0] for blocks in _depths(noise.shape[1], self.branching)]
        return tree.sum_along_paths(depths, np.ascontiguousarray(noise.T)).T

    def decoder_energy(self, horizon: int) -> Floats:
        """The sum of the digits of t + 1, shape (horizon,)."""
        left = np.arange(1, horizon + 1)
        total = np.zeros(horizon)
        while left.any():
            left, digits = np.divmod(left, self.branching)
            total += digits
        return total

    def sensitivity_squared(self, protected: ProtectedClass) -> float:
        """The most measured blocks with an odd number of flips, exactly.

        Raises:
            ValueError: the class has no horizon, so that the number of levels has no bound, or too long a one.
        """
        return float(tree.most_odd_in_class(_depths(tree.horizon_of(protected), self.branching), protected))

    def touched(self, protected: ProtectedClass) -> int:
        """As many blocks as can be odd."""
        return int(self.sensitivity_squared(protected))


def strategy(protected: ProtectedClass) -> TreeStrategy:
    """The binary tree; it has no parameters."""
    return TreeStrategy()


def best_strategy(protected: ProtectedClass) -> TreeStrategy:
    """The tree whose branching gives the smallest mean squared error over the horizon, or the beginning of a long one.

    Raises:
        ValueError: the class has no horizon.
    """
    judged_on = min(tree.horizon_of(protected), LONG_ENOUGH_TO_JUDGE)
    shorter = replace(protected, hull=min(protected.hull, judged_on), horizon=judged_on)

    candidates = [TreeStrategy(branching) for branching in BRANCHINGS]
    depths = [_depths(judged_on, candidate.branching) for candidate in candidates]
    variances = [float(candidate.decoder_energy(judged_on).mean()) for candidate in candidates]
    return candidates[tree.best_candidate(list(zip(depths, variances, strict=True)), shorter)]


def digit_sum(number: int, base: int) -> int:
    """The sum of a number's digits in a base."""
    total = 0
    while number:
        number, digit = divmod(number, base)
        total += digit
    return total


@lru_cache(maxsize=32)
def _depths(horizon: int, branching: int) -> tree.Depths:
    return tuple((digit_sum(tick + 1, branching) - 1,) for tick in range(horizon))
