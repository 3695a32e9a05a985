"""Configs of experiments with accountants. What checks them is imported when it is needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from experiments.engine import digests
from experiments.engine.validation import refuse_unknown

RELEASES = ("gaussian", "discrete-laplace")
"""Releases that can be accounted for."""


@dataclass(frozen=True)
class AccountantPoint:
    """A number of like releases, seen by one accountant."""

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


class AccountantConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One experiment with accountants (`kind = "accountants"`): the ε that each reports for a number of releases.

    Attributes:
        name: of the table and the figure.
        figure: how to draw the table, a name in `experiments.kinds.figures.FIGURES`.
        finding: what the table says, in one sentence.
        delta: of all releases together.
        releases: by name the one number that says what a release is: of "gaussian" its noise multiplier, the standard
            deviation over the ℓ₂ sensitivity; of "discrete-laplace" its ε, the sensitivity being 1.
        tolerance: largest relative difference between two runs on different machines.
    """

    name: str
    question: str
    figure: str
    finding: str
    delta: float
    releases: dict[str, float]
    grid: AccountantGrid
    tolerance: float | msgspec.UnsetType = msgspec.UNSET

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all values, in hex."""
        return digests.of_values(self)

    def points(self) -> Iterator[AccountantPoint]:
        """All points: releases, then the grid in its order."""
        for values in itertools.product(self.releases, self.grid.accountant, self.grid.count):
            yield AccountantPoint(*values)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        from dp.accounting.accountants import ACCOUNTANTS
        from experiments.kinds.accountants.trials import part_of

        if not 0 < self.delta < 1:
            raise ValueError(f"delta is {self.delta}; it must lie strictly between 0 and 1, for instance 1e-6")
        for key, values, known in (
            ("releases", list(self.releases), RELEASES),
            ("grid.accountant", self.grid.accountant, tuple(ACCOUNTANTS)),
        ):
            if not values:
                raise ValueError(f"{key} needs at least one value")
            refuse_unknown(key, values, known)
        if not self.grid.count:
            raise ValueError("grid.count needs at least one value")
        for release, parameter in self.releases.items():
            for count in self.grid.count:
                part_of(release, parameter, count)
