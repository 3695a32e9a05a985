"""A bit matrix linear over GF(2), published with flipped bits (Pagh, Stausholm 2021, ICDT).

A user toggles one bit, so that leaving is toggling again and the exclusive or of two sketches is one of the users who
are in just one of them. Whoever feeds it must know who is in: a user added twice is out.
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
from dp.sketches.protocol import Keys, around


@dataclass(frozen=True)
class Gf2:
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
        """A bit is 1 if an odd number of users have it: (1 − (1 − 2p)^n)/2, before flips."""
        return Response(self.layout.buckets, -np.log1p(-2 * self.layout.chances), 0.5, flip)

    def empty(self) -> Gf2Sketch:
        """A sketch of nobody."""
        return Gf2Sketch(self, np.zeros(self.layout.size, dtype=np.bool_))

    def from_bytes(self, data: bytes) -> Gf2Sketch:
        """What `to_bytes` gave."""
        return Gf2Sketch(self, self.layout.unpack(data))

    def flipped_from_bytes(self, data: bytes) -> FlippedGf2:
        """What `to_bytes` of a published sketch gave; its ε may be another than that of the design.

        Raises:
            ValueError: the bytes are no such sketch.
        """
        return FlippedGf2(self, *unpacked(self.layout, data))

    def standard_error(self, count: float) -> float:
        """By Fisher's information, of a sketch that nobody has flipped: at most 1.3/√m of the count, in users."""
        return self.response(0.0).standard_error(count)

    def flipped_error(self, count: float) -> float:
        """By Fisher's information, of a published sketch: root mean square error over salts and flips, in users."""
        return self.response(self.flip).standard_error(count)


@dataclass(frozen=True, eq=False)
class Gf2Sketch:
    """The parities of the users of each bit, one level after the other. Not private: only `private` is published."""

    design: Gf2
    bits: Bits

    @property
    def epsilon(self) -> float:
        """Infinite: nothing is flipped."""
        return math.inf

    def add(self, keys: Keys) -> Gf2Sketch:
        """With the bits of these users toggled; a key that is given twice changes nothing."""
        layout = self.design.layout
        users = np.bincount(layout.cells(keys), minlength=layout.size)
        return Gf2Sketch(self.design, self.bits ^ (users % 2 == 1))

    def remove(self, keys: Keys) -> Gf2Sketch:
        """The same as `add`: right for users who are in, wrong for others."""
        return self.add(keys)

    def merge(self, other: Gf2Sketch) -> Gf2Sketch:
        """The users who are in just one of both: the union if they share nobody. Both must have the same design."""
        if other.design != self.design:
            raise ValueError(f"a sketch of {other.design} cannot be merged with one of {self.design}")
        return Gf2Sketch(self.design, self.bits ^ other.bits)

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

    def private(self, source: Source) -> FlippedGf2:
        """The sketch for publication: every bit flipped by fresh coins of the source.

        Every call is a further release of ε.
        """
        return FlippedGf2(self.design, self.design.flip, flipped(self.bits, self.design.flip, source))


@dataclass(frozen=True, eq=False)
class FlippedGf2:
    """A published sketch: ε-differentially private by itself, for all who know the hash. It takes no more users.

    Attributes:
        design: where the bits are.
        flip: the probability with which each bit is not the parity of its users.
        bits: shape (levels · buckets,).
    """

    design: Gf2
    flip: float
    bits: Bits

    @property
    def epsilon(self) -> float:
        """What this sketch gives away of any user, if it is all that is published."""
        return epsilon_of(self.flip)

    def merge(self, other: FlippedGf2) -> FlippedGf2:
        """A flipped sketch of the users who are in just one of both.

        It is post-processing and costs nothing; both must have been flipped by coins of their own.

        Raises:
            ValueError: the other sketch has other buckets or levels.
        """
        if other.design.layout != self.design.layout:
            raise ValueError(f"a sketch of {other.design.layout} cannot be merged with one of {self.design.layout}")
        return FlippedGf2(self.design, merged_flip(self.flip, other.flip), self.bits ^ other.bits)

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
    """The probability that just one of two bits is flipped; 1 − 2q is the product of the two."""
    return first * (1 - second) + second * (1 - first)
