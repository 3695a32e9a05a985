"""Broken twins of sketches; see `dp.auditing.twins`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from dp.accounting.composition import Guarantee
from dp.arrays import Floats
from dp.auditing.case import Case
from dp.auditing.power import Attempt, Twin, attempts_on
from dp.auditing.sampling import Sampler
from dp.auditing.sketches.estimates import CANDIDATE_USERS
from dp.auditing.sketches.flipped_bits import LEVELS, LG_BUCKETS, bit_case
from dp.auditing.sketches.secret_registers import (
    SecretRegisters,
    log_ratio,
    random_hashes,
    register_case,
    registers_of_hashes,
    table_scores,
)
from dp.auditing.verdict import audit_case, audit_samplers
from dp.mechanisms import GRID
from dp.noise import LaplaceNoise
from dp.sketches import SketchDesign
from dp.sketches.cpc import Cpc
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.flipped import BitSource, epsilon_of, seeded_flips
from dp.sketches.fm import FlajoletMartin
from dp.sketches.gf2 import gf2, parity_flip
from dp.sketches.hll import Hll
from dp.sketches.keys import ANY_SALT, keys_of
from dp.sketches.kmv import Kmv
from dp.sketches.order_invariant import OrderInvariant
from dp.sketches.registers import ROUNDING
from dp.sketches.sfm import sfm
from dp.sketches.theta import Theta

PURE = Guarantee(1.0, 0.0)

KNOWN_KEY = bytes(range(16))
"""Noise of scale 1/ε is sold as enough whatever the key is, so that it may be known."""


def _noise_on_sketch(name: str, sketch: SketchDesign) -> Twin:
    def attempt(shift: float) -> Attempt:
        return lambda trials, generator: audit_samplers(
            name, PURE, _laplace_sample(0.0), _laplace_sample(shift), trials, generator
        )

    @cache
    def moved() -> float:
        users = sketch.empty().add(keys_of([f"user {index}" for index in range(2000)], KNOWN_KEY))
        others = [keys_of([f"other {index}"], KNOWN_KEY) for index in range(CANDIDATE_USERS)]
        return max(abs(users.add(other).estimate() - users.estimate()) for other in others)

    return Twin(
        f"noise-on-{name}",
        f"Noise of scale 1/ε on the estimate of {name.upper()}, which one user moves by far more than 1.",
        lambda trials, generator: attempt(moved())(trials, generator),
        attempt(1.0),
    )


def _laplace_sample(shift: float) -> Sampler:
    """A release of one number with noise of scale 1/ε, less the number without the change; shape (trials, 1)."""
    noise = LaplaceNoise(math.ceil(GRID / PURE.epsilon))
    return lambda trials, generator: noise.seeded(generator, (trials, 1)) / GRID + shift


def _half_flips() -> Twin:
    nobody = sfm(PURE.epsilon, LG_BUCKETS, LEVELS).empty()
    user = nobody.add(keys_of(["user"], KNOWN_KEY))

    def half(generator: np.random.Generator) -> BitSource:
        coins = seeded_flips(generator)
        return lambda probability, size: coins(probability / 2, size)

    return Twin(
        "half-flips",
        "The probability of a flip passed where randomised response asks for that of a random bit, which is twice it.",
        attempts_on(bit_case("sfm", "bits", PURE, [nobody], [user], half)),
        attempts_on(bit_case("sfm", "bits", PURE, [nobody], [user])),
    )


def _same_coins() -> Twin:
    nobody = gf2(PURE.epsilon, LG_BUCKETS, LEVELS).empty()
    user = nobody.add(keys_of(["user"], KNOWN_KEY))
    claim = Guarantee(epsilon_of(parity_flip(nobody.design.flip, nobody.design.flip)), 0.0)

    def same(generator: np.random.Generator) -> BitSource:
        seed = int(generator.integers(2**63))
        return lambda probability, size: seeded_flips(np.random.default_rng(seed))(probability, size)

    return Twin(
        "same-coins",
        "Two sites flip their sketches with coins of one seed, which cancel each other when the sketches are merged.",
        attempts_on(bit_case("gf2", "merger", claim, [nobody, nobody], [user, nobody], same)),
        attempts_on(bit_case("gf2", "merger", claim, [nobody, nobody], [user, nobody])),
    )


@dataclass(frozen=True)
class _WithoutPhantoms(FlajoletMartin):
    @property
    def phantoms(self) -> int:
        return 0


@dataclass(frozen=True)
class _PhantomsRoundedDown(OrderInvariant):
    @property
    def phantoms(self) -> int:
        return super().phantoms - 1


@dataclass(frozen=True)
class _KeepsEverybody(OrderInvariant):
    @property
    def kept(self) -> float:
        return 1 - ROUNDING


def _secret(name: str, design: SecretRegisters, claim: Guarantee) -> Attempt:
    @cache
    def case(trials: int) -> Case:
        return register_case(name, design, claim, trials)

    return lambda trials, generator: audit_case(case(trials), trials, generator)[0]


def _no_phantoms() -> Twin:
    return Twin(
        "no-phantoms",
        "Flajolet–Martin registers with a floor and no phantom users: the first user is alone in them.",
        _secret("fm", _WithoutPhantoms(PURE.epsilon, ANY_SALT, registers=1), PURE),
        _secret("fm", FlajoletMartin(PURE.epsilon, ANY_SALT, registers=1), PURE),
    )


def _hll_with_phantoms(name: str, mistake: str, broken: type[OrderInvariant]) -> Twin:
    # Of few phantoms one makes a difference; and if nobody is left out the lowest register tells ln 2, which is more.
    claim = Guarantee(0.5, 0.0)
    return Twin(
        name,
        mistake,
        _secret("order-invariant", broken(claim.epsilon, ANY_SALT, lg_m=0), claim),
        _secret("order-invariant", OrderInvariant(claim.epsilon, ANY_SALT, lg_m=0), claim),
    )


def _one_salt() -> Twin:
    design = OrderInvariant(PURE.epsilon / 2, ANY_SALT, lg_m=0)
    table = log_ratio(design, 0)

    def differs(joined: bool) -> Sampler:
        def scores(trials: int, generator: np.random.Generator) -> Floats:
            today = random_hashes(design, 1, trials, generator)
            yesterday = registers_of_hashes(design, today[:, 1:])
            published = registers_of_hashes(design, today if joined else today[:, 1:])
            return np.asarray((published != yesterday).any(axis=1), dtype=np.float64)

        return scores

    def today_alone(joined: bool) -> Sampler:
        def scores(trials: int, generator: np.random.Generator) -> Floats:
            hashes = random_hashes(design, 1, trials, generator)
            return table_scores(table, registers_of_hashes(design, hashes[:, 1 - joined :]))

        return scores

    def attempt(scores: Callable[[bool], Sampler]) -> Attempt:
        return attempts_on(
            Case("order-invariant", "2 sketches", PURE, scores(False), scores(True), design.phantoms + 1)
        )

    return Twin(
        "one-salt",
        "Two sketches of ε/2 under one secret salt, yesterday's without and today's with the user.",
        attempt(differs),
        attempt(today_alone),
    )


SKETCH_TWINS: dict[str, Callable[[], Twin]] = {
    "noise-on-kmv": lambda: _noise_on_sketch("kmv", Kmv(k=256)),
    "noise-on-hll": lambda: _noise_on_sketch("hll", Hll(lg_k=8)),
    "noise-on-theta": lambda: _noise_on_sketch("theta", Theta(lg_k=9)),
    "noise-on-cpc": lambda: _noise_on_sketch("cpc", Cpc(lg_k=8)),
    "noise-on-fixed-rate": lambda: _noise_on_sketch("fixed-rate", FixedRate(0.05)),
    "half-flips": _half_flips,
    "same-coins": _same_coins,
    "no-phantoms": _no_phantoms,
    "phantoms-rounded-down": lambda: _hll_with_phantoms(
        "phantoms-rounded-down",
        "HyperLogLog with the number of its phantom users rounded down and not up: one in place of two (ε = ½).",
        _PhantomsRoundedDown,
    ),
    "everybody-kept": lambda: _hll_with_phantoms(
        "everybody-kept",
        "HyperLogLog with all its phantom users under a secret salt, but nobody left out (ε = ½).",
        _KeepsEverybody,
    ),
    "one-salt": _one_salt,
}
