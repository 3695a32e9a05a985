"""The literal lists of accountants and releases that every law is tested on, and slow oracles from the definitions.

Adding an accountant is one line in `ACCOUNTANT_NAMES`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from dp.accounting import mechanism_events as parts
from dp.accounting.mechanism_events import MechanismEvent
from dp.arrays import Floats

Pair = tuple[Floats, Floats]
"""Probabilities of every outcome under two neighbours."""

ACCOUNTANT_NAMES = (
    "naive",
    "advanced",
    "zcdp",
    "rdp",
    "gdp",
    "pld",
)

RELEASES: dict[str, list[MechanismEvent]] = {
    "laplace": [parts.laplace(epsilon=0.3, count=4)],
    "gaussian": [parts.gaussian(sigma=5.0, count=4)],
    "discrete-laplace": [parts.discrete_laplace(epsilon=0.3, count=4)],
    "discrete-laplace-3": [parts.discrete_laplace(scale=4.0, sensitivity=3, count=4)],
    "discrete-gaussian": [parts.discrete_gaussian(sigma=0.5, count=4)],
    "discrete-gaussian-2": [parts.discrete_gaussian(sigma=3.0, sensitivity=2, count=4)],
    "discrete-gaussian-wide": [parts.discrete_gaussian(sigma=80.0, sensitivity=20, count=4)],
    "pure": [parts.pure(epsilon=0.3, count=4)],
    "approximate": [parts.approximate(epsilon=0.3, delta=1e-8, count=4)],
    "zcdp": [parts.zcdp(rho=0.02, count=4)],
    "gdp": [parts.gdp(mu=0.2, count=4)],
    "mixed-pure": [parts.laplace(epsilon=0.3, count=3), parts.pure(epsilon=0.2), parts.discrete_laplace(epsilon=0.1)],
    "mixed": [parts.laplace(epsilon=0.3, count=3), parts.gaussian(sigma=5.0, count=2), parts.pure(epsilon=0.1)],
    "mixed-zcdp": [parts.zcdp(rho=0.01), parts.gaussian(sigma=4.0), parts.pure(epsilon=0.2)],
    "mixed-approximate": [parts.approximate(epsilon=0.1, delta=1e-8, count=2), parts.gaussian(sigma=5.0)],
}

LESS_AND_MORE: dict[str, tuple[MechanismEvent, MechanismEvent]] = {
    "laplace": (parts.laplace(epsilon=0.3), parts.laplace(epsilon=0.31)),
    "gaussian": (parts.gaussian(sigma=5.0), parts.gaussian(sigma=4.9)),
    "discrete-laplace": (parts.discrete_laplace(scale=4.0), parts.discrete_laplace(scale=3.9)),
    "discrete-laplace-shift": (
        parts.discrete_laplace(scale=4.0, sensitivity=2), parts.discrete_laplace(scale=4.0, sensitivity=3),
    ),
    "discrete-gaussian": (parts.discrete_gaussian(sigma=3.0), parts.discrete_gaussian(sigma=2.9)),
    "pure": (parts.pure(epsilon=0.3), parts.pure(epsilon=0.31)),
    "pure-laplace": (parts.laplace(epsilon=0.3), parts.discrete_laplace(epsilon=0.3)),
    "approximate": (parts.approximate(epsilon=0.3, delta=1e-9), parts.approximate(epsilon=0.3, delta=1e-8)),
    "approximate-pure": (parts.pure(epsilon=0.3), parts.approximate(epsilon=0.3, delta=1e-8)),
    "zcdp": (parts.zcdp(rho=0.02), parts.zcdp(rho=0.021)),
    "gdp": (parts.gdp(mu=0.2), parts.gdp(mu=0.21)),
}  # fmt: skip
"""Pairs of which the second tells more."""


# --- Slow oracles: pairs of distributions from the definition of the noise, enumerated products ----------------------


def discrete_laplace_pair(scale: float, shift: int) -> Pair:
    """Noise alone and noise plus `shift`, summed far beyond any probability that matters."""
    support = np.arange(-math.ceil(30 * scale), math.ceil(30 * scale) + shift + 1)
    return _normal(np.exp(-np.abs(support) / scale)), _normal(np.exp(-np.abs(support - shift) / scale))


def discrete_gaussian_pair(sigma: float, shift: int) -> Pair:
    """Discrete Gaussian noise alone and noise plus `shift`, summed far beyond any probability that matters."""
    support = np.arange(-math.ceil(9 * sigma) - shift, math.ceil(9 * sigma) + 2 * shift + 1)
    return (
        _normal(np.exp(-(support**2) / (2 * sigma**2))),
        _normal(np.exp(-((support - shift) ** 2) / (2 * sigma**2))),
    )


def randomised_response_pair(epsilon: float, delta: float = 0.0) -> Pair:
    """The worst (ε, δ)-DP pair: reveals with δ, else answers truly with odds e^ε."""
    true = (1 - delta) / (1 + math.exp(-epsilon))
    false = (1 - delta) / (1 + math.exp(epsilon))
    return np.array([delta, true, false, 0.0]), np.array([0.0, false, true, delta])


def binned_laplace_pair(epsilon: float, width: float) -> Pair:
    """Laplace noise of scale 1/ε on 0 and on 1, told only up to bins: a little less than all, so a lower bound."""
    edges = np.concatenate([[-np.inf], np.arange(-width, 1 + width, width), [np.inf]])
    return _bins(edges, epsilon), _bins(edges - 1, epsilon)


def binned_gaussian_pair(mu: float, width: float) -> Pair:
    """Gaussian noise of standard deviation 1/μ on 0 and on 1, in bins that miss a little: a lower bound."""
    edges = np.concatenate([[-np.inf], np.arange(-8, 8 + mu, width), [np.inf]])
    return np.diff(ndtr(edges)), np.diff(ndtr(edges - mu))


def product(pairs: Sequence[Pair]) -> Pair:
    """The joint distributions, every outcome enumerated."""
    first, second = np.ones(1), np.ones(1)
    for one, other in pairs:
        first, second = np.outer(first, one).ravel(), np.outer(second, other).ravel()
    return first, second


def hockey_stick(pair: Pair, epsilon: float) -> float:
    """δ(ε) = Σ max(P − e^ε Q, 0)."""
    return float(np.maximum(pair[0] - math.exp(epsilon) * pair[1], 0.0).sum())


def smallest_epsilon(pair: Pair, delta: float) -> float:
    """The ε ≥ 0 with δ(ε) = `delta`."""
    if hockey_stick(pair, 0.0) <= delta:
        return 0.0
    if hockey_stick(pair, 60.0) > delta:
        return math.inf
    return float(
        brentq(lambda epsilon: math.log(max(hockey_stick(pair, epsilon), 1e-300) / delta), 0.0, 60.0, xtol=1e-12)
    )


def _normal(weights: Floats) -> Floats:
    return weights / weights.sum()


def _bins(edges: Floats, epsilon: float) -> Floats:
    below = np.where(edges < 0, np.exp(-epsilon * np.abs(edges)) / 2, 1 - np.exp(-epsilon * np.abs(edges)) / 2)
    return np.diff(below)


ENUMERATED: dict[str, tuple[list[MechanismEvent], list[Pair]]] = {
    "discrete-laplace": (
        [parts.discrete_laplace(epsilon=0.5, count=3)], [discrete_laplace_pair(2.0, 1)] * 3,
    ),
    "discrete-laplace-4": (
        [parts.discrete_laplace(epsilon=2.0, sensitivity=4, count=2)], [discrete_laplace_pair(2.0, 4)] * 2,
    ),
    "discrete-gaussian": (
        [parts.discrete_gaussian(sigma=0.5, count=3)], [discrete_gaussian_pair(0.5, 1)] * 3,
    ),
    "discrete-gaussian-3": (
        [parts.discrete_gaussian(sigma=2.5, sensitivity=3, count=2)], [discrete_gaussian_pair(2.5, 3)] * 2,
    ),
    "pure": (
        [parts.pure(epsilon=0.4, count=6)], [randomised_response_pair(0.4)] * 6,
    ),
    "pure-different": (
        [parts.pure(epsilon=0.4, count=3), parts.pure(epsilon=0.7, count=2)],
        [randomised_response_pair(0.4)] * 3 + [randomised_response_pair(0.7)] * 2,
    ),
    "approximate": (
        [parts.approximate(epsilon=0.4, delta=1e-3, count=4)], [randomised_response_pair(0.4, 1e-3)] * 4,
    ),
    "approximate-mixed": (
        [parts.approximate(epsilon=0.4, delta=1e-3, count=2), parts.discrete_laplace(epsilon=0.5)],
        [randomised_response_pair(0.4, 1e-3)] * 2 + [discrete_laplace_pair(2.0, 1)],
    ),
    "laplace": (
        [parts.laplace(epsilon=0.5, count=2)], [binned_laplace_pair(0.5, 0.002)] * 2,
    ),
    "laplace-and-gaussian": (
        [parts.laplace(epsilon=0.5), parts.gaussian(sigma=2.0)],
        [binned_laplace_pair(0.5, 0.002), binned_gaussian_pair(0.5, 0.005)],
    ),
    "gaussian-and-discrete": (
        [parts.gaussian(sigma=2.0), parts.discrete_gaussian(sigma=1.0)],
        [binned_gaussian_pair(0.5, 0.005), discrete_gaussian_pair(1.0, 1)],
    ),
}  # fmt: skip
"""Releases with the product of their pairs."""
