"""Configs of audits and of attacks. What checks them is imported when it is needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from experiments.engine import digests
from experiments.engine.validation import refuse_unknown
from experiments.kinds.mechanisms.config import OWN_BOUND


@dataclass(frozen=True)
class AuditPoint:
    """What is audited: a mechanism or a sketch at one guarantee, or a broken twin, whose guarantee is its own.

    Attributes:
        subject: its name.
        unit: of a mechanism, else None.
        epsilon: None for a twin.
    """

    kind: Literal["mechanism", "sketch", "twin"]
    subject: str
    unit: str | None = None
    epsilon: float | None = None

    @property
    def identity(self) -> str:
        """The point in words; seeds and shards derive from it."""
        chosen = {self.kind: self.subject, "unit": self.unit, "epsilon": self.epsilon}
        return " ".join(f"{name}={value}" for name, value in chosen.items() if value is not None)


class AuditGrid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mechanisms, units and ε to combine; sketches and ε; and twins besides."""

    mechanism: list[str]
    unit: list[str]
    epsilon: list[float]
    sketch: list[str] = []
    twin: list[str] = []


class AuditConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One audit (`kind = "audit"`): the ε that attacks prove against the ε that is promised.

    Attributes:
        name: of the table and the figure.
        figure: how to draw the table, a name in `experiments.kinds.figures.FIGURES`.
        finding: what the table says, in one sentence.
        window: trailing days of the series.
        horizon: ticks T.
        delta: of the mechanisms that need one.
        trials: releases at each point, half of them with the change.
        attempts: audits of each twin, and of the right way, at every number of trials until the twin is caught.
        seed: with a point's identity it gives the point's own seed.
        tolerance: largest relative difference between two runs on different machines.
    """

    name: str
    question: str
    figure: str
    finding: str
    window: int
    w_bound: int
    horizon: int
    delta: float
    trials: int
    attempts: int
    seed: int
    grid: AuditGrid
    tolerance: float | msgspec.UnsetType = msgspec.UNSET

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all values, in hex."""
        return digests.of_values(self)

    def points(self) -> Iterator[AuditPoint]:
        """All points of the grid, in its order: the mechanisms where they serve the unit, the sketches, the twins."""
        grid = self.grid
        for name, unit, epsilon in itertools.product(grid.mechanism, grid.unit, grid.epsilon):
            if (name, unit) != (OWN_BOUND, "user-day"):
                yield AuditPoint("mechanism", name, unit, epsilon)
        for name, epsilon in itertools.product(grid.sketch, grid.epsilon):
            yield AuditPoint("sketch", name, None, epsilon)
        yield from (AuditPoint("twin", name) for name in grid.twin)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        from dp.accounting.gaussian import validate_guarantee
        from dp.auditing.twins import TWINS
        from dp.mechanisms import MECHANISMS
        from dp.sketches import SKETCHES
        from dp.units import UNITS, protected_class

        for key, values, known in (
            ("mechanism", self.grid.mechanism, MECHANISMS),
            ("unit", self.grid.unit, UNITS),
            ("sketch", self.grid.sketch, SKETCHES),
            ("twin", self.grid.twin, TWINS),
        ):
            refuse_unknown(f"grid.{key}", values, known)
        for epsilon in self.grid.epsilon:
            validate_guarantee(epsilon, self.delta)
        if self.trials < 100:
            raise ValueError(f"trials is {self.trials}; an audit needs at least 100")
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}; at least 1 is needed")
        for unit in self.grid.unit:
            protected_class(unit, self.window, self.w_bound, self.horizon)


@dataclass(frozen=True)
class AttackPoint:
    """An attack and one of its targets."""

    attack: str
    target: str

    @property
    def identity(self) -> str:
        """The point in words; seeds and shards derive from it."""
        return f"attack={self.attack} target={self.target.replace(' ', '-')}"


class AttackConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All attacks against all of their targets (`kind = "attacks"`).

    Attributes:
        name: of the table and the figure.
        figure: how to draw the table, a name in `experiments.kinds.figures.FIGURES`.
        finding: what the table says, in one sentence.
        quick: fewer trials, with less power.
        seed: with a point's identity it gives the point's own seed.
        attacks: names in `dp.auditing.attacks.ATTACKS`.
        tolerance: largest relative difference between two runs on different machines.
    """

    name: str
    question: str
    figure: str
    finding: str
    quick: bool
    seed: int
    attacks: list[str]
    tolerance: float | msgspec.UnsetType = msgspec.UNSET

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all values, in hex."""
        return digests.of_values(self)

    def points(self) -> Iterator[AttackPoint]:
        """Every attack with each of its targets, the real one first."""
        from dp.auditing.attacks import ATTACKS

        for name in self.attacks:
            yield from (AttackPoint(name, target) for target in ATTACKS[name].targets)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        from dp.auditing.attacks import ATTACKS

        refuse_unknown("attacks", self.attacks, ATTACKS)
