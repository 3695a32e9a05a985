"""Configs of experiments with mechanisms. What checks them is imported when it is needed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from dp.extensions import known_names
from dp.names import (
    ACCOUNTANTS,
    DATA_DEPENDENT_MECHANISMS,
    MECHANISMS,
    METRICS,
    OWN_BOUND_MECHANISMS,
    RELEASED_SKETCHES,
    UNITS,
)
from experiments.engine.config import ExperimentConfig
from experiments.engine.grid import refuse_unknown
from experiments.engine.kind import Kind
from experiments.engine.population import RATES, ConfigLog, Population
from experiments.kinds.mechanisms.points import MechanismPoint, PointValue, metric_of

LINEAR_ONLY = ("accountant", "rate")
"""Keys that mechanisms whose error depends on the data do not support."""

SAMPLE_SKETCH = "fixed-rate"

SYNTHETIC = "synthetic"
"""The name of the population among the logs."""

MAIN = ("metric", "unit", "w_bound", "mechanism", "epsilon")
"""What every point has."""
OF_POPULATION = ("users", *RATES)
EXTRA = ("log", *OF_POPULATION, "horizon", "delta", "share", "accountant", "sketch", "rate", "trials", "seed")
"""What points have if the grid combines it; these values change slowest."""
NEEDED = (*MAIN[1:], "delta", "trials", "seed")

USUAL_METRICS = ("rmse", "mae", "p95_error", "relative_rmse", "noise_rmse", "bias_rms", "bias_mean", "coverage")
"""Columns that every row has; a config may name them."""

EXTRA_METRIC = re.compile(r"(rmsre|within)-([0-9]+(?:\.[0-9]+)?)")
"""Columns on demand: rmsre-USERS, within-PERCENT."""


class MechanismGrid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Values to combine; every combination is one point. A key that is not here stands at the top of the config.

    Attributes:
        metric: names in METRICS; or, in their place, `window`: trailing days.
        horizon: ticks, counted from the first; by default all that the population or the log has.
        log: names in `logs` and `populations`, and "synthetic" for the population.
        users, delete_rate, erase_rate, late_rate, rejoin_rate: in place of what a population says.
        share: part of the budget that this series has; all of it by default.
        accountant: a name in `dp.accounting.accountants.ACCOUNTANTS` that must vouch for the guarantee; by default each
            kind of noise has its own exact accounting.
        sketch: what counts the users, a name in `dp.names.RELEASED_SKETCHES`.
        rate: share of the users whom fixed-rate keeps; points with another sketch do not have it.
    """

    metric: list[str] = []
    window: list[int] = []
    unit: list[str] = []
    w_bound: list[int] = []
    mechanism: list[str] = []
    epsilon: list[float] = []
    log: list[str] = []
    users: list[int] = []
    delete_rate: list[float] = []
    erase_rate: list[float] = []
    late_rate: list[float] = []
    rejoin_rate: list[float] = []
    horizon: list[int] = []
    delta: list[float] = []
    share: list[float] = []
    accountant: list[str] = []
    sketch: list[str] = []
    rate: list[float] = []
    trials: list[int] = []
    seed: list[int] = []


