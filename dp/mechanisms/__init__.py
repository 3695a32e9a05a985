"""The family of mechanisms: a literal dict from the name on the command line to what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dp.extensions import registered
from dp.mechanisms import (
    adaptive_flippancy_design,
    binary_tree,
    buffered_toeplitz,
    damped_square_root,
    honaker_tree,
    independent,
    optimal,
    smooth_binary,
    sparse_vector,
    square_root,
    subtraction_tree,
)
from dp.mechanisms.linear import LinearDesign, LinearMechanism, Strategy
from dp.mechanisms.linear_design import choose as choose_linear
from dp.mechanisms.protocol import EMPTY_STATE, GRID, Design, Mechanism, NoiseName, State, Trials
from dp.units import ProtectedClass

DeltaUse = Literal["none", "needed", "optional"]


@dataclass(frozen=True)
class MechanismFamily:
    """How to build one mechanism, and what a reader should know of it.

    Exactly one of `strategy` and `design` is given.

    Attributes:
        noise: what is drawn.
        delta: whether its guarantee has a δ > 0.
        summary: what it does, in one line.
        proof: section of docs/guarantees.md.
        source: the paper.
        strategy: of a linear mechanism, its strategy for a class.
        design: of a mechanism whose error depends on the data, its design for a class.
        own_bounds: the flip bounds that it chooses among, for a horizon; None where it does not choose.
    """

    noise: NoiseName
    delta: DeltaUse
    summary: str
    proof: str
    source: str
    strategy: Callable[[ProtectedClass], Strategy] | None = None
    design: Callable[[ProtectedClass], Design] | None = None
    own_bounds: Callable[[int], tuple[int, ...]] | None = None

    @property
    def data_dependent(self) -> bool:
        """Whether the error depends on the counts."""
        return self.strategy is None

    @property
    def needs_w_bound(self) -> bool:
        """Whether the guarantee is for a given W_BOUND."""
        return self.strategy is not None


MECHANISMS: dict[str, MechanismFamily] = {
    "laplace": MechanismFamily(
        "laplace", "none", "independent Laplace noise every tick; pure ε",
        "2.1", "Dwork, McSherry, Nissim, Smith 2006", strategy=independent.strategy,
    ),
    "gaussian": MechanismFamily(
        "gaussian", "needed", "independent Gaussian noise every tick",
        "2.1", "Dwork, Kenthapadi, McSherry, Mironov, Naor 2006", strategy=independent.strategy,
    ),
    "binary-tree": MechanismFamily(
        "gaussian", "needed", "dyadic blocks of changes, Gaussian noise",
        "2.2", "Chan, Shi, Song 2011; Dwork, Naor, Pitassi, Rothblum 2010", strategy=binary_tree.strategy,
    ),
    "binary-tree-laplace": MechanismFamily(
        "laplace", "none", "dyadic blocks of changes, Laplace noise; pure ε",
        "2.2", "Chan, Shi, Song 2011; Dwork, Naor, Pitassi, Rothblum 2010", strategy=binary_tree.strategy,
    ),
    "subtraction-tree": MechanismFamily(
        "laplace", "none", "blocks of kⁱ ticks, added or taken away, with k chosen for the class; pure ε",
        "19", "Andersson, Pagh, Steiner, Torkamani 2025", strategy=subtraction_tree.strategy,
    ),
    "b-ary-tree": MechanismFamily(
        "gaussian", "needed", "blocks of bᵏ ticks, with the branching b chosen for the class",
        "2.2", "Qardaji, Yang, Li 2013 (choice of branching)", strategy=binary_tree.best_strategy,
    ),
    "honaker-tree": MechanismFamily(
        "gaussian", "needed", "binary tree in which every block is measured and used",
        "2.2", "Honaker 2015; Kairouz, McMahan, Song, Thakkar, Thakurta, Xu 2021", strategy=honaker_tree.strategy,
    ),
    "smooth-binary": MechanismFamily(
        "gaussian", "needed", "binary tree with the same variance at every tick",
        "2.2", "Andersson, Pagh 2023", strategy=smooth_binary.strategy,
    ),
    "square-root": MechanismFamily(
        "gaussian", "needed", "square-root factorisation of counting",
        "3", "Fichtenberger, Henzinger, Upadhyay 2023", strategy=square_root.strategy,
    ),
    "damped-square-root": MechanismFamily(
        "gaussian", "needed", "damped square root, with the damping chosen for the class",
        "3", "this project", strategy=damped_square_root.strategy,
    ),
    "buffered-toeplitz": MechanismFamily(
        "gaussian", "needed", "a few exponentials, chosen for the class; constant memory",
        "2.5", "Dvijotham, McMahan, Pillutla, Steinke, Thakurta 2024; certificate this project",
        strategy=buffered_toeplitz.strategy,
    ),
    "optimal": MechanismFamily(
        "gaussian", "needed", "the least noise we can reach for the class, by convex optimisation",
        "2.6", "Denisov, McMahan, Rush, Smith, Thakurta 2022 (one flip); classes of runs this project",
        strategy=optimal.strategy,
    ),
    "sparse-vector": MechanismFamily(
        "laplace", "optional", "released again when the count has left a private band; needs no W_BOUND",
        "12", "Henzinger, Sricharan, Steiner 2024", design=sparse_vector.SparseVectorDesign,
    ),
    "adaptive-flippancy": MechanismFamily(
        "gaussian", "needed", "finds W_BOUND itself: raises it when a private test finds frozen users; unit user",
        "13", "Jain, Kalemaj, Raskhodnikova, Sivakumar, Smith 2023",
        design=adaptive_flippancy_design.AdaptiveFlippancyDesign, own_bounds=adaptive_flippancy_design.rising_bounds,
    ),
}  # fmt: skip


def design(name: str, protected: ProtectedClass) -> Design:
    """Choose what serves a class; for linear mechanisms the strategy, with a bound on its sensitivity.

    Raises:
        ValueError: the name is unknown, or the mechanism cannot serve the class.
    """
    family = family_of(name)
    return linear_design(name, protected) if family.design is None else family.design(protected)


def family_of(name: str) -> MechanismFamily:
    """What a mechanism is made of: one of `MECHANISMS`, or of another package (`dp.extensions`).

    Raises:
        ValueError: the name is unknown.
    """
    return registered("mechanisms", name, MECHANISMS, MechanismFamily)


def linear_design(name: str, protected: ProtectedClass) -> LinearDesign:
    """`design` of a mechanism that is known to be linear.

    Raises:
        ValueError: it is not, or it cannot serve the class.
    """
    family = family_of(name)
    if family.strategy is None:
        raise ValueError(f"mechanism is {name!r}, which is not linear; its error depends on the data")
    return choose_linear(name, family.noise, family.strategy, protected)


__all__ = [
    "EMPTY_STATE",
    "GRID",
    "MECHANISMS",
    "Design",
    "LinearDesign",
    "LinearMechanism",
    "Mechanism",
    "MechanismFamily",
    "State",
    "Strategy",
    "Trials",
    "design",
    "family_of",
    "linear_design",
]  # fmt: skip
