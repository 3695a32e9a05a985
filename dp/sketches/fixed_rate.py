"""A fixed share of all users, chosen by their keys: the sketch for logs in which users come and go.

A user is in the sample for good or not at all, so that whatever the log does to a user it does to the sample, and one
user moves the estimate by at most 1/rate (docs/guarantees.md, section 16.1). The idea is that of distinct sampling
(Gibbons 2001, "Distinct sampling for highly-accurate answers to distinct values queries and event reports", section 3)
at a level that is fixed beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dp.sketches.exact import distinct, keys_from, without
from dp.sketches.protocol import Floats, Keys, validate_deviations

SPAN = 2**64


@dataclass(frozen=True)
class FixedRate:
    """Keep a user if the key, as a whole number below 2^64, is below rate · 2^64.

    Attributes:
        rate: share of the users that are kept, above 0 and at most 1.
    """

    rate: float

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            ValueError: the rate keeps nobody, or more than all.
        """
        if not 2.0**-32 <= self.rate <= 1:
            raise ValueError(f"rate is {self.rate}; it must lie between 2^-32 and 1, for instance 0.05")

    def kept(self, keys: Keys) -> Keys:
        """Those of the keys that are in the sample, in their order."""
        return keys[self.chosen(keys)]

    def chosen(self, keys: Keys) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which of the keys are in the sample, shape (n,)."""
        return keys.view(np.uint64) <= np.uint64(int(self.rate * SPAN) - 1)

    def empty(self) -> FixedRateSketch:
        """A sketch of nobody."""
        return FixedRateSketch(self, np.empty(0, dtype=np.int64))

    def from_bytes(self, data: bytes) -> FixedRateSketch:
        """What `to_bytes` gave."""
        keys = keys_from(data)
        if not self.chosen(keys).all():
            raise ValueError(f"data has users whom a sample at the rate {self.rate} does not keep")
        return FixedRateSketch(self, keys)

    def standard_error(self, count: float) -> float:
        """√(n(1 − p)/p): the size of the sample is binomial."""
        return math.sqrt(count * (1 - self.rate) / self.rate)


@dataclass(frozen=True, eq=False)
class FixedRateSketch:
    """The ascending keys of the sample, each once."""

    design: FixedRate
    keys: Keys

    def add(self, keys: Keys) -> FixedRateSketch:
        """With those who are in the sample."""
        return FixedRateSketch(self.design, distinct(np.concatenate([self.keys, self.design.kept(keys)])))

    def remove(self, keys: Keys) -> FixedRateSketch:
        """Without those who are in the sample."""
        return FixedRateSketch(self.design, without(self.keys, self.design.kept(keys)))

    def merge(self, other: FixedRateSketch) -> FixedRateSketch:
        """The union; both must have the same rate."""
        if other.design != self.design:
            raise ValueError(
                f"a sample at the rate {other.design.rate} cannot be merged with one at {self.design.rate}"
            )
        return self.add(other.keys)

    def estimate(self) -> float:
        """The size of the sample over the rate."""
        return len(self.keys) / self.design.rate

    def bounds(self, deviations: int) -> tuple[float, float]:
        """Wilson's interval: the counts n with |sample − n·p| at most so many √(n·p(1 − p))."""
        rate = self.design.rate
        half = validate_deviations(deviations) * math.sqrt(1 - rate) / 2
        root = math.sqrt(half**2 + len(self.keys))
        return (root - half) ** 2 / rate, (root + half) ** 2 / rate

    def to_bytes(self) -> bytes:
        """Little-endian 64-bit integers."""
        return self.keys.astype("<i8").tobytes()


def interval(
    estimates: Floats, low: Floats, high: Floats, deviations: Floats, rate: float, level: float
) -> tuple[Floats, Floats]:
    """Ends for the number of all users, from noisy sizes of their sample: the noise is normal or Laplace.

    The ends are the n at which |estimate − n·p|² = h² + z²(n·p(1 − p) + 1/4), z being the normal quantile and h the
    half width of the noise's interval, or z standard deviations if that is more: two independent errors, and a quarter
    for the sample's being a whole number (docs/guarantees.md, section 16.2).

    Args:
        estimates: of the sample's size, shape (ticks,).
        low: lower ends of the noise's intervals of that level, likewise.
        high: upper ends.
        deviations: standard deviations of the noise.
        rate: share of the users that are in the sample.
        level: of the intervals that went in and come out.
    """
    from scipy.special import ndtri

    z = float(ndtri(0.5 + level / 2))
    middle = estimates + z**2 * (1 - rate) / 2
    spread = z**2 * ((1 - rate) * estimates + z**2 * (1 - rate) ** 2 / 4 + 0.25)
    # Far below zero nothing fits any more; the ends then meet.
    below = np.sqrt(np.maximum(spread + np.maximum(estimates - low, z * deviations) ** 2, 0.0))
    above = np.sqrt(np.maximum(spread + np.maximum(high - estimates, z * deviations) ** 2, 0.0))
    # Never inside the noise's own interval: far below zero the ends would meet elsewhere.
    return np.minimum(middle - below, low) / rate, np.maximum(middle + above, high) / rate


def bound_level(level: float) -> float:
    """The level of the noise's bounds for `interval_of_bounds`: half of what may be missed is left for the sample."""
    return (1 + level) / 2


def interval_of_bounds(low: Floats, high: Floats, rate: float, level: float) -> tuple[Floats, Floats]:
    """Ends for the number of all users where nothing is known of the error of its sample's size but bounds.

    Args:
        low: lower bounds on the sample's size, of the level `bound_level(level)`, shape (ticks,).
        high: upper bounds.
        rate: share of the users that are in the sample.
        level: of the intervals that come out.
    """
    miss = (1 - bound_level(level)) / 2
    return fewest_users(low, rate, miss), most_users(high, rate, miss)


def fewest_users(sample: Floats, rate: float, miss: float) -> Floats:
    """Below what number of users a sample of at least that size has a probability of at most `miss`; shape as given.

    Infinite sizes, which say nothing, stay infinite.
    """
    from scipy.stats import nbinom

    finite = np.isfinite(sample)
    size = np.ceil(np.maximum(np.where(finite, sample, 0.0), 0.0))
    # The sample reaches k with user number N, where N − k is negative binomial.
    reached = np.where(size > 0, nbinom.ppf(miss, np.maximum(size, 1.0), rate) + size, 0.0)
    return np.where(finite, reached, sample)


def most_users(sample: Floats, rate: float, miss: float) -> Floats:
    """Above what number of users a sample of at most that size has a probability of at most `miss`; shape as given.

    Infinite sizes, which say nothing, stay infinite.
    """
    from scipy.stats import nbinom

    finite = np.isfinite(sample)
    size = np.floor(np.maximum(np.where(finite, sample, 0.0), 0.0))
    return np.where(finite, nbinom.ppf(1 - miss, size + 1, rate) + size, sample)
