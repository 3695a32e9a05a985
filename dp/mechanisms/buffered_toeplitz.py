"""Buffered Toeplitz (BLT): the best few exponentials for the class, chosen by numerical optimisation.

Dvijotham, McMahan, Pillutla, Steinke, Thakurta, "Efficient and near-optimal noise generation for streaming differential
privacy", 2024, for streams whose changes have one sign; here for alternating ones. What is optimised is the squared
sensitivity times the mean variance of a release: exactly for classes of one run, and for classes of several over a
growing pool of bad patterns. The choice only affects accuracy: the sensitivity that sets the noise is bounded for what
was chosen (`buffers`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import scipy

from dp.arrays import Floats, Integers
from dp.mechanisms import certificate, patterns
from dp.mechanisms.buffers import BufferStrategy, buffer_weights, from_roots
from dp.units import ProtectedClass

MOST_BUFFERS = 4
"""For one run; more of them gain less than a tenth of a per cent."""

SETTLED = 64
"""Hulls after which a series without an end is taken to have settled, in the search."""

MOST_RUNS_SEARCHED = 12
"""Denser classes are searched on a shorter hull with as many runs for its length."""

SEARCH_ROUNDS = 6
CLIMBS = 4
POOL = 48
SMALLEST_PARAMETER, LARGEST_PARAMETER = -14.0, 4.4
"""Within these no root is 1 or 0 in floating point, so that no two are the same."""


@lru_cache(maxsize=64)
def strategy(protected: ProtectedClass) -> BufferStrategy:
    """The buffers that serve the class best, quantised.

    Raises:
        ValueError: the hull is too long.
    """
    certificate.validate_hull(protected)
    if protected.runs == 1:
        return _quantised(_best_for_one_run(protected))
    return _quantised(_best_for_runs(_shortened(protected)))


def _best_for_one_run(protected: ProtectedClass) -> Floats:
    """The parameters with the smallest error, adding buffers as long as they pay."""
    length = _length(protected)
    unending = protected.hull < length

    def squared_error(parameters: Floats) -> float:
        decoder, response = _impulses(parameters, length)
        energy = np.cumsum(decoder**2)
        if protected.open_ended:
            sensitivity_squared = float(response @ response)
        else:
            sensitivity_squared = float(certificate.run_energy(response, protected.hull).max())
        return sensitivity_squared * float(energy[-1] if unending else energy.mean())

    best = _minimised(squared_error, _start(1, protected.hull))
    for buffers in range(2, MOST_BUFFERS + 1):
        found = _minimised(squared_error, _start(buffers, protected.hull))
        if squared_error(found) > squared_error(best) * (1 - 1e-3):
            break
        best = found
    return best


def _best_for_runs(protected: ProtectedClass) -> Floats:
    """Two buffers against the worst patterns that local search finds, in an endless series.

    Each round adds patterns that are bad for the present parameters and optimises against all found so far.
    """
    generator = np.random.default_rng(0)
    parameters = _start(2, max(protected.hull // protected.runs, 2))
    pool: list[Integers] = []
    for _ in range(SEARCH_ROUNDS):
        table = _energy_table(parameters, protected.hull)
        starts = [*patterns.starts(protected, generator, CLIMBS), *pool[-CLIMBS:]]
        found = [patterns.climbed(table, start, protected.hull) for start in starts]
        worst = max(energy for energy, _ in found)
        pool = (pool + [flips for energy, flips in found if energy > 0.97 * worst])[-POOL:]
        parameters = _minimised(_against(np.array(pool), protected.hull), parameters)
    return parameters


def _against(flips: Integers, hull: int) -> Callable[[Floats], float]:
    """The squared error of parameters against given patterns, in an endless series."""

    def squared_error(parameters: Floats) -> float:
        energies = patterns.energies(_energy_table(parameters, hull), flips)
        return float(energies.max()) * _variance(parameters)

    return squared_error


def _roots(parameters: Floats) -> tuple[Floats, Floats]:
    """β and λ with 1 > β_1 > λ_1 > β_2 > …, one parameter each, any real numbers."""
    away = np.exp(-np.cumsum(np.exp(parameters)))
    return away[0::2], away[1::2]


def _start(buffers: int, ticks: int) -> Floats:
    """Roots spread evenly, on a logarithmic scale, from those that forget within `ticks` ticks to quick ones."""
    away = np.geomspace(0.5 / ticks, 1.0, 2 * buffers + 1)[:-1] if ticks > 1 else np.linspace(0.3, 0.9, 2 * buffers)
    return np.log(np.diff(np.concatenate([[0.0], -np.log1p(-np.minimum(away, 0.95))])) + 1e-6)


def _minimised(function: Callable[[Floats], float], start: Floats) -> Floats:

    def bounded(parameters: Floats) -> float:
        within = parameters.min() > SMALLEST_PARAMETER and parameters.max() < LARGEST_PARAMETER
        return function(parameters) if within else math.inf

    most = 120 * len(start)
    found = scipy.optimize.minimize(
        bounded, start, method="Nelder-Mead", options={"maxfev": most, "xatol": 1e-2, "fatol": 1e-5, "adaptive": True}
    )
    return np.asarray(found.x)


def _impulses(parameters: Floats, length: int) -> tuple[Floats, Floats]:
    """The coefficients of B and the step response B⁻¹1, shape (length,) each, in closed form."""
    decoder_decays, decays = _roots(parameters)
    decoder = _exponentials(buffer_weights(decays, decoder_decays), decoder_decays, length)
    return decoder, np.cumsum(_exponentials(-buffer_weights(decoder_decays, decays), decays, length))


def _exponentials(weights: Floats, decays: Floats, length: int) -> Floats:
    """The power series of 1 + Σ w_k z/(1 − λ_k z); shape (length,)."""
    powers = np.exp(np.log(decays)[:, np.newaxis] * np.arange(length - 1))
    return np.concatenate([[1.0], weights @ powers])


def _energy_table(parameters: Floats, longest: int) -> Floats:
    """E(ℓ) of a run in an endless series, ℓ = 0 … `longest`, in closed form.

    Its second difference is twice the autocorrelation q of B⁻¹ = 1 − Σ ω_k z/(1 − λ_k z):
    q_n = Σ_k (−ω_k λ_kⁿ⁻¹ + λ_kⁿ Σ_l ω_k ω_l/(1 − λ_k λ_l)) for n ≥ 1, q_0 = 1 + Σ_kl ω_k ω_l/(1 − λ_k λ_l).
    """
    decoder_decays, decays = _roots(parameters)
    weights = buffer_weights(decoder_decays, decays)
    overlaps = np.outer(weights, weights) / (1 - np.outer(decays, decays))
    powers = decays[:, np.newaxis] ** np.arange(longest + 1)
    correlation = overlaps.sum(axis=1) @ powers[:, 1:] - weights @ powers[:, :-1]
    slopes = 1 + overlaps.sum() + 2 * np.concatenate([[0.0], np.cumsum(correlation[:-1])])
    return np.concatenate([[0.0], np.cumsum(slopes)])


def _variance(parameters: Floats) -> float:
    """Σ b_n² of B = 1 + Σ c_k z/(1 − β_k z), in closed form."""
    decoder_decays, decays = _roots(parameters)
    weights = buffer_weights(decays, decoder_decays)
    return float(1 + (np.outer(weights, weights) / (1 - np.outer(decoder_decays, decoder_decays))).sum())


def _quantised(parameters: Floats) -> BufferStrategy:
    return from_roots(*_roots(parameters))


def _length(protected: ProtectedClass) -> int:
    if protected.horizon == protected.hull and protected.hull > 1:
        return protected.hull
    # For the unit user-day the long run decides whatever the horizon, so that a stream may be prolonged.
    return SETTLED * protected.hull + 64


def _shortened(protected: ProtectedClass) -> ProtectedClass:
    if protected.runs <= MOST_RUNS_SEARCHED:
        return replace(protected, open_ended=False)
    hull = max(protected.hull * MOST_RUNS_SEARCHED // protected.runs, 2 * MOST_RUNS_SEARCHED - 1)
    return ProtectedClass(MOST_RUNS_SEARCHED, hull, None)
