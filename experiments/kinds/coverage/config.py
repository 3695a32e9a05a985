"""Configs of experiments on intervals. What checks them is imported when it is needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from dp.names import MECHANISMS, OWN_BOUND_MECHANISMS
from experiments.engine.config import ExperimentConfig
from experiments.engine.grid import refuse_empty, refuse_unknown
from experiments.engine.kind import Kind


@dataclass(frozen=True)
class CoveragePoint:
    """One mechanism at one ε, on all users (rate 1) or on a sample of them."""

    mechanism: str
    epsilon: float
    rate: float

    @property
    def identity(self) -> str:
        """The point in words; seeds and shards derive from it."""
        return f"mechanism={self.mechanism} epsilon={self.epsilon} rate={self.rate}"


class CoverageGrid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values to combine; every combination is one point.

    Attributes:
        rate: share of the users whom the sketch fixed-rate keeps; 1 for all of them, counted exactly.
    """

    mechanism: list[str]
    epsilon: list[float]
    rate: list[float]


class CoverageConfig(ExperimentConfig, frozen=True, kw_only=True):
    """One experiment on intervals (`kind = "coverage"`): how often they hold the true count.

    Every user of the log is active on one day, and so present for `window` ticks. See `ExperimentConfig` for what all
    configs have.

    Attributes:
        window: trailing days.
        horizon: ticks T.
        arrivals: average number of users who are active on a day.
        delta: of the mechanisms that need one.
        level: of the pointwise intervals, and of the band that holds all T counts at once: each of its intervals has
            the level 1 − (1 − level)/T, by Bonferroni.
        trials: fresh samples and noise at each point.
        seed: with a point's identity it gives the point's own seed; by itself, that of the log.
    """

    kind: ClassVar[Kind] = Kind("coverage", "experiments.kinds.coverage", "trials.evaluate_coverage")

    unit: str
    w_bound: int
    window: int
    horizon: int
    arrivals: int
    delta: float
    level: float
    trials: int
    seed: int
    grid: CoverageGrid

    def points(self) -> Iterator[CoveragePoint]:
        """All points of the grid, in its order."""
        for values in itertools.product(self.grid.mechanism, self.grid.epsilon, self.grid.rate):
            yield CoveragePoint(*values)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        from dp.accounting.gaussian import validate_guarantee
        from dp.intervals.sample import validate_rate
        from dp.noise import validate_level
        from dp.units import protected_class

        refuse_empty(msgspec.to_builtins(self.grid))
        # Its intervals are for a count with a W_BOUND that it chooses itself.
        refuse_unknown(
            "grid.mechanism", self.grid.mechanism, (name for name in MECHANISMS if name not in OWN_BOUND_MECHANISMS)
        )
        for epsilon in self.grid.epsilon:
            validate_guarantee(epsilon, self.delta)
        for rate in self.grid.rate:
            validate_rate(rate)
        validate_level(self.level)
        protected_class(self.unit, self.window, self.w_bound, self.horizon)
        if self.arrivals < 1:
            raise ValueError(f"arrivals is {self.arrivals} users a day; it must be at least 1")
