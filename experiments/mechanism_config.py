"""Configs of experiments with mechanisms. What checks them is imported when it is needed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from experiments import digests
from experiments.points import METRICS, Point, Value, metric_of
from experiments.population import RATES, LogFile, Population

REFUSED = "adaptive-flippancy"
"""It needs the counts under several W_BOUNDs at once, and a point has one."""

# Spelt out because importing them would cost every run from the cache a second; a test compares.
MECHANISM_NAMES = (
    "laplace", "gaussian", "binary-tree", "binary-tree-laplace", "b-ary-tree", "honaker-tree", "smooth-binary",
    "square-root", "damped-square-root", "buffered-toeplitz", "optimal", "sparse-vector",
)  # fmt: skip
"""Mechanisms that can be experimented with."""

SYNTHETIC = "synthetic"
"""The name of the population among the logs."""

MAIN = ("metric", "unit", "w_bound", "mechanism", "epsilon")
"""What every point has."""
OF_POPULATION = ("users", *RATES)
EXTRA = ("log", *OF_POPULATION, "horizon", "delta", "trials", "seed")
"""What points have where the grid combines it; it changes slowest."""

EXTRA_METRIC = re.compile(r"(rmsre|within)-([0-9]+(?:\.[0-9]+)?)")
"""Columns on demand: rmsre-THRESHOLD in users, within-PER CENT."""


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Values to combine; every combination is one point. A key that is not here stands at the top of the config.

    Attributes:
        metric: names in `points.METRICS`; or, in their place, `window`: trailing days.
        horizon: ticks, counted from the first; by default all that the population or the log has.
        log: names in `logs`, and "synthetic" for the population.
        users, delete_rate, erase_rate, late_rate, rejoin_rate: in place of what `population` says.
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
    trials: list[int] = []
    seed: list[int] = []


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One experiment with mechanisms: a question, a population, a grid, and how often to try.

    All but name, question, figure, finding, population, logs, metrics and tolerance may stand in the grid instead.

    Attributes:
        name: of the table and the figure.
        figure: how to draw the table, a name in `experiments.figures.FIGURES`.
        delta: of every point with Gaussian noise.
        trials: simulated releases at each point.
        seed: with a point's identity it gives the point's own seed.
        logs: files by name.
        metrics: columns besides the usual ones: "rmsre-100" (root mean square relative error, counts below 100 users
            taken as 100), "within-10" (share of days whose error is at most 10 % of the count).
        finding: what the table says, in a sentence.
        tolerance: largest relative difference between two runs on different machines.
    """

    name: str
    question: str
    figure: str
    population: Population | None = None
    logs: dict[str, LogFile] = {}
    metrics: list[str] = []
    finding: str | None = None
    tolerance: float | None = None
    metric: str | None = None
    window: int | None = None
    unit: str | None = None
    w_bound: int | None = None
    mechanism: str | None = None
    epsilon: float | None = None
    log: str | None = None
    horizon: int | None = None
    delta: float | None = None
    trials: int | None = None
    seed: int | None = None
    grid: Grid = Grid()

    def __post_init__(self) -> None:
        """Refuse a key that stands in two places, or in none."""
        top, grid = (msgspec.to_builtins(part) for part in (self, self.grid))
        for name in grid:
            if name in top:
                raise ValueError(f"{name} stands at the top and in grid; take one of them away")
            if name in OF_POPULATION and self.population is None:
                raise ValueError(f"grid has {name}, which is the population's; there is no [population]")
        given = {**top, **grid}
        if ("metric" in given) == ("window" in given):
            raise ValueError("give either metric or window, at the top or in grid")
        for name in (*MAIN[1:], "delta", "trials", "seed"):
            if name not in given:
                raise ValueError(
                    f"{name} is missing: it stands at the top of the config or in grid, at least one value"
                )
        if self.population is None and "log" not in given:
            raise ValueError("there is no [population] and no log; give one of them")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all values, in hex."""
        return digests.of_values(self)

    def points(self) -> Iterator[Point]:
        """All points of the grid."""
        extra = {name: values for name in EXTRA if (values := getattr(self.grid, name))}
        metrics, units, w_bounds, mechanisms, epsilons = (self._metrics, *map(self._values, MAIN[1:]))
        for chosen in itertools.product(*extra.values()):
            pairs = tuple(zip(extra, chosen, strict=True))
            for values in itertools.product(metrics, units, w_bounds, mechanisms, epsilons):
                yield Point(*values, pairs)

    def setting(self, point: Point, name: str) -> Value | None:
        """What holds at a point: the grid's value where it has one, else that at the top."""
        return dict(point.extra).get(name, getattr(self, name, None))

    def source(self, point: Point) -> Population | LogFile:
        """Where the users of a point come from.

        Raises:
            ValueError: there is no such log.
        """
        name = self.setting(point, "log") or SYNTHETIC
        if name != SYNTHETIC:
            if name not in self.logs:
                raise ValueError(f"log is {name!r}; choose from {', '.join((*self.logs, SYNTHETIC))}")
            return self.logs[str(name)]
        if self.population is None:
            raise ValueError(f"log is {SYNTHETIC!r}, and there is no [population]")
        changes = {key: value for key, value in point.extra if key in OF_POPULATION}
        return msgspec.structs.replace(self.population, **changes)

    def horizon_at(self, point: Point) -> int:
        """Ticks at a point."""
        chosen = self.setting(point, "horizon")
        return self.source(point).days if chosen is None else int(chosen)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        from dp.accounting.gaussian import validate_guarantee
        from dp.units import UNITS, protected_class

        for key, values, known in (
            ("metric", self._metrics if self.window is None and not self.grid.window else [], METRICS),
            ("unit", self._values("unit"), UNITS),
            ("mechanism", self._values("mechanism"), MECHANISM_NAMES),
        ):
            key = f"grid.{key}" if getattr(self.grid, key) else key
            if REFUSED in values:
                raise ValueError(
                    f"{key} has {REFUSED}, which needs the counts under several W_BOUNDs at once; a point has one. "
                    "Try it with 'dpdau release --simulate'"
                )
            if unknown := sorted(set(values) - set(known)):
                raise ValueError(f"{key} has {', '.join(unknown)}; choose from {', '.join(known)}")
        for name in self.logs:
            if not re.fullmatch(r"[a-z0-9_]+", name) or name == SYNTHETIC:
                raise ValueError(f"logs has {name!r}; use lower-case letters, digits and _, and not {SYNTHETIC!r}")
        for metric in self.metrics:
            if not EXTRA_METRIC.fullmatch(metric):
                raise ValueError(
                    f"metrics has {metric!r}; write rmsre-USERS or within-PERCENT, as in rmsre-100, within-10"
                )
        for epsilon, delta in itertools.product(self._values("epsilon"), self._values("delta")):
            validate_guarantee(epsilon, delta)
        if (fewest := min(self._values("trials"))) < 2:
            raise ValueError(f"trials is {fewest}; a band over trials needs at least 2")
        for point in self.points():
            horizon, longest = self.horizon_at(point), self.source(point).days
            if not 1 <= horizon <= longest:
                raise ValueError(f"horizon is {horizon}; it must lie between 1 and {longest}, the days there are")
            if point.window < 1:
                raise ValueError(f"window is {point.window} days; it must be at least 1")
            protected_class(point.unit, 1, point.w_bound, horizon)

    @property
    def _metrics(self) -> Sequence[str]:
        windows = self.grid.window or ([] if self.window is None else [self.window])
        return [metric_of(window) for window in windows] or self._values("metric")

    def _values(self, name: str) -> Sequence[Any]:
        fixed = getattr(self, name)
        values: Sequence[Any] = getattr(self.grid, name) if fixed is None else [fixed]
        return values
