"""Broken twins: mistakes that were made elsewhere, each beside what does it right."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np

from dp.accounting import advanced, pld
from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.accounting.mechanism_events import discrete_laplace, laplace
from dp.auditing.likelihood import FLAG_LEVEL, Attack, Scores, attack, audit_linear, compare, in_chunks
from dp.auditing.power import Attempt, Coverage, Twin
from dp.auditing.sketch_twins import SKETCH_TWINS
from dp.intervals.binomial import at_most
from dp.mechanisms import GRID, LinearMechanism, linear_design
from dp.mechanisms.protocol import Floats
from dp.noise import GaussianNoise, LaplaceNoise
from dp.units import protected_class

USUAL = Guarantee(1.0, 1e-6)
PURE = Guarantee(1.0, 0.0)
BASE = 1000
WINDOW, TICKS = 7, 16


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
    """Discrete Laplace noise accounted for as continuous: a year of small ε is plain on the exact curve only.

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


def _continuous_accounting() -> Twin:
    releases, epsilon, delta = 4, 1.0, 0.1
    cost = continuous_for_discrete(epsilon, releases, delta)

    def scores(shift: int) -> Scores:
        def drawn(trials: int, generator: np.random.Generator) -> Floats:
            seen = LaplaceNoise(round(1 / epsilon)).seeded(generator, (trials, releases)) + shift
            return np.asarray((np.abs(seen) - np.abs(seen - 1)).sum(axis=1))

        return drawn

    def attempt(sold: float) -> Attempt:
        return lambda trials, generator: compare(
            in_chunks(scores(0), releases),
            in_chunks(scores(1), releases),
            Guarantee(sold, delta),
            trials,
            generator,
            mechanism="laplace",
            seen="releases",
        )

    return Twin(
        "continuous-accounting",
        "Four releases of discrete Laplace noise of ε = 1, accounted for as continuous: at δ = 0.1 they are said to "
        f"cost {cost.claimed:.3f} and cost {cost.exact:.3f}.",
        attempt(cost.claimed),
        attempt(cost.exact),
    )


TWINS: dict[str, Callable[[], Twin]] = {
    "half-noise": _half_the_noise,
    "variance-as-deviation": _variance_as_deviation,
    "sensitivity-one": _sensitivity_one,
    "per-release-laplace": _per_release_laplace,
    "counter-reset": _counter_reset,
    "continuous-accounting": _continuous_accounting,
    "interval-without-delta": _interval_without_delta,
    **SKETCH_TWINS,
}
