"""Compressed probabilistic counting by Apache DataSketches: Flajolet's and Martin's bits, compressed.

Each of k rows has a bit for every rank, and a user sets one bit (Flajolet, Martin 1985; Lang 2017, "Back to the future:
an even more nearly optimal cardinality estimation algorithm"). A sketch that only ever grew by users who were added
estimates along the way ("historic inverse probability"), one that was merged by the number of bits ("ICON", Lang 2017).
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
from datasketches import cpc_sketch, cpc_union

from dp.arrays import Floats
from dp.sketches.apache import HALVES, historic_error, update_all, validate_lg_k
from dp.sketches.protocol import Contract, Keys, SketchFamily, cannot_remove, validate_deviations

CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class Cpc:
    """CPC with 2^lg_k rows.

    Attributes:
        lg_k: binary logarithm of the number of rows, from 7 to 21.
    """

    lg_k: int = 11

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            ValueError: lg_k is out of range.
        """
        validate_lg_k(self.lg_k)

    def empty(self) -> CpcSketch:
        """A sketch of no users."""
        return CpcSketch(self, cpc_sketch(self.lg_k))

    def from_bytes(self, data: bytes) -> CpcSketch:
        """The sketch that `to_bytes` stored."""
        # The library reads beyond the end of a damaged sketch and crashes the process.
        if checksum(data[:-CHECKSUM_BYTES]) != data[-CHECKSUM_BYTES:]:
            raise ValueError(f"data has {len(data)} bytes that are no CPC sketch, or a damaged one")
        try:
            rows = cpc_sketch.deserialize(data[:-CHECKSUM_BYTES])
        except (ValueError, IndexError, RuntimeError) as error:
            raise ValueError(f"data has {len(data)} bytes that are no CPC sketch: {error}") from error
        if rows.lg_k != self.lg_k:
            raise ValueError(f"data is a CPC sketch of lg_k = {rows.lg_k}, not one of {self.lg_k}")
        # An empty sketch that the library restores divides by zero as soon as it grows.
        return self.empty() if rows.is_empty() else CpcSketch(self, rows)

    def standard_error(self, count: float, merged: bool = False) -> float:
        """√∫(1/q − 1) dn along the way, √(ln 2/(2k))·n ≈ 0.5887 n/√k for many users; merged: ≈ 0.6931 n/√k.

        Merged: with λ = n/k and a_j = λ/2^j the number of bits has the variance k Σ e^(−a_j)(1 − e^(−a_j)) − n q², and
        it grows by q per user.

        Args:
            count: number n of users.
            merged: whether the sketch was merged from others, or grew from one that was.
        """
        if not merged:
            return historic_error(chance_of_a_new_bit, 2**self.lg_k, count)
        if count <= 1:
            return 0.0
        unset = np.exp(-count / 2**self.lg_k * HALVES[1:])
        variance = 2**self.lg_k * float(unset @ (1 - unset))
        return math.sqrt(max(variance / float(unset @ HALVES[1:]) ** 2 - count, 0.0))


@dataclass(frozen=True, eq=False)
class CpcSketch:
    """The library's sketch, which must not be shared, because it changes in place."""

    design: Cpc
    rows: cpc_sketch

    def add(self, keys: Keys) -> CpcSketch:
        """With the bits that these users set."""
        copy = self.design.from_bytes(self.to_bytes())
        # Unlike the other two, the library's CPC takes unsigned numbers and rounds those below zero to floats.
        update_all(copy.rows.update, keys.view(np.uint64))
        return copy

    def remove(self, keys: Keys) -> CpcSketch:
        """Not possible: others may have set the same bit."""
        raise cannot_remove("a CPC sketch")

    def merge(self, other: CpcSketch) -> CpcSketch:
        """The bits of both; both must have the same number of rows."""
        if other.design != self.design:
            raise ValueError(
                f"a CPC sketch of lg_k = {other.design.lg_k} cannot be merged with one of {self.design.lg_k}"
            )
        union = cpc_union(self.design.lg_k)
        union.update(self.rows)
        union.update(other.rows)
        return CpcSketch(self.design, union.get_result())

    def estimate(self) -> float:
        """The library's, along the way or by the bits."""
        return float(self.rows.get_estimate())

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The library's, from tables of simulated quantiles up to lg_k = 14."""
        validate_deviations(deviations)
        return float(self.rows.get_lower_bound(deviations)), float(self.rows.get_upper_bound(deviations))

    def to_bytes(self) -> bytes:
        """The library's compressed format, then its CRC-32."""
        data = bytes(self.rows.serialize())
        return data + checksum(data)


def chance_of_a_new_bit(load: Floats) -> Floats:
    """Mean chance that the next user sets a bit, q = Σ_{j≥1} 2^−j e^(−λ/2^j) for λ users per row."""
    chance: Floats = np.exp(-np.multiply.outer(load, HALVES[1:])) @ HALVES[1:]
    return chance


def checksum(data: bytes) -> bytes:
    """The CRC-32, against damage and not against an adversary."""
    return zlib.crc32(data).to_bytes(CHECKSUM_BYTES, "little")


FAMILY = SketchFamily(
    make=Cpc,
    keys="hash",
    removes="no",
    merges="union",
    contract=Contract("none", "a user who sets a new bit moves the estimate by about 0.7 n/k users", "16.7"),
    error="≈ 0.5887 n/√k as it grows, ≈ 0.6931 n/√k once merged",
    summary="a bit for every rank in each of k rows, compressed (Apache DataSketches)",
    source="Lang 2017",
    refusal=(
        "one user who sets a new bit moves the estimate by about 0.7 n/k users "
        "(at n = 1,000,000 and k = 2048 by 338); no bound holds for every log"
    ),
)
