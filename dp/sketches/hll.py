"""HyperLogLog by Apache DataSketches: one byte for each of k registers, which holds its largest rank of a hash.

The library keeps few users as a list of hashes of 26 bits and a rank ("coupons"); a sketch that only ever grew by users
who were added estimates along the way ("historic inverse probability", Ting 2014, "Streamed approximate counting of
distinct elements"; Cohen 2015), one that was merged by its registers alone (Flajolet, Fusy, Gandouet, Meunier 2007,
"HyperLogLog", corrected for small counts). The three errors are `Hll.standard_error`; docs/sketches.md has them side by
side. The library hashes every key once more with a public seed, which does not weaken a keyed hash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from datasketches import hll_sketch, hll_union, tgt_hll_type

from dp.arrays import Floats
from dp.sketches.apache import HALVES, historic_error, update_all, validate_lg_k
from dp.sketches.protocol import Contract, Keys, SketchFamily, cannot_remove, validate_deviations

COUPON_ADDRESSES = 2**26


@dataclass(frozen=True)
class Hll:
    """HLL with 8 bits per register.

    Attributes:
        lg_k: binary logarithm of the number of registers, from 7 to 21.
    """

    lg_k: int = 12

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            ValueError: lg_k is out of range.
        """
        validate_lg_k(self.lg_k)

    @property
    def coupons(self) -> int:
        """The number of users up to which the sketch is a list."""
        return 3 * 2 ** (self.lg_k - 5) if self.lg_k > 7 else 7

    def empty(self) -> HllSketch:
        """A sketch of no users."""
        return HllSketch(self, hll_sketch(self.lg_k, tgt_hll_type.HLL_8))

    def from_bytes(self, data: bytes) -> HllSketch:
        """The sketch that `to_bytes` stored."""
        try:
            registers = hll_sketch.deserialize(data)
        except (ValueError, IndexError, RuntimeError) as error:
            raise ValueError(f"data has {len(data)} bytes that are no HLL sketch: {error}") from error
        if registers.lg_config_k != self.lg_k or registers.tgt_type != tgt_hll_type.HLL_8:
            raise ValueError(
                f"data has the lg_k {registers.lg_config_k} and the type {registers.tgt_type.name}; it must have "
                f"{self.lg_k} and HLL_8"
            )
        if len(registers.serialize_compact()) != len(data):
            raise ValueError(f"data has {len(data)} bytes, more than the HLL sketch that it begins with")
        return HllSketch(self, registers)

    def standard_error(self, count: float, merged: bool = False) -> float:
        """√(n(n − 1)/(6·2^26)) for a list; then √∫(1/q − 1) dn along the way, √(ln 2/k)·n ≈ 0.8326 n/√k for many.

        Merged: by the registers, √(k(e^λ − λ − 1)) for fewer than 0.64 k users, 1.0389 n/√k for many (λ = n/k).

        Args:
            count: number n of users.
            merged: whether the sketch was merged from others, or grew from one that was.
        """
        listed = min(count, self.coupons)
        coupons = math.sqrt(max(listed * (listed - 1), 0.0) / (6 * COUPON_ADDRESSES))
        if count <= self.coupons:
            return coupons
        if merged:
            return register_error(2**self.lg_k, count)
        return math.hypot(coupons, historic_error(chance_of_a_higher_register, 2**self.lg_k, count, self.coupons + 1))


@dataclass(frozen=True, eq=False)
class HllSketch:
    """The library's sketch, which must not be shared, because it changes in place."""

    design: Hll
    registers: hll_sketch

    def add(self, keys: Keys) -> HllSketch:
        """With the registers that these users raise."""
        registers = hll_sketch.deserialize(self.registers.serialize_updatable())
        update_all(registers.update, keys)
        return HllSketch(self.design, registers)

    def remove(self, keys: Keys) -> HllSketch:
        """Not possible: what a register was before is gone."""
        raise cannot_remove("an HLL sketch")

    def merge(self, other: HllSketch) -> HllSketch:
        """The higher value of every register; both must have the same number of registers."""
        if other.design != self.design:
            raise ValueError(
                f"an HLL sketch of lg_k = {other.design.lg_k} cannot be merged with one of {self.design.lg_k}"
            )
        union = hll_union(self.design.lg_k)
        union.update(self.registers)
        union.update(other.registers)
        # Once more into itself: if one of the two is still a list, the library goes on estimating along the way, and
        # the estimate would depend on which users came in which of the two.
        union.update(union.get_result(tgt_hll_type.HLL_8))
        return HllSketch(self.design, union.get_result(tgt_hll_type.HLL_8))

    def estimate(self) -> float:
        """The library's, along the way or by the registers."""
        return float(self.registers.get_estimate())

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The library's, from tables of simulated quantiles up to lg_k = 12."""
        validate_deviations(deviations)
        return float(self.registers.get_lower_bound(deviations)), float(self.registers.get_upper_bound(deviations))

    def to_bytes(self) -> bytes:
        """The library's compact format; its coupons are not sorted, so equal sets may give different bytes."""
        return bytes(self.registers.serialize_compact())


def chance_of_a_higher_register(load: Floats) -> Floats:
    """Mean chance that the next user raises a register, q = Σ_{j≥0} 2^−(j+1) e^(−λ/2^j) for λ users per register.

    A register of rank r is raised with the chance 2^−r, and it is at most j with the chance e^(−λ/2^j).
    """
    chance: Floats = np.exp(-np.multiply.outer(load, HALVES)) @ (HALVES / 2)
    return chance


def register_error(registers: int, count: float) -> float:
    """Standard error of the better of two estimates by the registers: by the number of empty ones, by a harmonic mean.

    With λ users per register the first has the variance k(e^λ − λ − 1) (linear counting: Whang, Vander-Zanden, Taylor
    1990). For the second, the mean of 2^−rank is q, that of its square 3/4 Σ_{j≥0} 4^−j e^(−λ/2^j), and dq/dλ is
    −1/2 Σ_{j≥0} 4^−j e^(−λ/2^j); that n is fixed and not Poisson takes n from the variance k·Var(2^−rank)/(dq/dλ)².
    """
    load = count / registers
    square = float(np.exp(-load * HALVES) @ HALVES**2)
    spread = 0.75 * square - float(chance_of_a_higher_register(np.array(load))) ** 2
    harmonic = registers * spread / (square / 2) ** 2 - count
    empty = registers * (math.exp(min(load, 100.0)) - load - 1)
    return math.sqrt(min(harmonic, empty))


FAMILY = SketchFamily(
    make=Hll,
    keys="hash",
    removes="no",
    merges="union",
    contract=Contract("none", "a user who raises a register moves the estimate by about 1.4 n/k users or more", "16.7"),
    error="≈ 0.8326 n/√k as it grows, ≈ 1.0389 n/√k once merged; below 3k/32 users √(n(n − 1)/(6·2^26))",
    summary="the largest rank in each of k registers (Apache DataSketches)",
    source="Flajolet et al. 2007; Ting 2014",
    refusal=(
        "one user who raises a register moves the estimate by about 1.4 n/k users "
        "(at n = 1,000,000 and k = 4096 by 338, once merged by more if the register was low); "
        "no bound holds for every log"
    ),
)
