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
from experiments.engine.population import Population


@dataclass(frozen=True)
class CoveragePoint:
    """One mechanism at one ε, on all users (rate 1) or on a sample of them.

    Attributes:
        w_bound: where the whole user is protected, after how many flips a user is frozen; None where the config's own
            unit is protected.
    """

    mechanism: str
    epsilon: float
    rate: float
    w_bound: int | None = None

    @property
    def identity(self) -> str:
        """The point in words; seeds and shards derive from it."""
        words = f"mechanism={self.mechanism} epsilon={self.epsilon} rate={self.rate}"
        return words if self.w_bound is None else f"{words} unit=user w_bound={self.w_bound}"


class CoverageGrid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values to combine; every combination is one point.

    Attributes:
        rate: share of the users whom the sketch fixed-rate keeps; 1 for all of them, counted exactly.
    """

    mechanism: list[str]
    epsilon: list[float]
    rate: list[float]


class WholeUserGrid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Points at which the whole user is protected, so that truncation can bias the counts.

    Attributes:
        population: users who come, go and take activity back.
    """

    population: Population
    mechanism: list[str]
    epsilon: list[float]
    w_bound: list[int]


class CoverageConfig(ExperimentConfig, frozen=True, kw_only=True):
    """One experiment on intervals (`kind = "coverage"`): how often they hold the true count.

    Every user of the log is active on one day, and so present for `window` ticks; those of `whole_user` come and go.
    See `ExperimentConfig` for what all configs have.

    Attributes:
        window: trailing days.
        horizon: ticks T.
        arrivals: average number of users who are active on a day.
        delta: of the mechanisms that need one.
        level: of the pointwise intervals, and of the band that holds all T counts at once: each of its intervals has
            the level 1 − (1 − level)/T, by Bonferroni.
        trials: fresh samples and noise at each point.
        seed: with a point's identity it gives the point's own seed; by itself, that of the log.
        whole_user: more points, with the unit user; `unit`, `w_bound` and `arrivals` do not concern them.
    """

    kind: ClassVar[Kind] = Kind(
        "coverage", "experiments.kinds.coverage", "trials.evaluate_coverage", "trials.coverage_tasks"
    )

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
    whole_user: WholeUserGrid | msgspec.UnsetType = msgspec.UNSET

    def points(self) -> Iterator[CoveragePoint]:
        """All points of the grids, in their order."""
        for values in itertools.product(self.grid.mechanism, self.grid.epsilon, self.grid.rate):
            yield CoveragePoint(*values)
        if isinstance(more := self.whole_user, WholeUserGrid):
            for mechanism, epsilon, w_bound in itertools.product(more.mechanism, more.epsilon, more.w_bound):
                yield CoveragePoint(mechanism, epsilon, 1.0, w_bound)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        from dp.accounting.gaussian import validate_guarantee
        from dp.intervals.sample import validate_rate
        from dp.noise import validate_level
        from dp.units import protected_class

        refuse_empty(msgspec.to_builtins(self.grid))
        _refuse_mechanisms("grid", self.grid.mechanism)
        for epsilon in self.grid.epsilon:
            validate_guarantee(epsilon, self.delta)
        for rate in self.grid.rate:
            validate_rate(rate)
        validate_level(self.level)
        protected_class(self.unit, self.window, self.w_bound, self.horizon)
        if self.arrivals < 1:
            raise ValueError(f"arrivals is {self.arrivals} users a day; it must be at least 1")
        if isinstance(self.whole_user, WholeUserGrid):
            self._check_whole_user(self.whole_user)

    def _check_whole_user(self, more: WholeUserGrid) -> None:
        from dp.accounting.gaussian import validate_guarantee
        from dp.units import protected_class

        for name, values in (("mechanism", more.mechanism), ("epsilon", more.epsilon), ("w_bound", more.w_bound)):
            if not values:
                raise ValueError(f"whole_user.{name} needs at least one value")
        _refuse_mechanisms("whole_user", more.mechanism)
        for epsilon in more.epsilon:
            validate_guarantee(epsilon, self.delta)
        for w_bound in more.w_bound:
            protected_class("user", self.window, w_bound, self.horizon)
        if more.population.days != self.horizon:
            raise ValueError(f"whole_user.population.days is {more.population.days}; the horizon is {self.horizon}")


def _refuse_mechanisms(grid: str, names: list[str]) -> None:
    # Those that choose their own W_BOUND have intervals for a count under it.
    refuse_unknown(f"{grid}.mechanism", names, (name for name in MECHANISMS if name not in OWN_BOUND_MECHANISMS))
