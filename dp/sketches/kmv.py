"""The k minimum values: the k smallest of all keys, whose density tells how many there are.

The idea is that of Bar-Yossef, Jayram, Kumar, Sivakumar and Trevisan 2002 ("Counting distinct elements in a data
stream"); the unbiased estimator is that of Beyer, Haas, Reinwald, Sismanis and Gemulla 2007 ("On synopses for
distinct-value estimation under multiset operations").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dp.sketches.exact import distinct
from dp.sketches.protocol import KEY_SPAN, Contract, Keys, SketchFamily, cannot_remove, validate_deviations

CHUNK = 2**16


@dataclass(frozen=True)
class Kmv:
    """Keep the k smallest keys, as whole numbers below 2^64.

    Attributes:
        k: number of keys kept, from 16 to 2^26.
    """

    k: int = 4096

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            ValueError: k is too small for the bounds, or too large to be a sketch.
        """
        if not 16 <= self.k <= 2**26:
            raise ValueError(f"k is {self.k}; it must lie between 16 and 2^26, for instance 4096")

    def empty(self) -> KmvSketch:
        """A sketch of no users."""
        return KmvSketch(self, np.empty(0, dtype=np.uint64))

    def from_bytes(self, data: bytes) -> KmvSketch:
        """The sketch that `to_bytes` stored."""
        if len(data) % 8 or not 8 <= len(data) <= 8 * (1 + self.k):
            raise ValueError(f"data has {len(data)} bytes; a sketch of k = {self.k} has a multiple of 8 up to 8(1 + k)")
        numbers = np.frombuffer(data, dtype="<u8").astype(np.uint64)
        k, smallest = int(numbers[0]), numbers[1:]
        if k != self.k:
            raise ValueError(f"data is no sketch of k = {self.k}: it says that its k is {k}")
        if np.any(smallest[1:] <= smallest[:-1]):
            raise ValueError("data is no list of keys: they must be ascending, each once")
        return KmvSketch(self, smallest)

    def standard_error(self, count: float) -> float:
        """√(n(n − k + 1)/(k − 2)) from k users on, zero below.

        The k-th smallest of n uniform keys is Beta(k, n − k + 1), so that (k − 1)/u has the mean n and its square the
        mean (k − 1)n(n − 1)/(k − 2).
        """
        return math.sqrt(count * (count - self.k + 1) / (self.k - 2)) if count >= self.k else 0.0


@dataclass(frozen=True, eq=False)
class KmvSketch:
    """The smallest keys, as unsigned whole numbers, ascending, each once; shape (at most k,)."""

    design: Kmv
    smallest: NDArray[np.uint64]

    def add(self, keys: Keys) -> KmvSketch:
        """With those who are among the k smallest."""
        smallest = self.smallest
        # Most keys of a chunk are larger than those already kept: comparing is cheaper than sorting them all.
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK].view(np.uint64)
            if len(smallest) == self.design.k:
                chunk = chunk[chunk < smallest[-1]]
            smallest = distinct(np.concatenate([smallest, chunk]))[: self.design.k]
        return KmvSketch(self.design, smallest)

    def remove(self, keys: Keys) -> KmvSketch:
        """Not possible: the next larger key is gone."""
        raise cannot_remove("a sketch of the k minimum values")

    def merge(self, other: KmvSketch) -> KmvSketch:
        """The k smallest keys of both; both must have the same k."""
        if other.design != self.design:
            raise ValueError(f"a sketch of k = {other.design.k} cannot be merged with one of k = {self.design.k}")
        return self.add(other.smallest.view(np.int64))

    def estimate(self) -> float:
        """(k − 1)/u for the k-th smallest key u as a share of the range; the number of keys if there are fewer."""
        if len(self.smallest) < self.design.k:
            return float(len(self.smallest))
        return (self.design.k - 1) * KEY_SPAN / (int(self.smallest[-1]) + 1)

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The counts n with |estimate − n| at most `deviations` standard errors at n."""
        estimate, before = self.estimate(), self.design.k - 1
        share = validate_deviations(deviations) ** 2 / (self.design.k - 2)
        if len(self.smallest) < self.design.k:
            return estimate, estimate
        # (e − n)² ≤ s·n(n − k + 1) is a quadratic in n; e ≥ k − 1, so that the root is real.
        middle = 2 * estimate - share * before
        root = math.sqrt(share * (4 * estimate * (estimate - before) + share * before**2))
        return (middle - root) / (2 * (1 - share)), (middle + root) / (2 * (1 - share))

    def to_bytes(self) -> bytes:
        """Little-endian 64-bit integers: k, without which a few keys could be all there are, then the keys."""
        return np.concatenate([np.array([self.design.k], dtype=np.uint64), self.smallest]).astype("<u8").tobytes()


FAMILY = SketchFamily(
    make=Kmv,
    keys="hash",
    removes="no",
    merges="union",
    contract=Contract(
        "none", "a user whose key is small moves the estimate by about n/k users, at times by more", "16.7"
    ),
    error="√(n(n − k + 1)/(k − 2)) from k users on, else 0",
    summary="the k smallest keys",
    source="Bar-Yossef et al. 2002; Beyer et al. 2007",
    refusal=(
        "one user with a small key replaces the k-th smallest and moves the estimate by about n/k users "
        "(at n = 1,000,000 and k = 4096 by 244, now and then by five times that); no bound holds for every log"
    ),
)
