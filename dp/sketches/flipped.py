"""What the sketches of flipped bits share: which bit a user sets, how often a bit is 1, and the coins that flip it.

A user's key picks one bit of a matrix of levels × buckets: the bucket uniformly, level j with probability 2^−j (the
last level takes what is left). One user changes at most one bit, so flipping every bit with probability
1/(e^ε + 1) makes the matrix ε-differentially private, even against those who know the hash (docs/guarantees.md, section
16.5).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Floats
from dp.sketches.protocol import Keys, around, cut_error

Bits = NDArray[np.bool_]

BitSource = Callable[[float, int], Bits]
"""source(probability, size): independent bits of shape (size,), each 1 with that probability. Publication needs a
cryptographic source (`secure_flips`): whoever can predict the flips can undo them."""


@dataclass(frozen=True)
class Layout:
    """The shape of the bit matrix.

    Attributes:
        lg_buckets: binary logarithm of the number of buckets, 3 to 20.
        levels: number of levels, 2 to 40.
    """

    lg_buckets: int
    levels: int

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            ValueError: the matrix would be too small or too large to be useful.
        """
        if not 3 <= self.lg_buckets <= 20:
            raise ValueError(f"lg_buckets is {self.lg_buckets}; it must lie between 3 and 20, for instance 12")
        if not 2 <= self.levels <= 40:
            raise ValueError(f"levels is {self.levels}; it must lie between 2 and 40, for instance 24")

    @property
    def buckets(self) -> int:
        """Number of buckets, m."""
        return 1 << self.lg_buckets

    @property
    def size(self) -> int:
        """Number of bits."""
        return self.levels * self.buckets

    @property
    def chances(self) -> Floats:
        """Probability that a user falls on a given bit, for each level; shape (levels,)."""
        exponents = np.minimum(np.arange(1, self.levels + 1), self.levels - 1)
        return 0.5**exponents / self.buckets

    def cells(self, keys: Keys) -> NDArray[np.int64]:
        """The bit of every key, as level · buckets + bucket with levels from 0; shape (n,).

        The first bits of a key are the bucket; the level is the number of zeros that follow, up to the last level.
        """
        unsigned = keys.view(np.uint64)
        bucket = (unsigned >> np.uint64(64 - self.lg_buckets)).astype(np.int64)
        tail = (unsigned << np.uint64(self.lg_buckets)) >> np.uint64(65 - self.levels)
        # At most 39 bits, exact as a float, whose exponent is the length of the number.
        length = np.frexp(tail.astype(np.float64))[1]
        return (self.levels - 1 - length) * self.buckets + bucket

    def unpack(self, data: bytes) -> Bits:
        """The bits that were packed, shape (size,).

        Raises:
            ValueError: there are too few or too many bytes.
        """
        if 8 * len(data) != self.size:
            raise ValueError(f"data has {len(data)} bytes; {self.size} bits take {self.size // 8}")
        return np.unpackbits(np.frombuffer(data, dtype=np.uint8)).astype(np.bool_)


@dataclass(frozen=True, eq=False)
class Response:
    """How often a bit is 1 when there are n users: q + (1 − 2q)·c·(1 − e^(−n·d)).

    Bits of one level are alike, so an estimate needs only the number of ones on each level. It maximises their
    likelihood as if bits were independent, as Hehir, Ting, Cormode 2023 do for `sfm`.

    Attributes:
        buckets: bits a level.
        decay: d, one for each level; shape (levels,).
        ceiling: c, what a bit tends to without flips: 1 or ½.
        flip: q, the probability of a flip; 0 before any flips.
    """

    buckets: int
    decay: Floats
    ceiling: float
    flip: float

    def likelihood(self, ones: Floats, counts: Floats) -> Floats:
        """Logarithm of the likelihood of these numbers of ones, shape (levels,), for each count; shape of `counts`."""
        from scipy.special import xlogy

        one, zero, _ = self.chances(counts)
        return np.asarray((xlogy(ones, one) + xlogy(self.buckets - ones, zero)).sum(axis=1), dtype=np.float64)

    def estimate(self, bits: Bits) -> float:
        """The number of users that explains the bits best, from 0 to 8/d of the last level.

        If all bits are set, the result is only about the least number of users there can be.
        """
        ones = bits.reshape(len(self.decay), self.buckets).sum(axis=1).astype(np.float64)
        # The likelihood may have several peaks, none narrower than the steps of this grid.
        grid = np.concatenate([[0.0], np.geomspace(0.1, 8 / self.decay[-1], 256)])
        for _ in range(7):
            best = int(self.likelihood(ones, grid).argmax())
            low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
            grid = np.linspace(low, high, 33)
        return float(grid[self.likelihood(ones, grid).argmax()])

    def deviation(self, count: float) -> float:
        """Standard deviation of the estimate by Fisher's information, in users.

        √(1/I − n), for the information I of independent bits: they would be independent if the number of users were
        a Poisson variable, which adds a variance of n that a fixed number of users does not have.
        """
        if count == 0 and self.flip == 0:
            return 0.0
        one, zero, slope = (values[0] for values in self.chances(np.array([count])))
        seen = (one > 0) & (zero > 0)
        information = self.buckets * float((slope[seen] ** 2 / (one[seen] * zero[seen])).sum())
        return math.sqrt(max(1 / information - count, 0.0)) if information else math.inf

    def bounds(self, bits: Bits, deviations: int) -> tuple[float, float]:
        """The estimate ± `deviations` standard deviations at the estimate."""
        estimate = self.estimate(bits)
        return around(estimate, self.deviation(estimate), deviations)

    def standard_error(self, count: float) -> float:
        """Root mean square error of the estimate, in users, as if it were a normal variable cut off at zero."""
        return cut_error(self.deviation(count), count)

    def chances(self, counts: Floats) -> tuple[Floats, Floats, Floats]:
        """The chance of a 1, that of a 0, and the slope of the former in n; each of shape (counts, levels)."""
        exponent = -counts[:, None] * self.decay
        left, share = np.exp(exponent), 1 - 2 * self.flip
        one = self.flip - share * self.ceiling * np.expm1(exponent)
        zero = self.flip + share * (1 - self.ceiling + self.ceiling * left)
        return one, zero, share * self.ceiling * self.decay * left


