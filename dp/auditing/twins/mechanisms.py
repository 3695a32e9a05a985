"""Broken twins of mechanisms: too little noise, or noise for another class; see `dp.auditing.twins`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.auditing.likelihood import LikelihoodRatio, audit_linear, likelihood_ratio
from dp.auditing.mechanisms import BASE_COUNT
from dp.auditing.options import FLAG_LEVEL
from dp.auditing.power import Attempt, Coverage, Twin
from dp.auditing.twins.accounting import continuous_accounting
from dp.intervals.binomial import at_most
from dp.mechanisms import GRID, LinearMechanism, linear_design
from dp.noise import GaussianNoise, LaplaceNoise
from dp.units import protected_class

USUAL = Guarantee(1.0, 1e-6)
PURE = Guarantee(1.0, 0.0)
WINDOW, TICKS = 7, 16


def _calibrated(
    name: str, claim: Guarantee, unit: str = "user-day", window: int = WINDOW, w_bound: int = 2, ticks: int = TICKS
) -> LinearMechanism:
    return calibrate_linear([linear_design(name, protected_class(unit, window, w_bound, ticks))], claim, [1.0])[0]


def with_scale(mechanism: LinearMechanism, users: float) -> LinearMechanism:
    """A mechanism whose noise has another scale, in users, whatever it promises."""
    kind = LaplaceNoise if mechanism.noise.pure else GaussianNoise
    return replace(mechanism, noise=kind(math.ceil(GRID * users)))


def _audits(
    mechanism: LinearMechanism,
    claim: Guarantee,
    unit: str = "user-day",
    window: int = WINDOW,
    w_bound: int = 2,
    ticks: int = TICKS,
) -> Attempt:
    """Audits of a mechanism for a class, along the worst pattern of that class."""

    @cache
    def test() -> LikelihoodRatio:
        protected = protected_class(unit, window, w_bound, ticks)
        return likelihood_ratio(mechanism, protected, ticks, np.random.default_rng(0), "releases")

    counts = np.full(ticks, BASE_COUNT)
    return lambda trials, generator: audit_linear(mechanism, claim, test(), counts, trials, generator)


def _half_the_noise() -> Twin:
    right = _calibrated("damped-square-root", USUAL)
    broken = with_scale(right, right.noise.scale / GRID / 2)
    return Twin(
        "half-noise", "Half the noise that the sensitivity asks for.", _audits(broken, USUAL), _audits(right, USUAL)
    )


def _variance_as_deviation() -> Twin:
    # Too little noise where σ < 1, that is for a weak guarantee.
    claim = Guarantee(8.0, 1e-6)
    right = _calibrated("gaussian", claim, window=1)
    broken = with_scale(right, (right.noise.scale / GRID) ** 2)
    return Twin(
        "variance-as-deviation",
        "The variance passed where a standard deviation is asked for (ε = 8, σ < 1).",
        _audits(broken, claim, window=1),
        _audits(right, claim, window=1),
    )


def _sensitivity_one() -> Twin:
    broken = _calibrated("gaussian", USUAL, window=1)
    return Twin(
        "sensitivity-one",
        f"Noise for one release of an activity that is seen in a window of {WINDOW} days.",
        _audits(broken, USUAL),
        _audits(_calibrated("gaussian", USUAL), USUAL),
    )


def _per_release_laplace() -> Twin:
    right = _calibrated("laplace", PURE, "user")
    broken = with_scale(right, 2 / PURE.epsilon)
    return Twin(
        "per-release-laplace",
        f"Laplace noise of scale W_BOUND/ε at each of {TICKS} releases, sold as ε for the series.",
        _audits(broken, PURE, "user"),
        _audits(right, PURE, "user"),
    )


def _counter_reset() -> Twin:
    mechanism = _calibrated("damped-square-root", USUAL, "user", w_bound=2, ticks=32)
    return Twin(
        "counter-reset",
        "An erasure resets the counter of flips: a user who is erased three times has four times W_BOUND = 2.",
        _audits(mechanism, USUAL, "user", w_bound=8, ticks=32),
        _audits(mechanism, USUAL, "user", w_bound=2, ticks=32),
    )


def _interval_without_delta() -> Twin:
    mechanism = _calibrated("damped-square-root", USUAL)
    level = 0.95
    right = float(mechanism.half_width(level, TICKS)[-1])
    # σ = S/ε, as if the guarantee had no δ.
    deviation = GRID * mechanism.sensitivity / USUAL.epsilon
    broken = right * deviation / mechanism.noise.scale

    def attempt(half_width: float) -> Attempt:
        def interval(trials: int, generator: np.random.Generator) -> Coverage:
            counts = np.full(TICKS, BASE_COUNT)
            errors = mechanism.simulate(counts, trials, generator)[:, -1] - BASE_COUNT
            covered = int(np.count_nonzero(np.abs(errors) <= half_width))
            return Coverage(bool(at_most(covered, trials, FLAG_LEVEL) < level))

        return interval

    return Twin(
        "interval-without-delta",
        "A 95 % interval for noise of S/ε, where δ asks for more noise.",
        attempt(broken),
        attempt(right),
    )


MECHANISM_TWINS: dict[str, Callable[[], Twin]] = {
    "half-noise": _half_the_noise,
    "variance-as-deviation": _variance_as_deviation,
    "sensitivity-one": _sensitivity_one,
    "per-release-laplace": _per_release_laplace,
    "counter-reset": _counter_reset,
    "continuous-accounting": continuous_accounting,
    "interval-without-delta": _interval_without_delta,
}
