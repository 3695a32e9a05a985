"""Theta by Apache DataSketches: the k smallest hashes and a threshold, so that sketches can also be subtracted.

They are the k minimum values with a threshold θ of its own, and the estimate is the number of hashes below θ divided
by θ (Dasgupta, Lang, Rhodes, Thaler 2016, "A framework for estimating stream expression cardinalities"). Until
something is subtracted, θ is the (k + 1)-th smallest hash; a subtraction keeps θ and removes hashes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from datasketches import compact_theta_sketch, theta_a_not_b, theta_union, update_theta_sketch

from dp.sketches.apache import update_all, validate_lg_k
from dp.sketches.protocol import Contract, Keys, SketchFamily, validate_deviations


@dataclass(frozen=True)
class Theta:
    """Keep the k = 2^lg_k smallest hashes.

    Attributes:
        lg_k: binary logarithm of k, from 7 to 21.
    """

    lg_k: int = 12

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            ValueError: lg_k is out of range.
        """
        validate_lg_k(self.lg_k)

    def empty(self) -> ThetaSketch:
        """A sketch of no users."""
        return self.of(np.empty(0, dtype=np.int64))

    def of(self, keys: Keys) -> ThetaSketch:
        """A sketch of these users."""
        hashes = update_theta_sketch(self.lg_k)
        update_all(hashes.update, keys)
        hashes.trim()
        return ThetaSketch(self, hashes.compact())

    def from_bytes(self, data: bytes) -> ThetaSketch:
        """The sketch that `to_bytes` stored. A smaller k goes unnoticed and does no harm, because θ is stored too."""
        try:
            kept = compact_theta_sketch.deserialize(data)
        except (ValueError, IndexError, RuntimeError) as error:
            raise ValueError(f"data has {len(data)} bytes that are no Theta sketch: {error}") from error
        if kept.num_retained > 2**self.lg_k:
            raise ValueError(f"data has {kept.num_retained} hashes; a sketch of lg_k = {self.lg_k} has {2**self.lg_k}")
        if bytes(kept.serialize()) != data:
            raise ValueError(f"data has {len(data)} bytes, more than the Theta sketch that it begins with")
        return ThetaSketch(self, kept)

    def standard_error(self, count: float) -> float:
        """√(n(n − k)/(k − 1)) above k users, zero below, as long as nothing was subtracted."""
        return self.standard_error_of_difference(count, count)

    def standard_error_of_difference(self, before: float, left: float) -> float:
        """√(d(n − k)/(k − 1)) if d of n users are left after a subtraction; relative to d it grows like √(n/d).

        θ is Beta(k + 1, n − k), and given θ the number of those left is hypergeometric: k of n users are below θ.

        Args:
            before: number n of users in the larger of the two sketches.
            left: number d of users in it and not in the other.
        """
        k = 2**self.lg_k
        return math.sqrt(left * (before - k) / (k - 1)) if before > k else 0.0


@dataclass(frozen=True, eq=False)
class ThetaSketch:
    """The library's compact sketch, ascending; it does not change in place."""

    design: Theta
    kept: compact_theta_sketch

    def add(self, keys: Keys) -> ThetaSketch:
        """With the users whose hashes are below θ; θ falls when there are more than k, and never rises again."""
        return self.merge(self.design.of(keys))

    def remove(self, keys: Keys) -> ThetaSketch:
        """Without a sketch of these users: see `without`."""
        return self.without(self.design.of(keys))

    def without(self, other: ThetaSketch) -> ThetaSketch:
        """The users who are not in the other sketch, with the lower θ of the two.

        Up to k users in each sketch it is exact. Beyond, the error depends on the larger set too (see
        `Theta.standard_error_of_difference`): it exceeds the number of users left when they are fewer than n/k.

        Raises:
            ValueError: the other sketch has other parameters.
        """
        self.require_same(other)
        return ThetaSketch(self.design, theta_a_not_b().compute(self.kept, other.kept))

    def merge(self, other: ThetaSketch) -> ThetaSketch:
        """The smallest hashes of both, below the lower θ; both must have the same k."""
        self.require_same(other)
        union = theta_union(self.design.lg_k)
        union.update(self.kept)
        union.update(other.kept)
        return ThetaSketch(self.design, union.get_result())

    def require_same(self, other: ThetaSketch) -> None:
        """Raises ValueError unless both have the same k."""
        if other.design != self.design:
            raise ValueError(
                f"a Theta sketch of lg_k = {other.design.lg_k} cannot be merged with, or subtracted from, "
                f"one of {self.design.lg_k}"
            )

    def estimate(self) -> float:
        """The number of hashes below θ, divided by θ as a share of the range."""
        return float(self.kept.get_estimate())

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The library's, for the number of hashes as a binomial count; correct after a subtraction too."""
        validate_deviations(deviations)
        return float(self.kept.get_lower_bound(deviations)), float(self.kept.get_upper_bound(deviations))

    def to_bytes(self) -> bytes:
        """The library's compact ordered format: eight bytes per hash."""
        return bytes(self.kept.serialize())


FAMILY = SketchFamily(
    make=Theta,
    keys="hash",
    removes="set difference",
    merges="union",
    contract=Contract(
        "none", "a user whose hash is small moves the estimate by about n/k users, at times by more", "16.7"
    ),
    error="√(n(n − k)/(k − 1)) above k users, else 0; √(d(n − k)/(k − 1)) when d of n are left",
    summary="the k smallest hashes and a threshold (Apache DataSketches)",
    source="Dasgupta et al. 2016",
    refusal=(
        "one user with a small hash lowers the threshold and moves the estimate by about n/k users "
        "(at n = 1,000,000 and k = 4096 by 244, now and then by five times that); no bound holds for every log"
    ),
)
