"""The family of mechanisms: a literal dict from the name on the command line to what it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dp.mechanisms import binary_tree, damped_square_root, independent, square_root
from dp.mechanisms.linear import EMPTY_HISTORY, GRID, History, Mechanism, Row, Strategy
from dp.noise import GaussianNoise, LaplaceNoise
from dp.units import ProtectedClass

NoiseName = Literal["gaussian", "laplace"]


@dataclass(frozen=True)
class Family:
    """How to build one mechanism: its noise, its strategy for a class, and what a reader should know of it."""

    noise: NoiseName
    strategy: Callable[[ProtectedClass], Strategy]
    summary: str


MECHANISMS: dict[str, Family] = {
    "laplace": Family("laplace", independent.strategy, "independent Laplace noise every tick; pure ε"),
    "gaussian": Family("gaussian", independent.strategy, "independent Gaussian noise every tick"),
    "binary-tree": Family("gaussian", binary_tree.strategy, "dyadic blocks of changes, Gaussian noise"),
    "binary-tree-laplace": Family("laplace", binary_tree.strategy, "dyadic blocks of changes, Laplace noise; pure ε"),
    "square-root": Family("gaussian", square_root.strategy, "square-root factorisation of counting"),
    "damped-square-root": Family(
        "gaussian", damped_square_root.strategy, "damped square root, the damping chosen for the class"
    ),
}


@dataclass(frozen=True)
class Design:
    """A strategy for a class with its sensitivity: everything but the noise scale.

    Attributes:
        sensitivity: users; ℓ₂ for Gaussian noise, ℓ₁ for Laplace noise.
        touched: most measurements that one protected change can alter.
    """

    name: str
    noise: NoiseName
    strategy: Strategy
    sensitivity: float
    touched: int

    def with_scale(self, scale: float) -> Mechanism:
        """The mechanism whose noise has at least that scale in grid units (rounded up to a whole number)."""
        kind = GaussianNoise if self.noise == "gaussian" else LaplaceNoise
        return Mechanism(self.name, self.strategy, kind(math.ceil(scale)), self.sensitivity, self.touched)


def design(name: str, protected: ProtectedClass) -> Design:
    """Choose the strategy for a class and bound its sensitivity.

    Raises:
        ValueError: the name is unknown, or the mechanism cannot serve the class.
    """
    if name not in MECHANISMS:
        raise ValueError(f"mechanism is {name!r}; choose one of {', '.join(MECHANISMS)}")
    family = MECHANISMS[name]
    strategy = family.strategy(protected)
    squared = strategy.sensitivity_squared(protected)
    # Strategies that serve Laplace noise change every measurement by −1, 0 or 1, for which ℓ₁ = ℓ₂².
    sensitivity = squared if family.noise == "laplace" else math.sqrt(squared)
    return Design(name, family.noise, strategy, sensitivity, strategy.touched(protected))


__all__ = [
    "EMPTY_HISTORY", "GRID", "MECHANISMS", "Design", "Family", "History", "Mechanism", "Row", "Strategy", "design",
]  # fmt: skip
