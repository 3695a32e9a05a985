"""Any registered sketch by its name: attacked where it is published, for the claim that it makes.

What has a sensitivity is published as an estimate with a mechanism's noise. `sfm` and `gf2` are published as flipped
bits, alone or merged; their hash is public, so that the attacker knows which bit is the user's. `fm` and
`order-invariant` are published as registers under a salt that nobody knows: every trial has a fresh one, users are
alike, and all that an attacker can choose is how many others there are. These four make their claims in every size, so
that small sketches are attacked, in which the event that tells most is seen often (docs/guarantees.md, section 17.6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from dp.accounting.composition import Guarantee
from dp.accounting.registers import register_epsilon
from dp.auditing.bounds import Alarms, epsilon_bound
from dp.auditing.likelihood import (
    CHOOSING,
    CONFIDENCE,
    DECIMALS,
    FLAG_LEVEL,
    FLOATS_AT_ONCE,
    Audit,
    Report,
    Scores,
    compare,
    in_chunks,
    in_turn,
    mu_of,
)
from dp.mechanisms import LinearMechanism
from dp.mechanisms.protocol import Floats
from dp.release import Request, Sample, plan_release
from dp.sketches import family_of
from dp.sketches.bit_matrix import BitMatrix, BitSketch, FlippedSketch
from dp.sketches.flipped import Source, seeded_flips
from dp.sketches.fm import FlajoletMartin
from dp.sketches.order_invariant import OrderInvariant
from dp.sketches.protocol import Keys
from dp.sketches.registers import Registers
from dp.sketches.table import some_keys

Coins = Callable[[np.random.Generator], Source]
RegisterDesign = OrderInvariant | FlajoletMartin

USERS = 2000
"""Users in an estimate besides the one who is attacked."""

OTHERS = 8
"""Likewise in a bit matrix: few enough to leave bits unshared."""

TRIED_USERS = 200
"""Of whom the attacker takes the one who moves a sketch most."""

LG_BUCKETS, LEVELS = 3, 4
"""Of an attacked bit matrix: 32 bits."""

REGISTERS = (1, 2)
"""Of the attacked sketches that are private by their salts."""

LG_SMALLEST = 16
"""A rank that so small a share of users reach, as a power of ½, and all higher ones are one event."""

MOST_OTHERS = 16
"""Up to so many the worst number of others is searched for."""

MOST_REGISTERS = 2**16
"""Side by side; `fm` has no more in one sketch."""

ANY_SALT, ANY_DAY = bytes(16), date(2026, 1, 1)


@dataclass(frozen=True)
class SketchAttack:
    """The likelihood-ratio test against one way of publishing a sketch, before any trial is made.

    Attributes:
        seen: what the attacker sees.
        claim: the promised ε and δ.
        unchanged: scores of fresh releases without the user.
        changed: with the user.
        width: numbers that one trial takes while it is made.
        claimed_mu: see `Audit`.
        worst: see `Audit`.
    """

    seen: str
    claim: Guarantee
    unchanged: Scores
    changed: Scores
    width: int
    claimed_mu: float | None = None
    worst: float | None = None

    def audit(
        self,
        name: str,
        trials: int,
        generator: np.random.Generator,
        *,
        confidence: float = CONFIDENCE,
        flag_level: float = FLAG_LEVEL,
        report: Report = lambda done: None,
    ) -> Audit:
        """What so many releases prove, half of them with the user.

        Raises:
            ValueError: there are fewer than 20 trials.
        """
        return compare(
            in_chunks(self.unchanged, self.width),
            in_chunks(self.changed, self.width),
            self.claim,
            trials,
            generator,
            mechanism=name,
            seen=self.seen,
            claimed_mu=self.claimed_mu,
            confidence=confidence,
            flag_level=flag_level,
            worst=self.worst,
            report=report,
        )


def audit_sketch(
    name: str,
    promised: Guarantee,
    trials: int,
    generator: np.random.Generator,
    *,
    confidence: float = CONFIDENCE,
    flag_level: float = FLAG_LEVEL,
    report: Report = lambda done: None,
) -> list[Audit]:
    """Make a sketch for a promise, attack it and say what was proved.

    Args:
        promised: ε and δ of one published sketch; sketches that are private without a δ ignore it. A merger promises
            the ε that it says itself.
        trials: published sketches in all, half of them with the user; of each audit.
        flag_level: most often that a sketch which keeps its promise may be flagged, in all audits together.

    Returns:
        One audit for every way in which the sketch is published, or for every size that is attacked.

    Raises:
        ValueError: the sketch is unknown or promises nothing, or the guarantee or the trials are out of range.
    """
    family = family_of(name)
    if family.contract.kind == "none":
        raise ValueError(f"sketch is {name!r}, which promises nothing that could be audited: {family.refusal}")
    attacks = SKETCH_ATTACKS[name](name, promised, trials, generator)
    return [
        one.audit(name, trials, generator, confidence=confidence, flag_level=level, report=told)
        for one, level, told in in_turn(attacks, flag_level, report)
    ]


# --- Estimates with noise --------------------------------------------------------------------------------------------


def on_estimates(name: str, claim: Guarantee, trials: int, generator: np.random.Generator) -> list[SketchAttack]:
    """The estimate of a sketch with the noise of a release, and the user who moves it most."""
    family = family_of(name)
    rate = float(family.example.get("rate", 1.0))  # type: ignore[arg-type]
    request = Request(
        {"dau": 1},
        "user-day",
        2,
        claim,
        "gaussian" if claim.delta else "laplace",
        ANY_DAY,
        1,
        {"dau": 1.0},
        sketch=name,
        sample=Sample(rate, "audited") if rate < 1 else None,
    )
    mechanism = plan_release(request).series[0].mechanism
    assert isinstance(mechanism, LinearMechanism)
    keys = some_keys(family, USERS + TRIED_USERS, generator.bytes(16))
    users = family.make(**family.example).empty().add(keys[:USERS])
    without = users.estimate()
    joined = [users.add(keys[place : place + 1]).estimate() for place in range(USERS, len(keys))]
    return [noisy_estimate(mechanism, claim, without, max(joined, key=lambda one: abs(one - without)), rate)]


def noisy_estimate(
    mechanism: LinearMechanism, claim: Guarantee, without: float, joined: float, rate: float
) -> SketchAttack:
    """The likelihood ratio of one noisy number, published over the rate.

    Args:
        without: estimate without the user, in users.
        joined: with the user.
        rate: share of the users whom the sketch counts.
    """
    moved = joined - without

    def score(errors: Floats) -> Floats:
        if not mechanism.noise.pure:
            return np.asarray(errors * math.copysign(1.0, moved))
        return np.asarray(np.round(np.abs(errors) - np.abs(errors - moved), DECIMALS))

    def scores(estimate: float) -> Scores:
        counted = np.array([round(estimate * rate)])
        return lambda number, source: score(mechanism.simulate(counted, number, source)[:, 0] / rate - without)

    worst = abs(moved) * rate / mechanism.sensitivity
    return SketchAttack("estimate", claim, scores(without), scores(joined), 1, mu_of(mechanism, claim), worst)


# --- Flipped bits ----------------------------------------------------------------------------------------------------


def on_bits(name: str, claim: Guarantee, trials: int, generator: np.random.Generator) -> list[SketchAttack]:
    """One published sketch, and the merger of two that were flipped apart.

    The merger is of two sketches that both have the user, where it is a union, else of one that has and one that has
    not.
    """
    family, pure = family_of(name), Guarantee(claim.epsilon, 0.0)
    design = family.make(claim.epsilon, LG_BUCKETS, LEVELS)
    assert isinstance(design, BitMatrix)
    keys = some_keys(family, 2 * OTHERS + TRIED_USERS, generator.bytes(16))
    here, there = design.empty().add(keys[:OTHERS]), design.empty().add(keys[OTHERS : 2 * OTHERS])

    def with_user(key: Keys) -> tuple[BitSketch, BitSketch]:
        return here.add(key), there.add(key) if family.merges == "union" else there

    def changed(key: Keys) -> int:
        return int(np.count_nonzero(_bits(with_user(key)) != _bits((here, there))))

    user = max((keys[place : place + 1] for place in range(2 * OTHERS, len(keys))), key=changed)
    merged = _published((here, there), 1, seeded_flips(generator))
    return [
        flipped_bits("bits", pure, (here,), with_user(user)[:1]),
        flipped_bits("merger", Guarantee(merged.epsilon, 0.0), (here, there), with_user(user)),
    ]


def flipped_bits(
    seen: str,
    claim: Guarantee,
    without: Sequence[BitSketch],
    joined: Sequence[BitSketch],
    coins: Coins = seeded_flips,
) -> SketchAttack:
    """The likelihood ratio of published bits: how many of those that the user changes are as with the user.

    Args:
        without: sketches without the user, which are flipped and then merged; one is published alone.
        joined: the same with the user.
        coins: what flips the bits.
    """
    before, after = _bits(without), _bits(joined)
    places = np.flatnonzero(before != after)

    def scores(sketches: Sequence[BitSketch]) -> Scores:
        def draw(number: int, generator: np.random.Generator) -> Floats:
            bits = _published(sketches, number, coins(generator)).bits.reshape(number, -1)
            return np.asarray((bits[:, places] == after[places]).sum(axis=1), dtype=np.float64)

        return draw

    return SketchAttack(seen, claim, scores(without), scores(joined), len(before) * len(without))


def _bits(sketches: Sequence[BitSketch]) -> NDArray[np.bool_]:
    return reduce(BitSketch.merge, sketches).bits


def _published(sketches: Sequence[BitSketch], copies: int, source: Source) -> FlippedSketch:
    """So many independent publications side by side, as one long sketch: every bit has its own coin."""
    flipped = [replace(one, bits=np.tile(one.bits, copies)).private(source) for one in sketches]
    return reduce(lambda one, other: one.merge(other, source), flipped)


# --- Registers under a secret salt -----------------------------------------------------------------------------------


def on_registers(name: str, claim: Guarantee, trials: int, generator: np.random.Generator) -> list[SketchAttack]:
    """Sketches of one register and of two, each beside the worst number of others."""
    if name == "fm":
        return [
            secret_registers(FlajoletMartin(register_epsilon(claim, many), ANY_SALT, many), claim, trials)
            for many in REGISTERS
        ]
    pure = Guarantee(claim.epsilon, 0.0)
    return [
        secret_registers(OrderInvariant(claim.epsilon, ANY_SALT, many.bit_length() - 1), pure, trials)
        for many in REGISTERS
    ]


def secret_registers(design: RegisterDesign, claim: Guarantee, trials: int) -> SketchAttack:
    """The likelihood ratio of registers whose salt nobody knows, for the number of others that tells most.

    Args:
        design: its salt is of no account.
        claim: of the whole sketch.
        trials: that will be made.
    """
    others = worst_others(design, claim, trials)
    table = log_ratio(design, others)

    def scores(users: int) -> Scores:
        return lambda number, source: scored(table, side_by_side(design, users, number, source))

    most = max(design.phantoms + others + 1, FLOATS_AT_ONCE // MOST_REGISTERS)
    seen = "1 register" if design.registers == 1 else f"{design.registers} registers"
    return SketchAttack(seen, claim, scores(others), scores(others + 1), design.registers * most)


def register_law(design: RegisterDesign, users: int) -> Floats:
    """P(registers) of so many users, phantoms included, under a random salt; shape (ranks,) · registers.

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


