"""Registers of sketches whose salt nobody knows, beside the number of other users at which they tell most."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dp.accounting.composition import Guarantee
from dp.accounting.registers import register_epsilon
from dp.arrays import Floats
from dp.auditing.bounds import Alarms, epsilon_bound
from dp.auditing.case import Case
from dp.auditing.likelihood import SCORE_DECIMALS
from dp.auditing.options import CONFIDENCE
from dp.auditing.sampling import CHUNK_FLOATS, Sampler
from dp.auditing.verdict import THRESHOLD_SHARE
from dp.sketches.fm import FlajoletMartin
from dp.sketches.keys import ANY_SALT
from dp.sketches.order_invariant import OrderInvariant
from dp.sketches.registers import Registers

SecretRegisters = OrderInvariant | FlajoletMartin

REGISTER_COUNTS = (1, 2)
"""Registers of the attacked sketches that are private by their salts."""

LG_SMALLEST = 16
"""A rank that only this power of ½ of the users reach, and all higher ones, are one event."""

MAX_OTHERS = 16
"""The worst number of other users is searched for below this one."""

MAX_REGISTERS = 2**16
"""The most registers side by side; `fm` has no more in one sketch."""


def register_cases(name: str, claim: Guarantee, trials: int, generator: np.random.Generator) -> list[Case]:
    """Sketches of one register and of two, each beside the worst number of others."""
    if name == "fm":
        return [
            register_case(name, FlajoletMartin(register_epsilon(claim, many), ANY_SALT, many), claim, trials)
            for many in REGISTER_COUNTS
        ]
    pure = Guarantee(claim.epsilon, 0.0)
    return [
        register_case(name, OrderInvariant(claim.epsilon, ANY_SALT, many.bit_length() - 1), pure, trials)
        for many in REGISTER_COUNTS
    ]


def register_case(name: str, design: SecretRegisters, claim: Guarantee, trials: int) -> Case:
    """The likelihood ratio of registers whose salt nobody knows, for the number of others that tells most.

    Args:
        design: its salt does not matter.
        claim: of the whole sketch.
        trials: that will be made.
    """
    others = worst_others(design, claim, trials)
    table = log_ratio(design, others)

    def scores(users: int) -> Sampler:
        return lambda number, source: table_scores(table, sample_registers(design, users, number, source))

    most = max(design.phantoms + others + 1, CHUNK_FLOATS // MAX_REGISTERS)
    view = "1 register" if design.registers == 1 else f"{design.registers} registers"
    return Case(name, view, claim, scores(others), scores(others + 1), design.registers * most)


def register_distribution(design: SecretRegisters, users: int) -> Floats:
    """P(registers) of that many users, phantoms included, under a random salt; shape (ranks,) · registers.

    The last rank stands for all higher ones too.
    """
    many, growth = design.registers, 1.0 if isinstance(design, OrderInvariant) else design.growth
    ranks = math.ceil(LG_SMALLEST / math.log2(1 + growth))
    above = np.append(design.kept * (1 + growth) ** -np.arange(ranks, dtype=np.float64), 0.0)
    # Of every register in every state; shape (registers, ranks, ranks, …).
    each = np.stack(np.meshgrid(*[above] * many, indexing="ij"))
    if isinstance(design, OrderInvariant):
        # A user falls into one register only, so that the chances to raise one of them add up.
        not_above = (1 - each.mean(axis=0)) ** users
    else:
        not_above = (1 - each).prod(axis=0) ** users
    for axis in range(many):
        not_above = np.diff(not_above, axis=axis, prepend=0.0)
    return np.asarray(not_above)


def log_ratio(design: SecretRegisters, others: int) -> Floats:
    """Log likelihood ratio of every state with one user more than `others`; shape of `register_distribution`."""
    without, with_user = _distributions(design, others)
    # What cannot be without the user is a very large score, what cannot be at all is never scored.
    smallest = np.finfo(np.float64).tiny
    return np.asarray(np.round(np.log(np.maximum(with_user, smallest) / np.maximum(without, smallest)), SCORE_DECIMALS))


def _distributions(design: SecretRegisters, others: int) -> tuple[Floats, Floats]:
    """Without and with the user, beside the others and the phantoms."""
    users = design.phantoms + others
    return register_distribution(design, users), register_distribution(design, users + 1)


def table_scores(table: Floats, registers: Registers) -> Floats:
    """The entry of the table for every row of registers, shape (trials,)."""
    return np.asarray(table[tuple(np.minimum(registers, len(table) - 1).T)])


def worst_others(design: SecretRegisters, claim: Guarantee, trials: int) -> int:
    """The number of other users at which the trials are expected to prove most."""
    number = max(int((1 - THRESHOLD_SHARE) * trials / 2), 1)

    def proved(others: int) -> float:
        order = np.argsort(-log_ratio(design, others), axis=None)
        false, true = (
            np.rint(number * np.cumsum(distribution.ravel()[order])).astype(np.int64)
            for distribution in _distributions(design, others)
        )
        return float(epsilon_bound(Alarms(true, number, false, number), claim.delta, CONFIDENCE).max())

    return max(range(MAX_OTHERS), key=proved)


def sample_registers(design: SecretRegisters, users: int, trials: int, generator: np.random.Generator) -> Registers:
    """Registers of independent sketches, each under a salt that nobody knows; shape (trials, registers).

    The registers of `fm` are independent of each other, so that those of one large sketch are those of many small ones.
    """
    if isinstance(design, FlajoletMartin):
        many = design.registers << (trials - 1).bit_length()
        large = replace(design, salt=generator.bytes(16), registers=many)
        keys = generator.integers(-(2**63), 2**63, users)
        return large.empty().add(keys).registers.reshape(-1, design.registers)[:trials]
    return registers_of_hashes(design, random_hashes(design, users, trials, generator))


def random_hashes(
    design: OrderInvariant, users: int, trials: int, generator: np.random.Generator
) -> NDArray[np.uint64]:
    """Hashes of the phantoms and of the users, under a salt that nobody knows; shape (trials, phantoms + users)."""
    return generator.integers(2**64, size=(trials, design.phantoms + users), dtype=np.uint64)


def registers_of_hashes(design: OrderInvariant, hashes: NDArray[np.uint64]) -> Registers:
    """Sketches of users with these hashes, phantoms included; shape (trials, registers).

    Uniform hashes are what a salt makes of users for whoever does not know it. All sketches are filled as one large
    one, in which some of the low bits of a hash say which small sketch it belongs to.

    Args:
        hashes: uniform, shape (trials, users).
    """
    trials = len(hashes)
    large = replace(design, lg_m=design.lg_m + (trials - 1).bit_length())
    theirs = hashes & ~np.uint64(large.registers - design.registers)
    theirs |= np.arange(trials, dtype=np.uint64)[:, np.newaxis] << np.uint64(design.lg_m)
    filled = large.with_hashes(np.zeros(large.registers, dtype=np.uint8), theirs.ravel())
    return filled.reshape(-1, design.registers)[:trials]
