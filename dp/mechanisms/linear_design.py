"""The strategy that a linear mechanism runs for a class, with the bound on its sensitivity."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from dp.mechanisms import design_cache
from dp.mechanisms.linear import LinearDesign, Strategy
from dp.mechanisms.protocol import NoiseName
from dp.units import ProtectedClass


@lru_cache(maxsize=128)
def choose(
    name: str, noise: NoiseName, strategy_for: Callable[[ProtectedClass], Strategy], protected: ProtectedClass
) -> LinearDesign:
    """The design of a mechanism for a class; kept in the process, because one serves every ε and takes long to choose.

    Raises:
        ValueError: the strategy cannot serve the class.
    """
    return design_of(name, noise, *design_cache.choice(name, protected, strategy_for))


def design_of(name: str, noise: NoiseName, strategy: Strategy, squared: float, touched: int) -> LinearDesign:
    """The design of a strategy with this ℓ₂ sensitivity², and so many measurements that one change can alter."""
    # Strategies that serve Laplace noise change every measurement by −1, 0 or 1, for which ℓ₁ = ℓ₂².
    sensitivity = squared if noise == "laplace" else math.sqrt(squared)
    return LinearDesign(name, noise, strategy, sensitivity, touched)
