"""How guarantees add up: basic composition, zCDP, and Gaussian mechanisms exactly."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from scipy.optimize import minimize_scalar


class Guarantee(NamedTuple):
    """(ε, δ)-differential privacy; δ = 0 is pure."""

    epsilon: float
    delta: float


def basic(guarantees: Iterable[Guarantee]) -> Guarantee:
    """ε and δ of adaptively composed mechanisms: both add up (Dwork and Roth 2014, theorem 3.16)."""
    parts = list(guarantees)
    return Guarantee(math.fsum(part.epsilon for part in parts), math.fsum(part.delta for part in parts))


def zcdp_of_gaussian(mu: float) -> float:
    """ρ = μ²/2 of a Gaussian mechanism (Bun and Steinke 2016, proposition 6); discrete Gaussian likewise."""
    return mu**2 / 2


def zcdp_epsilon(rho: float, delta: float) -> float:
    """The ε at `delta` that ρ-zCDP implies, by the best Rényi order.

    ε = inf over α > 1 of αρ + (ln(1/δ) + (α − 1) ln(1 − 1/α) − ln α)/(α − 1) (Canonne, Kamath and Steinke 2020,
    proposition 12). ρ adds up under composition.
    """
    if rho < 0:
        raise ValueError(f"rho is {rho}; it must not be negative")
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}; it must lie strictly between 0 and 1")
    if rho == 0:
        return 0.0

    def epsilon(log_order: float) -> float:
        order_less_one = math.exp(log_order)
        order = 1 + order_less_one
        return order * rho + (-math.log(delta) - math.log(order)) / order_less_one + math.log1p(-1 / order)

    best = minimize_scalar(epsilon, bounds=(-12.0, 25.0), method="bounded", options={"xatol": 1e-12})
    return max(0.0, float(best.fun))


def gaussian_mu(parts: Iterable[float]) -> float:
    """μ of composed Gaussian mechanisms: √Σμ², exact (Dong, Roth and Su 2022, corollary 2)."""
    return math.sqrt(math.fsum(mu**2 for mu in parts))