def flip_probability(epsilon: float) -> float:
    """1/(e^ε + 1), rounded up, so that the guarantee is ε or slightly better.

    Raises:
        ValueError: ε is out of the range in which flips make sense.
    """
    if not 0.001 <= epsilon <= 30:
        raise ValueError(f"epsilon is {epsilon}; it must lie between 0.001 and 30, for instance 1")
    # An exponential, a sum and a quotient err by less than three units in the last place together.
    return (1 + 2.0**-50) / (math.exp(epsilon) + 1)


def epsilon_of(flip: float) -> float:
    """The ε of a flip probability: ln((1 − q)/q)."""
    return math.log((1 - flip) / flip)


def flipped(bits: Bits, flip: float, source: BitSource) -> Bits:
    """The bits, each flipped with that probability, by fresh coins."""
    return bits ^ source(flip, len(bits))


def packed(flip: float, bits: Bits) -> bytes:
    """A published sketch for storage: its flip probability (8 bytes, a little-endian float), then its bits."""
    return struct.pack("<d", flip) + np.packbits(bits).tobytes()


def unpacked(layout: Layout, data: bytes) -> tuple[float, Bits]:
    """The flip probability and the bits that `packed` stored.

    Raises:
        ValueError: the bytes are not such a sketch.
    """
    if len(data) < 8:
        raise ValueError(f"data has {len(data)} bytes; a flipped sketch begins with 8 for its flip probability")
    flip: float = struct.unpack("<d", data[:8])[0]
    if not 0 < flip < 0.5:
        raise ValueError(f"data has the flip probability {flip}; it must lie between 0 and 1/2")
    return flip, layout.unpack(data[8:])


def seeded_flips(generator: np.random.Generator) -> BitSource:
    """Reproducible coins for experiments; never use them for publication."""

    def flips(probability: float, size: int) -> Bits:
        return generator.random(size) < probability

    return flips


def secure_flips(probability: float, size: int) -> Bits:
    """Fresh coins from OpenDP (operating-system entropy, exact for the float `probability`); shape (size,)."""
    if probability > 0.5:
        return ~secure_flips(1 - probability, size)
    if probability == 0 or size == 0:
        return np.zeros(size, dtype=np.bool_)
    answer = _randomized_response(probability)(bytes(-(-size // 8)))
    return np.unpackbits(np.frombuffer(answer, dtype=np.uint8), count=size).astype(np.bool_)


@lru_cache(maxsize=64)
def _randomized_response(probability: float) -> Callable[[bytes], bytes]:
    """OpenDP's randomised response on every bit of a string of bytes. It holds a probability and no randomness."""
    import opendp.prelude as opendp

    opendp.enable_features("contrib")
    # Its input is zeros, so that its answers are the coins. Its own privacy map counts two changed bits for each of
    # `max_weight`; ours counts the one that a user changes.
    measurement: Callable[[bytes], bytes] = opendp.m.make_randomized_response_bitvec(
        opendp.bitvector_domain(max_weight=1), opendp.discrete_distance(), f=2 * probability
    )
    return measurement
