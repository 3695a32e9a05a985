"""Factorisation norms of the prefix-sum matrix: one row a factorisation, or a bound, and a horizon."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dp.mechanisms import dense, optimal
from dp.mechanisms.binary_tree import strategy as binary_tree
from dp.mechanisms.honaker_tree import strategy as honaker_tree
from dp.mechanisms.linear import Strategy
from dp.mechanisms.lower_bound import lower_bound
from dp.mechanisms.square_root import strategy as square_root
from dp.units import ProtectedClass, protected_class
from experiments.kinds.published.config import FACTORISATIONS, PublishedConfig, PublishedPoint, Reference

PUBLISHED_STRATEGIES: dict[str, Callable[[ProtectedClass], Strategy]] = {
    "binary-tree": binary_tree,
    "honaker-tree": honaker_tree,
    "square-root": square_root,
    "toeplitz": lambda protected: optimal.best_toeplitz(protected.horizon or 1),
    "dense": dense.strategy,
}

FORMULAS: dict[str, Callable[[int], tuple[float | None, float]]] = {
    "mathias-1993": lambda horizon: (None, 1 + math.log(horizon) / math.pi),
    "matousek-nikolov-talwar-2020": lambda horizon: (None, (2 + math.log((2 * horizon + 1) / 3)) / math.pi),
    "henzinger-kalinin-upadhyay-2025-above": lambda horizon: _above_logarithm(horizon, 0.748, 0.846),
    "henzinger-kalinin-upadhyay-2025-below": lambda horizon: _above_logarithm(horizon, 0.701, 0.701),
}
"""Bounds on γ_F and γ₂ of the prefix sum, all as the abstract of Henzinger, Kalinin and Upadhyay 2025 states them
("Normalized square root: sharper matrix factorization bounds for differentially private continual counting", arXiv
2509.14334): the best on γ₂ before theirs, from above and from below; and theirs, up to o(1)."""


@dataclass(frozen=True)
class PublishedTask:
    """A point with all that its row depends on.

    Attributes:
        reference: what was computed elsewhere for it, or None.
    """

    point: PublishedPoint
    reference: Reference | None


def published_tasks(config: PublishedConfig, wanted: Sequence[PublishedPoint], folder: Path) -> list[PublishedTask]:
    """A task for each point; the folder is left empty."""
    known = {(one.subject, one.horizon): one for one in config.references}
    return [PublishedTask(point, known.get((point.subject, point.horizon))) for point in wanted]


def evaluate_published(task: PublishedTask) -> dict[str, Any]:
    """One row: `rms` and `largest` are ‖column‖ of B⁻¹ times the root mean square and the largest ‖row‖ of B.

    Their least values over all factorisations are the norms γ_F and γ₂. A bound on one says nothing about the
    other, which is then None. `reference_rms` and `reference_largest` are the numbers from elsewhere, None without any.
    """
    point, known = task.point, task.reference
    rms, largest = norms(point.subject, point.horizon)
    most = known.largest_square if known else None
    return {
        "subject": point.subject,
        "horizon": point.horizon,
        "rms": rms,
        "largest": largest,
        "reference_rms": math.sqrt(known.mean_square) if known else None,
        "reference_largest": math.sqrt(most) if most else None,
        "source": known.source if known else None,
    }


def norms(subject: str, horizon: int) -> tuple[float | None, float | None]:
    """Root mean square and largest error of prefix sums over `horizon` ticks, for a sensitivity of 1.

    The running sum of a stream in which one entry may change is the count of a user with one flip.
    """
    protected = protected_class("user", 1, 1, horizon)
    if subject in FACTORISATIONS:
        strategy = PUBLISHED_STRATEGIES[subject](protected)
        squares = strategy.sensitivity_squared(protected) * strategy.decoder_energy(horizon)
        return math.sqrt(squares.mean()), math.sqrt(squares.max())
    if subject == "lower-bound":
        return lower_bound(protected), None
    return FORMULAS[subject](horizon)


def _above_logarithm(horizon: int, rms: float, largest: float) -> tuple[float, float]:
    return rms + math.log(horizon) / math.pi, largest + math.log(horizon) / math.pi
