"""A fixed share of all users, chosen by their keys: the sketch for logs in which users come and go.

A user is in the sample for good or not at all, so the sample follows whatever the log does to a user, and one user
moves the estimate by at most 1/rate (docs/guarantees.md, section 16.1). The idea is that of distinct sampling
(Gibbons 2001, "Distinct sampling for highly-accurate answers to distinct values queries and event reports", section 3)
at a level fixed in advance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dp.intervals.sample import validate_rate
from dp.sketches.exact import distinct, keys_from, without
from dp.sketches.protocol import KEY_SPAN, Contract, Keys, SketchFamily, validate_deviations


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
            ValueError: the rate is out of range.
        """
        validate_rate(self.rate)

    def kept(self, keys: Keys) -> Keys:
        """The keys that are in the sample, in their order."""
        return keys[self.chosen(keys)]

    def chosen(self, keys: Keys) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which of the keys are in the sample, shape (n,)."""
        return keys.view(np.uint64) <= np.uint64(int(self.rate * KEY_SPAN) - 1)

    def empty(self) -> FixedRateSketch:
        """A sketch of no users."""
        return FixedRateSketch(self, np.empty(0, dtype=np.int64))

    def from_bytes(self, data: bytes) -> FixedRateSketch:
        """The sketch that `to_bytes` stored."""
        keys = keys_from(data)
        if not self.chosen(keys).all():
            raise ValueError(f"data has users whom a sample at the rate {self.rate} does not keep")
        return FixedRateSketch(self, keys)

    def standard_error(self, count: float) -> float:
        """√(n(1 − p)/p): the size of the sample is binomial."""
        return math.sqrt(count * (1 - self.rate) / self.rate)


@dataclass(frozen=True, eq=False)
class FixedRateSketch:
    """The distinct keys of the sample in ascending order."""

    design: FixedRate
    keys: Keys

    def add(self, keys: Keys) -> FixedRateSketch:
        """With those of the users who are in the sample."""
        return FixedRateSketch(self.design, distinct(np.concatenate([self.keys, self.design.kept(keys)])))

    def remove(self, keys: Keys) -> FixedRateSketch:
        """Without those of the users who are in the sample."""
        return FixedRateSketch(self.design, without(self.keys, self.design.kept(keys)))

    def merge(self, other: FixedRateSketch) -> FixedRateSketch:
        """The union; both must have the same rate."""
        if other.design != self.design:
            raise ValueError(
                f"a sample at the rate {other.design.rate} cannot be merged with one at {self.design.rate}"
            )
        return self.add(other.keys)

    def estimate(self) -> float:
        """The size of the sample divided by the rate."""
        return len(self.keys) / self.design.rate

    def bounds(self, deviations: int) -> tuple[float, float]:
        """Wilson's interval: the counts n with |sample − n·p| at most `deviations` times √(n·p(1 − p))."""
        rate = self.design.rate
        half = validate_deviations(deviations) * math.sqrt(1 - rate) / 2
        root = math.sqrt(half**2 + len(self.keys))
        return (root - half) ** 2 / rate, (root + half) ** 2 / rate

    def to_bytes(self) -> bytes:
        """Little-endian 64-bit integers."""
        return self.keys.astype("<i8").tobytes()


FAMILY = SketchFamily(
    make=FixedRate,
    keys="hash",
    removes="yes",
    merges="union",
    contract=Contract("sensitivity", "one user moves the estimate by at most 1/rate, whatever the salt", "16.1"),
    error="√(n(1 − p)/p) for the rate p",
    summary="keeps a fixed share of all users, chosen by their keys",
    source="Gibbons 2001, section 3",
    example={"rate": 0.05},
)
