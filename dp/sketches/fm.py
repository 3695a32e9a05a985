"""Flajolet–Martin registers, each of which is differentially private by its secret hash.

Smith, Song, Thakurta 2020, "The Flajolet-Martin Sketch Itself Preserves Differential Privacy: Private Counting with
Minimal Space" (NeurIPS): every user draws a geometric number for each of m registers, a register keeps the largest,
none below a floor, and phantom users are there from the start. Each register is then ε′-DP (docs/guarantees.md, section
16.4), and all of them together are m independent ε′-DP releases, composed (`dp.accounting.registers`). As with every
sketch that is private by its hash, the salt must be secret, and only *one* sketch may be published under it.

A user's numbers are not drawn one by one. Points of a Poisson process of m a unit of time, each in a register chosen
uniformly with replacement, are m independent processes of rate 1; the first point E of each is exponential, and
u = 1 − e^(−E) uniform, all independent. The register takes the rank of E, which falls with E, so later points of the
same register have no effect, and a user is finished once no register can be raised any more. This is the idea
of SetSketch (Ertl 2021, "SetSketch: Filling the Gap between MinHash and HyperLogLog"), without its bookkeeping of
registers already drawn. A user costs about one hash once the registers are high, not m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dp.arrays import Floats
from dp.sketches.keys import Words, derived_key, siphash
from dp.sketches.protocol import Contract, SketchFamily
from dp.sketches.registers import (
    RegisterDesign,
    Registers,
    information,
    kept_share,
    likeliest,
    phantoms_needed,
    raised,
    ranks_of,
    validate_register_epsilon,
    validate_salt,
)

SMALLEST_CHUNK, LARGEST_CHUNK = 2**8, 2**15
"""Users processed at once: few at first, when registers are low and every user raises some."""
MOST_POINTS = 64
"""Points of one user processed at once, where there are many users."""
RESOLUTION = 2.0**-48
"""Of the uniform numbers; no rank corresponds to a share below sixteen times this."""


@dataclass(frozen=True)
class FlajoletMartin(RegisterDesign):
    """Each register ε′-DP for every number of users.

    Attributes:
        epsilon_register: ε′ of one register (`dp.accounting.registers.register_epsilon` finds it from ε of the whole).
        salt: 16 secret bytes, for one published sketch.
        registers: how many, a power of two from 1 to 2^16.
        growth: γ; one rank more stands for 1 + γ times as many users. A byte has room for fine ranks, so they are free.
    """

    epsilon_register: float
    salt: bytes = field(repr=False)
    registers: int = 1024
    growth: float = 0.25

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            ValueError: ε′, the number of registers or the growth is out of range, or the salt does not have 16 bytes.
        """
        validate_register_epsilon("epsilon_register", self.epsilon_register, 1)
        if not 1 <= self.registers <= 2**16 or self.registers & (self.registers - 1):
            raise ValueError(f"registers is {self.registers}; it must be a power of two up to 65536, for instance 1024")
        if not 0.15 <= self.growth <= 3:
            raise ValueError(f"growth is {self.growth}; it must lie between 0.15 and 3, for instance 0.25")
        validate_salt(self.salt)

    @property
    def phantoms(self) -> int:
        """Number of phantom users: ⌈1/(e^ε′ − 1)⌉."""
        return phantoms_needed(1, self.epsilon_register)

    @property
    def kept(self) -> float:
        """The probability with which a user's number is above the floor of a register."""
        return kept_share(self.epsilon_register)

    def read(self, registers: Registers) -> float:
        """Maximum likelihood estimate of the number of users without the phantoms; it may be negative."""
        return likeliest(registers, self.rates) - self.phantoms

    def deviation(self, count: float) -> float:
        """Standard deviation of `read`: 1/√(m·I(N)), N = n + phantoms, I the Fisher information of a register about N.

        For large n it is 1.004·n/√m (1.037 for γ = 1), and for n = 0 about 1.26/(ε′√m).
        """
        known = self.registers * information(count + self.phantoms, self.rates)
        return 1 / math.sqrt(known) if known else math.inf

    def key(self, group: str) -> bytes:
        """See `RegisterDesign`."""
        return derived_key(self.salt, f"fm {group}")

    def with_words(self, registers: Registers, words: Words, key: bytes) -> Registers:
        """See `RegisterDesign`."""
        first, size = 0, SMALLEST_CHUNK
        while first < len(words):
            registers = self._with_chunk(registers, words[first : first + size], key)
            first, size = first + size, min(2 * size, LARGEST_CHUNK)
        return registers

    def _with_chunk(self, registers: Registers, users: Words, key: bytes) -> Registers:
        """All points of these users that can raise a register: the first few of every user, then the next few, …"""
        times, done = np.zeros(len(users)), 0
        while len(users):
            horizon = float(self._horizons[registers.min()])
            few = min(1 + int(self.registers * horizon), max(MOST_POINTS, LARGEST_CHUNK // len(users)))
            points = np.arange(done, done + few, dtype=np.uint64)
            words = np.column_stack([np.repeat(users, few), np.tile(points, len(users))])
            hashes = siphash(words, key).reshape(-1, few)
            # The low 16 bits choose the register, the other 48 are uniform; half a step keeps both ends out.
            uniform = ((hashes >> np.uint64(16)).astype(np.float64) + 0.5) * RESOLUTION
            waits = -np.log(uniform) / self.registers
            # From the last point on, one after the other, so that sums are the same however many points are few.
            arrivals = np.cumsum(np.column_stack([times, waits]), axis=1)[:, 1:]
            soon = arrivals < horizon
            places = (hashes[soon] & np.uint64(self.registers - 1)).astype(np.intp)
            registers = raised(registers, places, ranks_of(arrivals[soon], self._horizons[-2::-1]))
            users, times, done = users[soon[:, -1]], arrivals[soon[:, -1], -1], done + few
        return registers

    @cached_property
    def rates(self) -> Floats:
        """a_r = −ln(1 − π(1 + γ)^(−r)): a user's number is above r with probability 1 − e^(−a_r)."""
        ranks = np.arange(255)
        shares = self.kept * (1 + self.growth) ** -ranks.astype(np.float64)
        return -np.log1p(-shares[shares >= 16 * RESOLUTION])

    @cached_property
    def _horizons(self) -> Floats:
        """The time until which a point raises a register that holds r: a_r, and 0 if it is full."""
        return np.append(self.rates, 0.0)


FAMILY = SketchFamily(
    make=FlajoletMartin,
    keys="hash",
    removes="no",
    merges="union",
    contract=Contract(
        "intrinsic",
        "(ε, δ) of m ε′-DP registers for sets of every size, while the salt is secret; one published sketch a salt",
        "16.4",
    ),
    error="1.004 n/√m for large n, 1.26/(ε′√m) for the estimate of nobody, before it is cut off at zero",
    summary="in each of m registers the largest of all users' geometric numbers, above a floor, with phantom users",
    source="Smith, Song, Thakurta 2020",
    refusal=(
        "one user who raises registers moves the estimate by more than any bound that holds for every log; "
        "no noise is needed: its registers are private by the secret hash, in one published sketch a salt"
    ),
    example={"epsilon_register": 0.0074, "salt": bytes(16)},
)
