"""Broken twins: mistakes that were made elsewhere, each beside what does it right, and how soon they show.

An attempt is one audit of so many trials, and says whether the promise was disproved. What the audit is worth is told
by two numbers: the smallest number of trials at which a twin is caught in 99 of 100 attempts, and how often the right
mechanism is flagged at the same number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np

from dp.accounting import advanced, pld
from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.accounting.parts import discrete_laplace, laplace
from dp.audit.blackbox import black_box
from dp.audit.likelihood import FLAG_LEVEL, Attack, Sampler, attack, audit_linear
from dp.binomial import at_least, at_most
from dp.mechanisms import GRID, LinearMechanism, linear_design
from dp.noise import GaussianNoise, LaplaceNoise
from dp.sketches import Design as SketchDesign
from dp.sketches.hll import Hll
from dp.sketches.keys import keys_of
from dp.sketches.kmv import Kmv
from dp.units import protected_class


class Verdict(Protocol):
    """What an audit says."""

    @property
    def flagged(self) -> bool:
        """Whether the promise is disproved."""


@dataclass(frozen=True)
class Coverage:
    """What a test of an interval says: whether it covers less than it promises, which no ε measures."""

    flagged: bool


Attempt = Callable[[int, np.random.Generator], Verdict]
"""An audit of so many trials."""

USUAL = Guarantee(1.0, 1e-6)
PURE = Guarantee(1.0, 0.0)
BASE = 1000
WINDOW, TICKS = 7, 16
SHARE = 0.99
"""Of attempts in which a twin must be caught."""

KNOWN_KEY = bytes(range(16))
"""Of the sketches: noise of scale 1/ε is sold as enough whatever the key is, so that it may be known."""

TRIED_USERS = 200
"""Ids of which an attacker takes the one that moves a sketch most."""


@dataclass(frozen=True)
class Twin:
    """A mistake and the right way, both under the same claim.

    Attributes:
        mistake: in one sentence.
        broken: an audit of the mistake.
        right: the same audit of the right way.
    """

    name: str
    mistake: str
    broken: Attempt
    right: Attempt


class Power(NamedTuple):
    """How soon a twin is caught.

    Attributes:
        trials: the smallest number on the grid that suffices; None where the largest did not.
        caught: attempts at that number, or the largest, that flagged the twin.
        at_least: lower end of the share of attempts that do, at 95 % confidence.
        false_alarms: attempts at that number that flagged the right mechanism.
        at_most: upper end of their share, at 95 % confidence.
        attempts: of each.
    """

    trials: int | None
    caught: int
    at_least: float
    false_alarms: int
    at_most: float
    attempts: int


def power(twin: Twin, attempts: int, generator: np.random.Generator, *, fewest: int = 64, most: int = 2**18) -> Power:
    """Double the trials until a twin is caught in 99 of 100 attempts, and count false alarms there.

    Raises:
        ValueError: attempts is less than 1, or the grid is empty.
    """
    if attempts < 1 or not 0 < fewest <= most:
        raise ValueError(f"attempts is {attempts}, trials from {fewest} to {most}; at least one of each is needed")
    trials, caught = fewest, 0
    while True:
        caught = _flagged(twin.broken, trials, attempts, generator, allowed=math.floor((1 - SHARE) * attempts))
        if caught >= SHARE * attempts or 2 * trials > most:
            break
        trials *= 2
    enough = caught >= SHARE * attempts
    false_alarms = _flagged(twin.right, trials, attempts, generator)
    return Power(
        trials if enough else None,
        caught,
        float(at_least(caught, attempts, 0.05)),
        false_alarms,
        float(at_most(false_alarms, attempts, 0.05)),
        attempts,
    )


def _flagged(
    attempt: Attempt, trials: int, attempts: int, generator: np.random.Generator, allowed: int | None = None
) -> int:
    """Attempts that flag; given up once more than `allowed` did not."""
    flagged = 0
    for made in range(1, attempts + 1):
        flagged += attempt(trials, generator).flagged
        if allowed is not None and made - flagged > allowed:
            break
    return flagged


def _calibrated(
    name: str, claim: Guarantee, unit: str = "user-day", window: int = WINDOW, w_bound: int = 2, ticks: int = TICKS
) -> LinearMechanism:
    return calibrate_linear([linear_design(name, protected_class(unit, window, w_bound, ticks))], claim, [1.0])[0]


def _with_scale(mechanism: LinearMechanism, users: float) -> LinearMechanism:
    kind = LaplaceNoise if mechanism.noise.pure else GaussianNoise
    return replace(mechanism, noise=kind(math.ceil(GRID * users)))


def _attacked(
    mechanism: LinearMechanism,
    claim: Guarantee,
    unit: str = "user-day",
    window: int = WINDOW,
    w_bound: int = 2,
    ticks: int = TICKS,
) -> Attempt:
    """Audits of a mechanism for a class, along the worst pattern of that class."""

    @cache
    def against() -> Attack:
        protected = protected_class(unit, window, w_bound, ticks)
        return attack(mechanism, protected, ticks, np.random.default_rng(0), "releases")

    counts = np.full(ticks, BASE)
    return lambda trials, generator: audit_linear(mechanism, claim, against(), counts, trials, generator)


def _half_the_noise() -> Twin:
    right = _calibrated("damped-square-root", USUAL)
    broken = _with_scale(right, right.noise.scale / GRID / 2)
    return Twin(
        "half-noise", "Half the noise that the sensitivity asks for.", _attacked(broken, USUAL), _attacked(right, USUAL)
    )


def _variance_as_deviation() -> Twin:
    # Too little noise where σ < 1, that is for a weak guarantee.
    claim = Guarantee(8.0, 1e-6)
    right = _calibrated("gaussian", claim, window=1)
    broken = _with_scale(right, (right.noise.scale / GRID) ** 2)
    return Twin(
        "variance-as-deviation",
        "The variance passed where a standard deviation is asked for (ε = 8, σ < 1).",
        _attacked(broken, claim, window=1),
        _attacked(right, claim, window=1),
    )


def _sensitivity_one() -> Twin:
    broken = _calibrated("gaussian", USUAL, window=1)
    return Twin(
        "sensitivity-one",
        f"Noise for one release of an activity that is seen in a window of {WINDOW} days.",
        _attacked(broken, USUAL),
        _attacked(_calibrated("gaussian", USUAL), USUAL),
    )


def _per_release_laplace() -> Twin:
    right = _calibrated("laplace", PURE, "user")
    broken = _with_scale(right, 2 / PURE.epsilon)
    return Twin(
        "per-release-laplace",
        f"Laplace noise of scale W_BOUND/ε at each of {TICKS} releases, sold as ε for the series.",
        _attacked(broken, PURE, "user"),
        _attacked(right, PURE, "user"),
    )


def _counter_reset() -> Twin:
    mechanism = _calibrated("damped-square-root", USUAL, "user", w_bound=2, ticks=32)
    return Twin(
        "counter-reset",
        "An erasure resets the counter of flips: a user who is erased three times has four times W_BOUND = 2.",
        _attacked(mechanism, USUAL, "user", w_bound=8, ticks=32),
        _attacked(mechanism, USUAL, "user", w_bound=2, ticks=32),
    )


def _noise_on_sketch(name: str, sketch: SketchDesign) -> Twin:
    def attempt(shift: float) -> Attempt:
        return lambda trials, generator: black_box(
            _laplace_sample(0.0), _laplace_sample(shift), PURE, trials, generator, mechanism=name
        )

    @cache
    def moved() -> float:
        users = sketch.empty().add(keys_of([f"user {index}" for index in range(2000)], KNOWN_KEY))
        others = [keys_of([f"other {index}"], KNOWN_KEY) for index in range(TRIED_USERS)]
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


def _interval_without_delta() -> Twin:
    mechanism = _calibrated("damped-square-root", USUAL)
    level = 0.95
    right = float(mechanism.half_width(level, TICKS)[-1])
    # σ = S/ε, as if the guarantee had no δ.
    deviation = GRID * mechanism.sensitivity / USUAL.epsilon
    broken = right * deviation / mechanism.noise.scale

    def attempt(half_width: float) -> Attempt:
        def tried(trials: int, generator: np.random.Generator) -> Coverage:
            counts = np.full(TICKS, BASE)
            errors = mechanism.simulate(counts, trials, generator)[:, -1] - BASE
            covered = int(np.count_nonzero(np.abs(errors) <= half_width))
            return Coverage(bool(at_most(covered, trials, FLAG_LEVEL) < level))

        return tried

    return Twin(
        "interval-without-delta",
        "A 95 % interval for noise of S/ε, where δ asks for more noise.",
        attempt(broken),
        attempt(right),
    )


TWINS: dict[str, Callable[[], Twin]] = {
    "half-noise": _half_the_noise,
    "variance-as-deviation": _variance_as_deviation,
    "sensitivity-one": _sensitivity_one,
    "per-release-laplace": _per_release_laplace,
    "noise-on-kmv": lambda: _noise_on_sketch("kmv", Kmv(k=256)),
    "noise-on-hll": lambda: _noise_on_sketch("hll", Hll(lg_k=8)),
    "counter-reset": _counter_reset,
    "interval-without-delta": _interval_without_delta,
}
"""What trials can catch. What they cannot is `continuous_for_discrete`."""


class Accounting(NamedTuple):
    """What a series of releases is said to cost, and what it does.

    Attributes:
        claimed: ε by the account of continuous Laplace noise.
        exact: the smallest ε that holds for the discrete noise that is drawn.
        delta: of both.
        delta_of_claim: the δ that the discrete noise has at the claimed ε.
        trials: about how many releases of each kind a test needs to see it.
    """

    claimed: float
    exact: float
    delta: float
    delta_of_claim: float
    trials: float


def continuous_for_discrete(epsilon: float = 0.05, releases: int = 365, delta: float = 1e-6) -> Accounting:
    """Discrete Laplace noise accounted for as continuous: too little to be seen in trials, plain on the exact curve.

    The best test says "with" where the likelihood ratio exceeds e^claimed. Its true alarms less e^claimed times its
    false ones are `delta_of_claim` on average and may be δ; their standard error is √(TPR + e^(2·claimed)·FPR) over the
    root of the trials, and the flag needs about 2·2.6 of them.
    """
    claimed = pld.account([laplace(epsilon=epsilon, count=releases)], delta).epsilon
    exact = advanced.account([discrete_laplace(epsilon=epsilon, count=releases)], delta).epsilon
    assert claimed is not None
    assert exact is not None
    # Of randomised responses, the loss of `ones` right ones is (2·ones − releases)·ε.
    ones = np.arange(releases + 1)
    losses = (2 * ones - releases) * epsilon
    log_choose = np.array(
        [math.lgamma(releases + 1) - math.lgamma(k + 1) - math.lgamma(releases - k + 1) for k in ones]
    )
    log_changed = log_choose + ones * epsilon - releases * math.log1p(math.exp(epsilon))
    changed, unchanged = np.exp(log_changed), np.exp(log_changed - losses)
    told = losses > claimed
    true, false = float(changed[told].sum()), float(unchanged[told].sum())
    excess = true - math.exp(claimed) * false
    spread = true + math.exp(2 * claimed) * false
    return Accounting(claimed, exact, delta, excess, (5.2 / (excess - delta)) ** 2 * spread)
