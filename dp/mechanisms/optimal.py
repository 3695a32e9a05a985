"""The best strategy that we find for a class, by numerical optimisation; `lower_bound` says how good it is.

- One run, and a horizon short enough that its ends matter: the dense optimum (`dense`).
- A hull that is short against the horizon, with few enough patterns to try each: the stationary optimum (`stationary`),
  a finite impulse response whose sensitivity is exact. It serves any horizon and none.
- The same where the horizon is short, if it does better than buffers.
- One run that never ends (a single flip), long horizon: the best Toeplitz matrix for the mean error.
- All else: the buffers of `buffered_toeplitz` or the damped square root, because nothing better has a certificate.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy

from dp.arrays import Floats
from dp.mechanisms import buffered_toeplitz, certificate, damped_square_root, dense, patterns, stationary
from dp.mechanisms.filters import convolve
from dp.mechanisms.linear import Strategy
from dp.mechanisms.toeplitz import ToeplitzStrategy, damped_root_weights, nearest
from dp.units import ProtectedClass

SHORT = 4
"""Horizons of fewer hulls are short: their ends matter."""

LONGEST_HULL = 512
"""Hulls up to which the stationary optimum takes seconds."""


@lru_cache(maxsize=16)
def strategy(protected: ProtectedClass) -> Strategy:
    """The best strategy that we find for the class, quantised.

    Raises:
        ValueError: the hull is too long.
    """
    certificate.validate_hull(protected)
    one_run, horizon = protected.runs == 1, protected.horizon
    short = horizon is not None and horizon < SHORT * protected.hull
    if one_run and short and horizon is not None and horizon <= dense.LONGEST:
        return dense.strategy(protected)
    countable = protected.hull <= LONGEST_HULL and patterns.tractable(protected)
    if countable and not short:
        return _stationary(protected)
    if one_run and protected.open_ended and horizon is not None:
        return best_toeplitz(horizon)
    candidates: list[Strategy] = [buffered_toeplitz.strategy(protected), damped_square_root.strategy(protected)]
    if countable:
        candidates.append(_stationary(protected))
    return min(candidates, key=lambda made: _error(made, protected))


def _stationary(protected: ProtectedClass) -> ToeplitzStrategy:
    return nearest(stationary.causal_weights(stationary.optimum(protected).density))


def _error(made: Strategy, protected: ProtectedClass) -> float:
    energy = made.decoder_energy(min(protected.horizon or 1, certificate.FAR))
    return made.sensitivity_squared(protected) * float(energy.mean())


def best_toeplitz(horizon: int) -> ToeplitzStrategy:
    """The Toeplitz strategy with the smallest mean squared error for one flip.

    Minimised over the step response c = B⁻¹1 with c_0 = 1: ‖c‖² times the mean of Σ_{n ≤ t} b_n², where b and the
    differences of c are inverse power series. Denisov et al. 2022 and McKenna 2024 optimise the same; the gradient is
    written here.
    """
    if horizon == 1:
        return ToeplitzStrategy(())
    remaining = np.arange(horizon, 0, -1) / horizon

    def squared_error(tail: Floats) -> tuple[float, Floats]:
        response = np.concatenate([[1.0], tail])
        decoder = _inverse(np.diff(response, prepend=0.0))
        energy = float(remaining @ decoder**2)
        norm = float(response @ response)
        # d energy / d coefficient n of B⁻¹ is −2 Σ_t remaining_t b_t (b ∗ b)_(t − n).
        twice = convolve(decoder, decoder)[:horizon]
        by_coefficient = -2 * convolve((remaining * decoder)[::-1], twice)[:horizon][::-1]
        by_response = by_coefficient - np.append(by_coefficient[1:], 0.0)
        gradient = 2 * response * energy + norm * by_response
        return norm * energy / horizon, gradient[1:] / horizon

    start = 1 - np.cumsum(damped_root_weights(1.0, horizon - 1))
    found = scipy.optimize.minimize(
        squared_error, start, jac=True, method="L-BFGS-B", options={"maxiter": 400, "ftol": 1e-13, "gtol": 1e-9}
    )
    return nearest(-np.diff(np.concatenate([[1.0], found.x])))


def _inverse(coefficients: Floats) -> Floats:
    """The power series 1/Σ coefficients·zⁿ to as many terms, by Newton's iteration."""
    inverse = np.array([1 / coefficients[0]])
    while len(inverse) < len(coefficients):
        size = min(2 * len(inverse), len(coefficients))
        error = -convolve(coefficients[:size], inverse)[:size]
        error[0] += 2
        inverse = convolve(inverse, error)[:size]
    return inverse
