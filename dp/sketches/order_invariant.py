"""A HyperLogLog that is differentially private by its secret hash alone.

Dickens, Thaler, Ting 2022, "Order-Invariant Cardinality Estimators Are Differentially Private" (NeurIPS): keep every
user with probability 1 − e^(−ε), and start with enough phantom users to hide a real one among those who could have
changed the sketch. The proof is in docs/guarantees.md, section 16.3. It needs a secret salt under which only *one*
sketch is published: two sketches under one salt, of a set with a user and without, differ only if the user was there.

The base is HyperLogLog with stochastic averaging (Flajolet, Fusy, Gandouet, Meunier 2007) and one byte a register, so
at most one user per register could have changed the sketch. A user's 64 bits are hashed anew under the design's salt,
whatever salt made the keys; their low bits choose the register, and the others, u, uniform in [0, 1), keep the user if
u < 1 − e^(−ε) and then give the rank, the number of j ≥ 0 with u < (1 − e^(−ε))/2^j. So the down-sampling needs
no further bits.
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


@dataclass(frozen=True)
class OrderInvariant(RegisterDesign):
    """ε-DP for every number of users.

    Attributes:
        epsilon: ε of the whole sketch.
        salt: 16 secret bytes, for one published sketch.
        lg_m: base-2 logarithm of the number of registers; the error formula is good from 6 on.
    """

    epsilon: float
    salt: bytes = field(repr=False)
    lg_m: int = 12

    def __post_init__(self) -> None:
        """Validate once.

        Raises:
            ValueError: ε or the number of registers is out of range, or the salt does not have 16 bytes.
        """
        if not 0 <= self.lg_m <= 20:
            raise ValueError(f"lg_m is {self.lg_m}; it must lie between 0 and 20, for instance 12")
        validate_register_epsilon("epsilon", self.epsilon, self.registers)
        validate_salt(self.salt)

    @property
    def registers(self) -> int:
        """How many registers there are."""
        return 1 << self.lg_m

    @property
    def phantoms(self) -> int:
        """Number of phantom users."""
        return phantoms_needed(self.registers, self.epsilon)

    @property
    def kept(self) -> float:
        """The probability with which a user is kept."""
        return kept_share(self.epsilon)

    def key(self, group: str) -> bytes:
        """See `RegisterDesign`."""
        return derived_key(self.salt, f"order-invariant {group}")

    def with_words(self, registers: Registers, words: Words, key: bytes) -> Registers:
        """See `RegisterDesign`."""
        return self.with_hashes(registers, siphash(words[:, None], key))

    def read(self, registers: Registers) -> float:
        """Maximum likelihood estimate of the number of users without the phantoms; it may be negative.

        The number of kept users in a register is taken as Poisson, λ on average: then P(value ≤ r) = e^(−λ/2^r).
        """
        return likeliest(registers, self.rates) * self.registers / self.kept - self.phantoms

    def deviation(self, count: float) -> float:
        """Standard deviation of `read`: √(m/(π²·I(λ)) − N), N = n + phantoms, π = 1 − e^(−ε), λ = N·π/m.

        I is the Fisher information of a register. With N·π kept users as a Poisson number the variance would be
        m/(π²·I); that counts N/π for their number, which is binomial and contributes N(1 − π)/π only. For large n it is
        1.037·n/√m, and for n = 0 it is √(m(1.595 − π))/π.
        """
        users = count + self.phantoms
        known = self.kept**2 * information(users * self.kept / self.registers, self.rates)
        return math.sqrt(self.registers / known - users) if known else math.inf

    def with_hashes(self, registers: Registers, hashes: Words) -> Registers:
        """The registers after users with these hashes (keys hashed under the salt); shape (registers,)."""
        values = hashes >> np.uint64(self.lg_m)
        kept = values < self._thresholds[-1]
        places = (hashes[kept] & np.uint64(self.registers - 1)).astype(np.intp)
        return raised(registers, places, ranks_of(values[kept], self._thresholds))

    @cached_property
    def _thresholds(self) -> Words:
        """⌊π·2^b/2^j⌋ for b = 64 − lg_m bits, as long as that is not zero, ascending."""
        highest = int(self.kept * 2.0 ** (64 - self.lg_m))
        return np.array([highest >> j for j in reversed(range(highest.bit_length()))], dtype=np.uint64)

    @cached_property
    def rates(self) -> Floats:
        """a_r = 2^(−r)."""
        return 2.0 ** -np.arange(len(self._thresholds), dtype=np.float64)


FAMILY = SketchFamily(
    make=OrderInvariant,
    keys="hash",
    removes="no",
    merges="union",
    contract=Contract(
        "intrinsic",
        "ε for sets of every size, while the salt is secret; one published sketch a salt",
        "16.3",
    ),
    error="1.037 n/√m for large n, √(m(1.6 − π))/π of nobody, before it is cut off at zero; π = 1 − e^(−ε)",
    summary="HyperLogLog of a share π of all users, with phantom users",
    source="Dickens, Thaler, Ting 2022",
    refusal=(
        "one user who raises a register moves the estimate by more than any bound that holds for every log; "
        "no noise is needed: the sketch is private by its secret hash, in one published sketch a salt"
    ),
    example={"epsilon": 1.0, "salt": bytes(16)},
)
