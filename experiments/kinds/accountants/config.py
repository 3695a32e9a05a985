"""Configs of experiments with accountants. What checks them is imported when it is needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from experiments.engine.config import ExperimentConfig
from experiments.engine.grid import refuse_empty, refuse_unknown
from experiments.engine.kind import Kind

RELEASES = ("gaussian", "discrete-laplace")
"""Releases that can be accounted for."""


@dataclass(frozen=True)
class AccountantPoint:
    """A number of equal releases, under one accountant."""

    release: str
    accountant: str
    count: int

    @property
    def identity(self) -> str:
        """The point in words; shards derive from it."""
        return f"release={self.release} accountant={self.accountant} count={self.count}"


class AccountantGrid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values to combine; every combination is one point.

    Attributes:
        count: how many releases, one a day.
    """

    accountant: list[str]
    count: list[int]


class AccountantConfig(ExperimentConfig, frozen=True, kw_only=True):
    """One experiment with accountants (`kind = "accountants"`): the ε that each reports for a number of releases.

    See `ExperimentConfig` for what all configs have.

    Attributes:
        delta: of all releases together.
        releases: by name, the one number that describes a release: for "gaussian" its noise multiplier (standard
            deviation over ℓ₂ sensitivity), for "discrete-laplace" its ε at sensitivity 1.
    """

    kind: ClassVar[Kind] = Kind("accountants", "experiments.kinds.accountants", "trials.evaluate_accountant")

    delta: float
    releases: dict[str, float]
    grid: AccountantGrid

    def points(self) -> Iterator[AccountantPoint]:
        """All points: releases, then the grid in its order."""
        for values in itertools.product(self.releases, self.grid.accountant, self.grid.count):
            yield AccountantPoint(*values)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        from dp.accounting.accountants import ACCOUNTANTS
        from experiments.kinds.accountants.events import part_of

        if not 0 < self.delta < 1:
            raise ValueError(f"delta is {self.delta}; it must lie strictly between 0 and 1, for instance 1e-6")
        if not self.releases:
            raise ValueError("releases needs at least one value")
        refuse_empty(msgspec.to_builtins(self.grid))
        refuse_unknown("releases", self.releases, RELEASES)
        refuse_unknown("grid.accountant", self.grid.accountant, ACCOUNTANTS)
        for release, parameter in self.releases.items():
            for count in self.grid.count:
                part_of(release, parameter, count)
