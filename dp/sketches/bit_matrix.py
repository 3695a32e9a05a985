"""A bit matrix of users that is published with flipped bits; `sfm` and `gf2` define what a user does to a bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Floats
from dp.sketches.flipped import (
    Bits,
    BitSource,
    Layout,
    Response,
    epsilon_of,
    flip_probability,
    flipped,
    packed,
    unpacked,
)
from dp.sketches.protocol import Keys

BitCells = NDArray[np.int64]


@dataclass(frozen=True)
class Rule:
    """What a user does to a bit, and what follows for mergers.

    Attributes:
        name: of the sketch.
        write: from bits and the cells of users, repetitions allowed, to the bits with these users.
        erase: the same without these users; raises UnsupportedError where that cannot be known.
        join: from the bits of two sketches, before any flips, to those of their union or difference.
        decay: from the chances that a user falls on a bit to the decays of `Response`.
        ceiling: the ceiling of `Response`.
        join_flipped: from two published sketches and fresh coins to the flip probability and bits of their merger.
    """

    name: str
    write: Callable[[Bits, BitCells], Bits]
    erase: Callable[[Bits, BitCells], Bits]
    join: Callable[[Bits, Bits], Bits]
    decay: Callable[[Floats], Floats]
    ceiling: float
    join_flipped: Callable[[FlippedSketch, FlippedSketch, BitSource | None], tuple[float, Bits]]


@dataclass(frozen=True)
class BitMatrix:
    """Buckets, levels, and the ε of a published sketch.

    Attributes:
        epsilon: ε of one published sketch, 0.001 to 30.
        lg_buckets: binary logarithm of the number of buckets.
        levels: bits per bucket; users are counted up to about 2^(lg_buckets + levels).
        rule: what a user does to a bit.
    """

    epsilon: float
    lg_buckets: int
    levels: int
    rule: Rule = field(repr=False)

    def __post_init__(self) -> None:
        """Validate once; raises ValueError for a parameter out of range."""
        Layout(self.lg_buckets, self.levels)
        flip_probability(self.epsilon)

    @property
    def layout(self) -> Layout:
        """The shape of the matrix."""
        return Layout(self.lg_buckets, self.levels)

    @property
    def flip(self) -> float:
        """The probability that publication flips a bit."""
        return flip_probability(self.epsilon)

    def response(self, flip: float) -> Response:
        """How often a bit is 1 after flips with that probability."""
        return Response(self.layout.buckets, self.rule.decay(self.layout.chances), self.rule.ceiling, flip)

    def empty(self) -> BitSketch:
        """A sketch of no users."""
        return BitSketch(self, np.zeros(self.layout.size, dtype=np.bool_))

    def from_bytes(self, data: bytes) -> BitSketch:
        """The sketch that `to_bytes` stored."""
        return BitSketch(self, self.layout.unpack(data))

    def flipped_from_bytes(self, data: bytes) -> FlippedSketch:
        """The published sketch that `to_bytes` stored; its ε may differ from that of the design.

        Raises:
            ValueError: the bytes are not such a sketch.
        """
        return FlippedSketch(self, *unpacked(self.layout, data))

    def standard_error(self, count: float) -> float:
        """By Fisher's information, before any flips: root mean square error over salts, in users."""
        return self.response(0.0).standard_error(count)

    def flipped_error(self, count: float) -> float:
        """By Fisher's information, of a published sketch: root mean square error over salts and flips, in users."""
        return self.response(self.flip).standard_error(count)


@dataclass(frozen=True, eq=False)
class BitSketch:
    """What users have done to the bits, level by level. Not private; only the result of `private` is."""

    design: BitMatrix
    bits: Bits

    @property
    def epsilon(self) -> float:
        """Infinite: nothing is flipped."""
        return math.inf

    def add(self, keys: Keys) -> BitSketch:
        """With these users."""
        return BitSketch(self.design, self.design.rule.write(self.bits, self.design.layout.cells(keys)))

    def remove(self, keys: Keys) -> BitSketch:
        """Without these users, if the rule allows it."""
        return BitSketch(self.design, self.design.rule.erase(self.bits, self.design.layout.cells(keys)))

    def merge(self, other: BitSketch) -> BitSketch:
        """By the rule; both must have the same design."""
        if other.design != self.design:
            raise ValueError(
                f"{other.design.rule.name} of {other.design} cannot be merged with {self.design.rule.name} of "
                f"{self.design}"
            )
        return BitSketch(self.design, self.design.rule.join(self.bits, other.bits))

    def estimate(self) -> float:
        """Maximum likelihood, from the number of ones on each level."""
        return self.design.response(0.0).estimate(self.bits)

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The estimate ± `deviations` standard deviations at the estimate."""
        return self.design.response(0.0).bounds(self.bits, deviations)

    def to_bytes(self) -> bytes:
        """The bits, eight per byte."""
        return np.packbits(self.bits).tobytes()

    def private(self, source: BitSource) -> FlippedSketch:
        """The sketch for publication: every bit flipped by fresh coins of the source.

        Every call is a further release of ε.
        """
        return FlippedSketch(self.design, self.design.flip, flipped(self.bits, self.design.flip, source))


@dataclass(frozen=True, eq=False)
class FlippedSketch:
    """A published sketch: ε-differentially private by itself, even against those who know the hash. It takes no users.

    Attributes:
        design: gives the shape of the matrix and the rule.
        flip: the probability with which each bit was flipped.
        bits: shape (levels · buckets,).
    """

    design: BitMatrix
    flip: float
    bits: Bits

    @property
    def epsilon(self) -> float:
        """The ε of this sketch for every user, if nothing else is published."""
        return epsilon_of(self.flip)

    def merge(self, other: FlippedSketch, source: BitSource | None = None) -> FlippedSketch:
        """A flipped sketch of the merger that the rule defines.

        This is post-processing and costs no ε; both must have been flipped by independent coins.

        Args:
            source: fresh coins, which `sfm` needs.

        Raises:
            ValueError: the other sketch has another shape or rule, or coins are missing.
        """
        if (other.design.layout, other.design.rule) != (self.design.layout, self.design.rule):
            raise ValueError(
                f"{other.design.rule.name} of {other.design.layout} cannot be merged with {self.design.rule.name} of "
                f"{self.design.layout}"
            )
        return FlippedSketch(self.design, *self.design.rule.join_flipped(self, other, source))

    def estimate(self) -> float:
        """Maximum likelihood, from the number of ones on each level."""
        return self.design.response(self.flip).estimate(self.bits)

    def bounds(self, deviations: int) -> tuple[float, float]:
        """The estimate ± `deviations` standard deviations at the estimate, of hashing and flips together."""
        return self.design.response(self.flip).bounds(self.bits, deviations)

    def to_bytes(self) -> bytes:
        """The flip probability and the bits."""
        return packed(self.flip, self.bits)