class MechanismConfig(ExperimentConfig, frozen=True, omit_defaults=True, kw_only=True):
    """One experiment with mechanisms: a population, a grid, and the number of trials.

    All but population, populations, logs, metrics and what all configs have (see `ExperimentConfig`) may stand in the
    grid instead.

    Attributes:
        delta: of every point with Gaussian noise.
        trials: simulated releases at each point.
        seed: with a point's identity it gives the point's own seed.
        populations: more of them, by name.
        logs: files by name.
        metrics: columns besides those in USUAL_METRICS, one or a list: "rmsre-100" (root mean square relative error,
            counts below 100 users taken as 100), "within-10" (share of days whose error is at most 10 % of the count).
        grid: values to combine.
        also: more grids, each `grid` with some lists replaced; the points are those of all of them.
    """

    kind: ClassVar[Kind] = Kind("mechanisms", "experiments.kinds.mechanisms", "row.evaluate", "tasks.mechanism_tasks")

    population: Population | None = None
    populations: dict[str, Population] = msgspec.field(default_factory=dict)
    logs: dict[str, ConfigLog] = msgspec.field(default_factory=dict)
    metrics: list[str] | str = msgspec.field(default_factory=list)
    metric: str | None = None
    window: int | None = None
    unit: str | None = None
    w_bound: int | None = None
    mechanism: str | None = None
    epsilon: float | None = None
    log: str | None = None
    horizon: int | None = None
    delta: float | None = None
    share: float | None = None
    accountant: str | None = None
    sketch: str | None = None
    rate: float | None = None
    trials: int | None = None
    seed: int | None = None
    grid: MechanismGrid = MechanismGrid()
    also: list[MechanismGrid] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse a key that stands in two places, or in none."""
        for part in self._parts if self.also else ():
            part.__post_init__()
        top, grid = (msgspec.to_builtins(part) for part in (self, self.grid))
        for name in grid:
            if name in top:
                raise ValueError(f"{name} stands at the top and in grid; take one of them away")
            if name in OF_POPULATION and self.population is None and not self.populations:
                raise ValueError(f"grid has {name}, which is the population's; there is no [population]")
        given = {**top, **grid}
        if ("metric" in given) == ("window" in given):
            raise ValueError("give either metric or window, at the top or in grid")
        for name in NEEDED:
            if name not in given:
                raise ValueError(
                    f"{name} is missing: it stands at the top of the config or in grid, at least one value"
                )
        if self.population is None and "log" not in given:
            raise ValueError("there is no [population] and no log; give one of them")

    @property
    def log_files(self) -> Mapping[str, ConfigLog]:
        """The logs in files that rows depend on, by name."""
        return self.logs

    @property
    def extra_metrics(self) -> list[str]:
        """The measures that rows do not have anyway."""
        named = [self.metrics] if isinstance(self.metrics, str) else self.metrics
        return [metric for metric in named if metric not in USUAL_METRICS]

    def points(self) -> Iterator[MechanismPoint]:
        """All points of the grids, each once."""
        return iter(dict.fromkeys(point for part in self._parts for point in part._product()))

    def _product(self) -> Iterator[MechanismPoint]:
        extra = {name: values for name in EXTRA if (values := getattr(self.grid, name))}
        metrics, units, w_bounds, mechanisms, epsilons = (self._metrics, *map(self._values, MAIN[1:]))
        combined = (_sampled_only(zip(extra, chosen, strict=True)) for chosen in itertools.product(*extra.values()))
        for pairs in dict.fromkeys(combined):
            for values in itertools.product(metrics, units, w_bounds, mechanisms, epsilons):
                point = MechanismPoint(*values, pairs)
                if point.unit == "user" or point.mechanism not in OWN_BOUND_MECHANISMS:
                    yield point

    def setting(self, point: MechanismPoint, name: str) -> PointValue | None:
        """The value of a key at a point: that of the grid if it has one, else that at the top."""
        return dict(point.extra).get(name, getattr(self, name, None))

    def source(self, point: MechanismPoint) -> Population | ConfigLog:
        """Where the users of a point come from.

        Raises:
            ValueError: there is no such log.
        """
        name = str(self.setting(point, "log") or SYNTHETIC)
        if name in self.logs:
            return self.logs[name]
        population = self.population if name == SYNTHETIC else self.populations.get(name)
        if population is None:
            known = [*self.logs, *self.populations, *([SYNTHETIC] if self.population else [])]
            raise ValueError(f"log is {name!r}; choose from {', '.join(known)}")
        changes = {key: value for key, value in point.extra if key in OF_POPULATION}
        return msgspec.structs.replace(population, **changes)

    def rate_at(self, point: MechanismPoint) -> float:
        """Share of the users who are counted at a point: 1 unless it is a sample."""
        sketch, rate = self.setting(point, "sketch"), self.setting(point, "rate")
        return 1.0 if rate is None or sketch not in (None, SAMPLE_SKETCH) else float(rate)

    def horizon_at(self, point: MechanismPoint) -> int:
        """Ticks at a point."""
        chosen = self.setting(point, "horizon")
        return self.source(point).days if chosen is None else int(chosen)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        for part in self._parts:
            part._check()
        asked = {name for part in self._parts for name in part._values("mechanism")}
        tried = {point.mechanism for point in self.points()}
        for name in OWN_BOUND_MECHANISMS:
            if name in asked and name not in tried:
                raise ValueError(f"mechanism has {name}, which serves the unit user only; give that unit too")

    def _check(self) -> None:
        self._check_names()
        self._check_numbers()
        self._check_sample()
        unable = sorted(set(DATA_DEPENDENT_MECHANISMS) & set(self._values("mechanism")))
        for name in LINEAR_ONLY:
            if self._given(name) and unable:
                raise ValueError(f"mechanism has {', '.join(unable)}, which cannot be tried with {name}; take one away")
        if (fewest := min(self._values("trials"))) < 2:
            raise ValueError(f"trials is {fewest}; a band over trials needs at least 2")
        self._check_points()

    def _check_names(self) -> None:
        for key, values, known in (
            ("metric", self._metrics if self.window is None and not self.grid.window else [], METRICS),
            ("unit", self._values("unit"), UNITS),
            ("mechanism", self._values("mechanism"), known_names("mechanisms", MECHANISMS)),
            ("accountant", self._given("accountant"), known_names("accountants", ACCOUNTANTS)),
            ("sketch", self._given("sketch"), RELEASED_SKETCHES),
        ):
            key = f"grid.{key}" if getattr(self.grid, key) else key
            refuse_unknown(key, values, known)
        for kind, names in (("logs", self.logs), ("populations", self.populations)):
            for name in names:
                if not re.fullmatch(r"[a-z0-9_]+", name) or name == SYNTHETIC:
                    raise ValueError(f"{kind} has {name!r}; use lower-case letters, digits and _, not {SYNTHETIC!r}")
        if both := sorted(set(self.logs) & set(self.populations)):
            raise ValueError(f"{', '.join(both)} stands in logs and in populations; give one of them another name")
        for metric in self.extra_metrics:
            if not EXTRA_METRIC.fullmatch(metric):
                raise ValueError(
                    f"metrics has {metric!r}; write rmsre-USERS or within-PERCENT, as in rmsre-100, within-10. Every "
                    f"row has {', '.join(USUAL_METRICS)}"
                )

    def _check_numbers(self) -> None:
        from dp.accounting.gaussian import validate_guarantee

        for epsilon, delta in itertools.product(self._values("epsilon"), self._values("delta")):
            validate_guarantee(epsilon, delta)
        for share in self._given("share"):
            if not 0 < share <= 1:
                raise ValueError(f"share is {share}; it is a part of the budget, above 0 and at most 1")

    def _check_points(self) -> None:
        from dp.units import protected_class

        for point in self._product():
            horizon, longest = self.horizon_at(point), self.source(point).days
            if not 1 <= horizon <= longest:
                raise ValueError(f"horizon is {horizon}; it must lie between 1 and {longest}, the days there are")
            if point.window < 1:
                raise ValueError(f"window is {point.window} days; it must be at least 1")
            protected_class(point.unit, 1, point.w_bound, horizon)

    def _check_sample(self) -> None:
        """Raise ValueError if a sketch and a rate do not go together."""
        from dp.intervals.sample import validate_rate

        sketches, rates = self._given("sketch"), self._given("rate")
        for rate in rates:
            validate_rate(rate)
        if rates and sketches and SAMPLE_SKETCH not in sketches:
            raise ValueError(f"rate is for the sketch {SAMPLE_SKETCH}; sketch is {', '.join(sketches)}")
        if SAMPLE_SKETCH in sketches and not rates:
            raise ValueError(f"sketch is {SAMPLE_SKETCH}, which needs a rate, for instance rate = 0.1")

    @property
    def _parts(self) -> list[MechanismConfig]:
        """Copies of this config with one grid each."""
        given = [msgspec.to_builtins(grid) for grid in (MechanismGrid(), *self.also)]
        grids = [msgspec.structs.replace(self.grid, **changes) for changes in given]
        return [msgspec.structs.replace(self, grid=grid, also=[]) for grid in grids]

    @property
    def _metrics(self) -> Sequence[str]:
        windows = self.grid.window or ([] if self.window is None else [self.window])
        return [metric_of(window) for window in windows] or self._values("metric")

    def _given(self, name: str) -> Sequence[Any]:
        """The values of an optional key."""
        return [] if getattr(self, name) is None and not getattr(self.grid, name) else self._values(name)

    def _values(self, name: str) -> Sequence[Any]:
        fixed = getattr(self, name)
        values: Sequence[Any] = getattr(self.grid, name) if fixed is None else [fixed]
        return values


def _sampled_only(pairs: Iterable[tuple[str, PointValue]]) -> tuple[tuple[str, PointValue], ...]:
    """The pairs without the rate, unless the sketch has one."""
    kept = tuple(pairs)
    sketch = dict(kept).get("sketch", SAMPLE_SKETCH)
    return kept if sketch == SAMPLE_SKETCH else tuple(pair for pair in kept if pair[0] != "rate")