def log_ratio(design: RegisterDesign, others: int) -> Floats:
    """Log likelihood ratio of every state with one user more than `others`; shape of `register_law`."""
    without, joined = (register_law(design, design.phantoms + others + more) for more in (0, 1))
    # What cannot be without the user is a very large score, what cannot be at all is never scored.
    smallest = np.finfo(np.float64).tiny
    return np.asarray(np.round(np.log(np.maximum(joined, smallest) / np.maximum(without, smallest)), DECIMALS))


def scored(table: Floats, registers: Registers) -> Floats:
    """The entry of the table for every row of registers, shape (trials,)."""
    return np.asarray(table[tuple(np.minimum(registers, len(table) - 1).T)])


def worst_others(design: RegisterDesign, claim: Guarantee, trials: int) -> int:
    """The number of others at which so many trials are expected to prove most."""
    number = max(int((1 - CHOOSING) * trials / 2), 1)

    def proved(others: int) -> float:
        order = np.argsort(-log_ratio(design, others), axis=None)
        laws = [register_law(design, design.phantoms + others + more).ravel()[order] for more in (0, 1)]
        false, true = (np.rint(number * np.cumsum(law)).astype(np.int64) for law in laws)
        return float(epsilon_bound(Alarms(true, number, false, number), claim.delta, CONFIDENCE).max())

    return max(range(MOST_OTHERS), key=proved)


