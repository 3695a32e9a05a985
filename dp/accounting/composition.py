"""How guarantees add up: basic composition, zCDP, and Gaussian mechanisms exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import scipy

from dp.arrays import Floats


class Guarantee(NamedTuple):
    """(ε, δ)-differential privacy; δ = 0 is pure."""

    epsilon: float
    delta: float


def basic(guarantees: Iterable[Guarantee]) -> Guarantee:
    """ε and δ of adaptively composed mechanisms: both add up (Dwork and Roth 2014, theorem 3.16)."""
    parts = list(guarantees)
    return Guarantee(math.fsum(part.epsilon for part in parts), math.fsum(part.delta for part in parts))


def zcdp_of_gaussian(mu: float) -> float:
    """ρ = μ²/2 of a Gaussian mechanism (Bun and Steinke 2016, proposition 6), and of a discrete Gaussian one."""
    return mu**2 / 2


def zcdp_epsilon(rho: float, delta: float) -> float:
    """The ε at `delta` that ρ-zCDP implies, by the best Rényi order. ρ adds up under composition."""
    if rho < 0:
        raise ValueError(f"rho is {rho}; it must not be negative")
    if rho == 0:
        validate_delta(delta)
        return 0.0
    return renyi_epsilon(lambda orders: rho * orders, delta)


def renyi_epsilon(curve: Callable[[Floats], Floats], delta: float) -> float:
    """The ε at `delta` that a Rényi curve implies, by the best order.

    ε = inf over α > 1 of D_α + (ln(1/δ) + (α − 1) ln(1 − 1/α) − ln α)/(α − 1) (Canonne, Kamath and Steinke 2020,
    proposition 12). Every order gives a valid ε, so that the search needs no proof.

    Args:
        curve: Rényi divergence D_α at each of an array of orders α > 1. Curves add up under composition.
        delta: strictly between 0 and 1.
    """
    validate_delta(delta)

    def epsilons(log_orders: Floats) -> Floats:
        less_one = np.exp(log_orders)
        orders = 1 + less_one
        penalty: Floats = (-math.log(delta) - np.log(orders)) / less_one + np.log1p(-1 / orders)
        return curve(orders) + penalty

    grid = np.linspace(-12.0, 25.0, 75)
    best = int(np.argmin(epsilons(grid)))
    bracket = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    refined = scipy.optimize.minimize_scalar(
        lambda log_order: float(epsilons(np.array([log_order]))[0]),
        bounds=bracket,
        method="bounded",
        options={"xatol": 1e-12},
    )
    return max(0.0, float(refined.fun))


def validate_delta(delta: float) -> None:
    """Raise ValueError unless 0 < delta < 1."""
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}; it must lie strictly between 0 and 1")


def gaussian_mu(parts: Iterable[float]) -> float:
    """μ of composed Gaussian mechanisms: √Σμ², exact (Dong, Roth and Su 2022, corollary 2)."""
    return math.sqrt(math.fsum(mu**2 for mu in parts))
