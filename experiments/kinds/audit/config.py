"""Configs of audits. What checks them is imported when it is needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import msgspec

from dp.names import OWN_BOUND_MECHANISMS, UNITS
from experiments.engine.config import ExperimentConfig
from experiments.engine.grid import refuse_unknown
from experiments.engine.kind import Kind


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
    """Mechanisms, units and ε to combine; sketches and ε to combine; and twins."""

    mechanism: list[str]
    unit: list[str]
    epsilon: list[float]
    sketch: list[str] = []
    twin: list[str] = []


class AuditConfig(ExperimentConfig, frozen=True, kw_only=True):
    """One audit (`kind = "audit"`): the ε that attacks prove against the ε that is promised.

    See `ExperimentConfig` for what all configs have.

    Attributes:
        window: trailing days of the series.
        horizon: ticks T.
        delta: of the mechanisms that need one.
        trials: releases at each point, half of them with the change.
        attempts: audits of each twin, and of its correct original, at every number of trials until the twin is caught.
        seed: with a point's identity it gives the point's own seed.
    """

    kind: ClassVar[Kind] = Kind("audit", "experiments.kinds.audit", "trials.evaluate_audit")

    window: int
    w_bound: int
    horizon: int
    delta: float
    trials: int
    attempts: int
    seed: int
    grid: AuditGrid

    def points(self) -> Iterator[AuditPoint]:
        """All points of the grid, in its order: the mechanisms where they serve the unit, the sketches, the twins."""
        grid = self.grid
        for name, unit, epsilon in itertools.product(grid.mechanism, grid.unit, grid.epsilon):
            if unit == "user" or name not in OWN_BOUND_MECHANISMS:
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
        from dp.units import protected_class

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
