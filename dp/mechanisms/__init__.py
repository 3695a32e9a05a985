"""The family of mechanisms: a literal dict from the name on the command line to what it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from dp.mechanisms import (
    binary_tree,
    buffered_toeplitz,
    damped_square_root,
    design_cache,
    honaker_tree,
    independent,
    optimal,
    smooth_binary,
    square_root,
)
from dp.mechanisms.linear import LinearMechanism, Strategy
from dp.mechanisms.protocol import EMPTY_STATE, GRID, Mechanism, State
from dp.noise import GaussianNoise, LaplaceNoise
from dp.units import ProtectedClass

NoiseName = Literal["gaussian", "laplace"]
DeltaUse = Literal["none", "needed", "optional"]


@dataclass(frozen=True)
class Family:
    """How to build one mechanism, and what a reader should know of it.

    Attributes:
        noise: what is drawn.
        delta: whether its guarantee has a δ > 0.
        strategy: its strategy for a class; None where it is not linear and `dp.accounting.calibrate` builds it whole.
        proof: section of docs/guarantees.md.
        source: the paper.
    """

    noise: NoiseName
    delta: DeltaUse
    strategy: Callable[[ProtectedClass], Strategy] | None
    summary: str
    proof: str
    source: str


MECHANISMS: dict[str, Family] = {
    "laplace": Family(
        "laplace", "none", independent.strategy, "independent Laplace noise every tick; pure ε",
        "2.1", "Dwork, McSherry, Nissim, Smith 2006",
    ),
    "gaussian": Family(
        "gaussian", "needed", independent.strategy, "independent Gaussian noise every tick",
        "2.1", "Dwork, Kenthapadi, McSherry, Mironov, Naor 2006",
    ),
    "binary-tree": Family(
        "gaussian", "needed", binary_tree.strategy, "dyadic blocks of changes, Gaussian noise",
        "2.2", "Chan, Shi, Song 2011; Dwork, Naor, Pitassi, Rothblum 2010",
    ),
    "binary-tree-laplace": Family(
        "laplace", "none", binary_tree.strategy, "dyadic blocks of changes, Laplace noise; pure ε",
        "2.2", "Chan, Shi, Song 2011; Dwork, Naor, Pitassi, Rothblum 2010",
    ),
    "b-ary-tree": Family(
        "gaussian", "needed", binary_tree.best_strategy, "blocks of bᵏ ticks, the branching b chosen for the class",
        "2.2", "Qardaji, Yang, Li 2013 (choice of branching)",
    ),
    "honaker-tree": Family(
        "gaussian", "needed", honaker_tree.strategy, "binary tree whose every block is measured and none is wasted",
        "2.2", "Honaker 2015; Kairouz, McMahan, Song, Thakkar, Thakurta, Xu 2021",
    ),
    "smooth-binary": Family(
        "gaussian", "needed", smooth_binary.strategy, "binary tree with the same variance at every tick",
        "2.2", "Andersson, Pagh 2023",
    ),
    "square-root": Family(
        "gaussian", "needed", square_root.strategy, "square-root factorisation of counting",
        "3", "Fichtenberger, Henzinger, Upadhyay 2023",
    ),
    "damped-square-root": Family(
        "gaussian", "needed", damped_square_root.strategy, "damped square root, the damping chosen for the class",
        "3", "this project",
    ),
    "buffered-toeplitz": Family(
        "gaussian", "needed", buffered_toeplitz.strategy, "a few exponentials chosen for the class; constant memory",
        "2.5", "Dvijotham, McMahan, Pillutla, Steinke, Thakurta 2024; certificate this project",
    ),
    "optimal": Family(
        "gaussian", "needed", optimal.strategy, "the best factorisation known for the class, by convex optimisation",
        "2.6", "Denisov, McMahan, Rush, Smith, Thakurta 2022 (one flip); classes of runs this project",
    ),
    "sparse-vector": Family(
        "laplace", "optional", None, "released again when the count has left a private band; needs no W_BOUND",
        "12", "Henzinger, Sricharan, Steiner 2024",
    ),
    "adaptive-flippancy": Family(
        "gaussian", "needed", None, "W_BOUND unknown: raised when a private test finds users frozen; unit user",
        "13", "Jain, Kalemaj, Raskhodnikova, Sivakumar, Smith 2023",
    ),
}  # fmt: skip


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

    def with_scale(self, scale: float) -> LinearMechanism:
        """The mechanism whose noise has at least that scale in grid units (rounded up to a whole number)."""
        kind = GaussianNoise if self.noise == "gaussian" else LaplaceNoise
        return LinearMechanism(self.name, self.strategy, kind(math.ceil(scale)), self.sensitivity, self.touched)


@dataclass(frozen=True)
class DataDependent:
    """A mechanism whose error depends on the data, for a class: everything but the guarantee."""

    name: str
    protected: ProtectedClass


def design(name: str, protected: ProtectedClass) -> Design | DataDependent:
    """Choose what serves a class; for linear mechanisms the strategy, with a bound on its sensitivity.

    Raises:
        ValueError: the name is unknown, or the mechanism cannot serve the class.
    """
    if family_of(name).strategy is None:
        return DataDependent(name, protected)
    return linear_design(name, protected)


def family_of(name: str) -> Family:
    """What a mechanism is made of.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in MECHANISMS:
        raise ValueError(f"mechanism is {name!r}; choose one of {', '.join(MECHANISMS)}")
    return MECHANISMS[name]


@lru_cache(maxsize=128)
def linear_design(name: str, protected: ProtectedClass) -> Design:
    """`design` of a mechanism that is known to be linear; kept, because one serves every ε and takes long to choose.

    Raises:
        ValueError: it is not, or it cannot serve the class.
    """
    family = family_of(name)
    if family.strategy is None:
        raise ValueError(f"mechanism is {name!r}, which is not linear; its error depends on the data")
    strategy, squared, touched = design_cache.choice(name, protected, family.strategy)
    # Strategies that serve Laplace noise change every measurement by −1, 0 or 1, for which ℓ₁ = ℓ₂².
    sensitivity = squared if family.noise == "laplace" else math.sqrt(squared)
    return Design(name, family.noise, strategy, sensitivity, touched)


__all__ = [
    "EMPTY_STATE", "GRID", "MECHANISMS", "DataDependent", "Design", "Family", "LinearMechanism", "Mechanism", "State",
    "Strategy", "design", "family_of", "linear_design",
]  # fmt: skip
