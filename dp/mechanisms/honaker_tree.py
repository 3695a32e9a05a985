"""Honaker's refinement of the binary tree, online: every complete block is measured and used.

Honaker, "Efficient use of differentially private binary trees", 2015 (estimation from below); Kairouz, McMahan, Song,
Thakkar, Thakurta, Xu, "Practical and private (deep) learning without sampling or shuffling", 2021, use it online. A
block's best estimate weighs its own measurement against the sum of its two halves' estimates. With variance v₀ = 1 of a
single tick, v_k = 2v_(k−1)/(2v_(k−1) + 1) is both the variance of a block of 2^k ticks and the weight of its own
measurement.

Written by ends of blocks the same estimator is short: with 2^k the largest power of two that divides t + 1, the
estimate at t is the average, with weights a_j, of (estimate at t − 2^j) + (measured change since then), j = 0 … k.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dp.arrays import Floats, Integers
from dp.mechanisms import tree
from dp.mechanisms.linear import measure_and_estimate, measure_in_turn
from dp.mechanisms.protocol import GRID
from dp.mechanisms.together import along_columns, columns_together
from dp.units import ProtectedClass


@dataclass(frozen=True)
class HonakerTreeStrategy:
    """A tick measures the change over every dyadic block that ends with it, the shortest first."""

    def measure(self, tick: int, secret: Integers, count: int | Integers) -> tuple[Integers, Integers]:
        """The changes since 1, 2, 4, … ticks ago."""
        depths = _depths_at(tick)
        before = np.concatenate([np.zeros_like(secret, shape=(1, *secret.shape[1:])), secret])[list(depths)]
        now = np.array([count], dtype=np.int64)
        return GRID * (now - before), np.concatenate([secret[: depths[-1]], now])

    def estimate(self, tick: int, public: Floats, measured: Floats) -> tuple[Floats, Floats]:
        """The weighted average of what each block says."""
        depths = _depths_at(tick)
        before = np.concatenate([np.zeros((1, *public.shape[1:])), public])[list(depths)]
        weights = block_weights(len(depths) - 1)
        # Differences to one of the estimates are averaged, so that without noise whole numbers stay whole.
        says = before + measured / GRID
        estimate = np.asarray(says[-1] + along_columns(weights[:-1], says[:-1] - says[-1]))
        return estimate, np.concatenate([public[: depths[-1]], estimate[np.newaxis]])

    advance = measure_and_estimate
    measurements = measure_in_turn
    run_together = columns_together

    def draws(self, start: int, stop: int) -> int:
        """One for each block that ends in these ticks."""
        return _blocks_until(stop) - _blocks_until(start)

    def memory(self, tick: int) -> int:
        """The entries of the path: ones in the binary expansion of t + 1."""
        return (tick + 1).bit_count()

    def decode(self, noise: Floats) -> Floats:
        """The errors of `estimate`, tick after tick; (trials, T)."""
        by_draw = np.ascontiguousarray(noise.T)
        errors = np.empty((_ticks_with(len(by_draw)), len(noise)))
        used = 0
        for tick, error in enumerate(errors):
            blocks = len(_depths_at(tick))
            weights = block_weights(blocks - 1)
            np.matmul(weights, by_draw[used : used + blocks], out=error)
            for level, weight in enumerate(weights):
                if tick >= 1 << level:
                    error += weight * errors[tick - (1 << level)]
            used += blocks
        return errors.T

    def decoder_energy(self, horizon: int) -> Floats:
        """Σ v_k over the ones in the binary expansion of t + 1, shape (horizon,)."""
        ticks = np.arange(1, horizon + 1)
        variances = block_variances(horizon.bit_length())
        return np.asarray(sum(variance * (ticks >> level & 1) for level, variance in enumerate(variances)))

    def sensitivity_squared(self, protected: ProtectedClass) -> float:
        """The most complete blocks with an odd number of flips, exactly.

        Raises:
            ValueError: the class has no horizon, so that the number of levels has no bound, or too long a one.
        """
        return float(tree.most_odd_in_class(_depths(tree.horizon_of(protected)), protected))

    def touched(self, protected: ProtectedClass) -> int:
        """As many blocks as can be odd."""
        return int(self.sensitivity_squared(protected))


def strategy(protected: ProtectedClass) -> HonakerTreeStrategy:
    """The tree; it has no parameters."""
    return HonakerTreeStrategy()


@lru_cache(maxsize=8)
def block_variances(levels: int) -> tuple[float, ...]:
    """v_0 … v_(levels − 1), which fall towards 1/2."""
    found = [1.0]
    for _ in range(levels - 1):
        found.append(2 * found[-1] / (2 * found[-1] + 1))
    return tuple(found[:levels])


@lru_cache(maxsize=64)
def block_weights(level: int) -> Floats:
    """a_0 … a_level, shape (level + 1,): a_j = v_j Π_{i>j} (1 − v_i); they sum to 1."""
    variances = np.array(block_variances(level + 1))
    left = np.append(np.cumprod((1 - variances)[::-1])[::-1][1:], 1.0)
    return np.asarray(variances * left)


def _depths_at(tick: int) -> tuple[int, ...]:
    level = ((tick + 1) & -(tick + 1)).bit_length() - 1
    lowest = (tick + 1).bit_count() - 1
    return tuple(range(lowest + level, lowest - 1, -1))


def _blocks_until(tick: int) -> int:
    return 2 * tick - tick.bit_count()


def _ticks_with(blocks: int) -> int:
    """The ticks in which so many blocks end."""
    tick = blocks // 2
    while _blocks_until(tick) < blocks:
        tick += 1
    return tick


@lru_cache(maxsize=8)
def _depths(horizon: int) -> tree.Depths:
    return tuple(_depths_at(tick) for tick in range(horizon))
