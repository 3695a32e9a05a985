"""Sketch-Flip-Merge: a bit matrix of everybody seen, published with flipped bits (Hehir, Ting, Cormode 2023, ICML).

A user sets one bit (PCSA; Flajolet, Martin 1985). What is published is private whoever knows the hash, and two
published sketches can be merged into one of the union.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dp.sketches.flipped import (
    Bits,
    Layout,
    Response,
    Source,
    epsilon_of,
    flip_probability,
    flipped,
    packed,
    unpacked,
)
from dp.sketches.protocol import Keys, UnsupportedError, around


@dataclass(frozen=True)
class Sfm:
    """Buckets, levels, and the ε that a published sketch has.

    Attributes:
        epsilon: ε of one published sketch, 0.001 to 30.
        lg_buckets: binary logarithm of the number of buckets.
        levels: bits a bucket; users are counted up to about 2^(lg_buckets + levels).
    """

    epsilon: float
    lg_buckets: int = 12
    levels: int = 24

    def __post_init__(self) -> None:
        """Validate once; raises ValueError for what is out of range."""
        Layout(self.lg_buckets, self.levels)
        flip_probability(self.epsilon)

    @property
    def layout(self) -> Layout:
        """Where the bits are."""
        return Layout(self.lg_buckets, self.levels)

    @property
    def flip(self) -> float:
        """The probability that publication flips a bit."""
        return flip_probability(self.epsilon)

    def response(self, flip: float) -> Response:
        """A bit is 0 if no user has it: (1 − p)^n, before flips."""
        return Response(self.layout.buckets, -np.log1p(-self.layout.chances), 1.0, flip)

    def empty(self) -> SfmSketch:
        """A sketch of nobody."""
        return SfmSketch(self, np.zeros(self.layout.size, dtype=np.bool_))

    def from_bytes(self, data: bytes) -> SfmSketch:
        """What `to_bytes` gave."""
        return SfmSketch(self, self.layout.unpack(data))

    def flipped_from_bytes(self, data: bytes) -> FlippedSfm:
        """What `to_bytes` of a published sketch gave; its ε may be another than that of the design.

        Raises:
            ValueError: the bytes are no such sketch.
        """
        return FlippedSfm(self, *unpacked(self.layout, data))

    def standard_error(self, count: float) -> float:
        """By Fisher's information, of a sketch that nobody has flipped: at most 0.65/√m of the count, in users."""
        return self.response(0.0).standard_error(count)

    def flipped_error(self, count: float) -> float:
        """By Fisher's information, of a published sketch: root mean square error over salts and flips, in users."""
        return self.response(self.flip).standard_error(count)


@dataclass(frozen=True, eq=False)
class SfmSketch:
    """The bits that users have set, one level after the other. Not private: only `private` is for publication."""

    design: Sfm
    bits: Bits

    @property
    def epsilon(self) -> float:
        """Infinite: nothing is flipped."""
        return math.inf

    def add(self, keys: Keys) -> SfmSketch:
        """With the bits of these users set."""
        bits = self.bits.copy()
        bits[self.design.layout.cells(keys)] = True
        return SfmSketch(self.design, bits)

    def remove(self, keys: Keys) -> SfmSketch:
        """Impossible."""
        raise UnsupportedError("sfm cannot remove users: others may have set the same bit; take gf2 or fixed-rate")

    def merge(self, other: SfmSketch) -> SfmSketch:
        """The union; both must have the same design."""
        if other.design != self.design:
            raise ValueError(f"a sketch of {other.design} cannot be merged with one of {self.design}")
        return SfmSketch(self.design, self.bits | other.bits)

    def estimate(self) -> float:
        """Maximum likelihood, from the number of ones on each level."""
        return self.design.response(0.0).estimate(self.bits)

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The estimate ± so many standard deviations at the estimate."""
        estimate = self.estimate()
        return around(estimate, self.design.response(0.0).deviation(estimate), deviations)

    def to_bytes(self) -> bytes:
        """The bits, eight a byte."""
        return np.packbits(self.bits).tobytes()

    def private(self, source: Source) -> FlippedSfm:
        """The sketch for publication: every bit flipped by fresh coins of the source.

        Every call is a further release of ε.
        """
        return FlippedSfm(self.design, self.design.flip, flipped(self.bits, self.design.flip, source))


@dataclass(frozen=True, eq=False)
class FlippedSfm:
    """A published sketch: ε-differentially private by itself, for all who know the hash. It takes no more users.

    Attributes:
        design: where the bits are.
        flip: the probability with which each bit is not what the users set.
        bits: shape (levels · buckets,).
    """

    design: Sfm
    flip: float
    bits: Bits

    @property
    def epsilon(self) -> float:
        """What this sketch gives away of any user, if it is all that is published."""
        return epsilon_of(self.flip)

    def merge(self, other: FlippedSfm, source: Source) -> FlippedSfm:
        """A flipped sketch of the union, by the paper's randomised merge (theorem 4.8).

        Its law is that of the union's bits flipped with a probability of which 1 − e^(−ε) is the product of the two
        sketches' own. It is post-processing and costs nothing; both must have been flipped by coins of their own.

        Raises:
            ValueError: the other sketch has other buckets or levels.
        """
        if other.design.layout != self.design.layout:
            raise ValueError(f"a sketch of {other.design.layout} cannot be merged with one of {self.design.layout}")
        bits = np.zeros(len(self.bits), dtype=np.bool_)
        for first, second in ((False, True), (True, False), (True, True)):
            chosen = np.flatnonzero((self.bits == first) & (other.bits == second))
            chance = merged_chance(self.flip, other.flip, first, second)
            bits[chosen] = source(chance, len(chosen))
        return FlippedSfm(self.design, merged_flip(self.flip, other.flip), bits)

    def estimate(self) -> float:
        """Maximum likelihood, from the number of ones on each level."""
        return self.design.response(self.flip).estimate(self.bits)

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The estimate ± so many standard deviations at the estimate, of hashing and flips together."""
        estimate = self.estimate()
        return around(estimate, self.design.response(self.flip).deviation(estimate), deviations)

    def to_bytes(self) -> bytes:
        """The flip probability and the bits."""
        return packed(self.flip, self.bits)


def merged_flip(first: float, second: float) -> float:
    """The flip probability of a merger: that with 1 − e^(−ε) = (1 − e^(−ε₁))(1 − e^(−ε₂))."""
    return (first + second - 3 * first * second) / (1 - 2 * first * second)


def merged_chance(first_flip: float, second_flip: float, first: bool, second: bool) -> float:
    """The probability that a merger has a 1 where the two sketches have these bits; 0 if both are 0.

    It is 1 − q − (1 − 2q)·u₁·u₂ with u = (1 − qᵢ − bit)/(1 − 2qᵢ), the unbiased estimate that a bit was not set.
    """
    flip = merged_flip(first_flip, second_flip)
    unset = (1 - first_flip - first) / (1 - 2 * first_flip) * (1 - second_flip - second) / (1 - 2 * second_flip)
    return min(max(1 - flip - (1 - 2 * flip) * unset, 0.0), 1.0)