def side_by_side(design: RegisterDesign, users: int, trials: int, generator: np.random.Generator) -> Registers:
    """Registers of so many sketches of so many users, each under a salt that nobody knows; shape (trials, registers).

    The registers of `fm` are independent of each other, so that those of one large sketch are those of many small ones.
    """
    if isinstance(design, FlajoletMartin):
        many = design.registers << (trials - 1).bit_length()
        large = replace(design, salt=generator.bytes(16), registers=many)
        keys = generator.integers(-(2**63), 2**63, users)
        return large.empty().add(keys).registers.reshape(-1, design.registers)[:trials]
    return of_hashes(design, generator.integers(2**64, size=(trials, design.phantoms + users), dtype=np.uint64))


def of_hashes(design: OrderInvariant, hashes: NDArray[np.uint64]) -> Registers:
    """Sketches of users with these hashes, phantoms included; shape (trials, registers).

    Uniform hashes are what a salt makes of users for whoever does not know it. All sketches are worked off as one large
    one, in which some of the low bits of a hash say what small sketch it belongs to.

    Args:
        hashes: uniform, shape (trials, users).
    """
    trials = len(hashes)
    large = replace(design, lg_m=design.lg_m + (trials - 1).bit_length())
    theirs = hashes & ~np.uint64(large.registers - design.registers)
    theirs |= np.arange(trials, dtype=np.uint64)[:, np.newaxis] << np.uint64(design.lg_m)
    filled = large.with_hashes(np.zeros(large.registers, dtype=np.uint8), theirs.ravel())
    return filled.reshape(-1, design.registers)[:trials]


SKETCH_ATTACKS: dict[str, Callable[[str, Guarantee, int, np.random.Generator], list[SketchAttack]]] = {
    "exact": on_estimates,
    "bitmap": on_estimates,
    "fixed-rate": on_estimates,
    "fm": on_registers,
    "order-invariant": on_registers,
    "sfm": on_bits,
    "gf2": on_bits,
}
"""How each sketch that promises anything is attacked."""
