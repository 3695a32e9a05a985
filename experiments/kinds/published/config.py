"""Configs that set published norms beside our own. What checks them is imported when it is needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from experiments.engine.config import ExperimentConfig
from experiments.engine.grid import refuse_empty, refuse_unknown
from experiments.engine.kind import Kind

FACTORISATIONS = ("binary-tree", "honaker-tree", "square-root", "toeplitz", "dense")
"""Computed from strategies in `dp.mechanisms`, "toeplitz" and "dense" being the best of their kind."""
BOUNDS = (
    "lower-bound", "mathias-1993", "matousek-nikolov-talwar-2020",
    "henzinger-kalinin-upadhyay-2025-above", "henzinger-kalinin-upadhyay-2025-below",
)  # fmt: skip
"""The computed lower bound, and formulas from papers."""
LONGEST_DENSE = 512
"""Longest horizon at which the dense optimum and its lower bound take seconds."""


@dataclass(frozen=True)
class PublishedPoint:
    """One factorisation, or one bound, at one horizon."""

    subject: str
    horizon: int

    @property
    def identity(self) -> str:
        """The point in words; shards derive from it."""
        return f"subject={self.subject} horizon={self.horizon}"


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number that was computed elsewhere: squared error of prefix sums times squared sensitivity.

    Attributes:
        subject: one of FACTORISATIONS.
        horizon: T.
        mean_square: the mean over the ticks.
        largest_square: the largest over the ticks; None if unknown.
        source: the paper that the factorisation is from.
    """

    subject: str
    horizon: int
    mean_square: float
    source: str
    largest_square: float | None = None


class PublishedGrid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values to combine; every combination is one point, except those that take too long, see LONGEST_DENSE."""

    subject: list[str]
    horizon: list[int]


class PublishedConfig(ExperimentConfig, frozen=True, kw_only=True):
    """Factorisation norms of the prefix sum (`kind = "published"`), ours beside what was published.

    See `ExperimentConfig` for what all configs have.

    Attributes:
        references: the numbers to set beside ours, at points of the grid.
    """

    kind: ClassVar[Kind] = Kind(
        "published", "experiments.kinds.published", "trials.evaluate_published", "trials.published_tasks"
    )

    references: list[Reference]
    grid: PublishedGrid

    def points(self) -> Iterator[PublishedPoint]:
        """All points of the grid, in its order."""
        for subject, horizon in itertools.product(self.grid.subject, self.grid.horizon):
            if subject not in ("dense", "lower-bound") or horizon <= LONGEST_DENSE:
                yield PublishedPoint(subject, horizon)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        refuse_unknown("grid.subject", self.grid.subject, (*FACTORISATIONS, *BOUNDS))
        refuse_empty(msgspec.to_builtins(self.grid))
        if min(self.grid.horizon) < 1:
            raise ValueError(f"grid.horizon has {min(self.grid.horizon)}; it is a number of ticks, at least 1")
        points = set(self.points())
        for one in self.references:
            if PublishedPoint(one.subject, one.horizon) not in points:
                raise ValueError(f"references has {one.subject} at horizon {one.horizon}, no point of the grid")
