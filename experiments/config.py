"""Typed experiment configs: TOML in, frozen values out; unknown keys are refused by name."""

from __future__ import annotations

import hashlib
import itertools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from dp.accounting.gaussian import validate_guarantee
from dp.mechanisms import MECHANISMS
from dp.release import METRICS
from dp.units import UNITS, protected_class
from experiments.sketch_designs import SIZES, designed

REFUSED = "adaptive-flippancy"
"""It needs the counts under several W_BOUNDs at once, and a point has one."""

MECHANISM_NAMES = tuple(name for name in MECHANISMS if name != REFUSED)
"""Mechanisms that can be experimented with."""


class Population(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A synthetic log, as `dpdau generate` makes it."""

    users: int
    days: int
    seed: int
    delete_rate: float = 0.0
    erase_rate: float = 0.0
    late_rate: float = 0.0


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values to combine; every combination is one point."""

    metric: list[str]
    unit: list[str]
    w_bound: list[int]
    mechanism: list[str]
    epsilon: list[float]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One experiment with mechanisms: a question, a population, a grid, and how often to try.

    Attributes:
        name: of the table and the figure.
        figure: how to draw the table, a name in `experiments.figures.FIGURES`.
        delta: of every point with Gaussian noise.
        trials: simulated releases at each point.
        seed: with a point's identity it gives the point's own seed.
    """

    name: str
    question: str
    figure: str
    delta: float
    trials: int
    seed: int
    population: Population
    grid: Grid

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all values, in hex."""
        return _fingerprint(self)

    def points(self) -> Iterator[Point]:
        """All points of the grid."""
        return points(self.grid)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        for key, values, known in (
            ("grid.metric", self.grid.metric, METRICS),
            ("grid.unit", self.grid.unit, UNITS),
            ("grid.mechanism", self.grid.mechanism, MECHANISM_NAMES),
        ):
            if REFUSED in values:
                raise ValueError(
                    f"{key} has {REFUSED}, which needs the counts under several W_BOUNDs at once; a point has one. "
                    "Try it with 'dpdau release --simulate'"
                )
            if unknown := sorted(set(values) - set(known)):
                raise ValueError(f"{key} has {', '.join(unknown)}; choose from {', '.join(known)}")
        for epsilon in self.grid.epsilon:
            validate_guarantee(epsilon, self.delta)
        for unit, w_bound in itertools.product(self.grid.unit, self.grid.w_bound):
            protected_class(unit, 1, w_bound, self.population.days)
        if not all(msgspec.to_builtins(self.grid).values()):
            raise ValueError("every list in grid needs at least one value")


class SketchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One experiment with sketches (`kind = "sketches"`): one count at a time, published with one ε.

    Attributes:
        name: of the table and the figure.
        figure: how to draw the table, a name in `experiments.figures.FIGURES`.
        epsilon: of each published count by itself; one user is protected.
        delta: of those that need one (`fm`).
        trials: fresh salts and noise at each point.
        seed: with a point's identity it gives the point's own seed.
        population: of one day: all users are added at once; of more days: the log is followed day by day.
        window: length of the trailing window, in days.
        ticks: how many of the last days are published.
        grid: for each sketch the parameter that its memory depends on, and its values; empty where there is none.
    """

    name: str
    question: str
    figure: str
    epsilon: float
    delta: float
    trials: int
    seed: int
    population: Population
    window: int
    ticks: int
    grid: dict[str, dict[str, list[int | float]]]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all values, in hex."""
        return _fingerprint(self)

    def points(self) -> Iterator[SketchPoint]:
        """All sketches in all sizes, in the order of the grid."""
        for sketch, sizes in self.grid.items():
            if not sizes:
                yield SketchPoint(sketch, None, None)
            for parameter, values in sizes.items():
                yield from (SketchPoint(sketch, parameter, value) for value in values)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        if unknown := sorted(set(self.grid) - set(SIZES)):
            raise ValueError(f"grid has {', '.join(unknown)}; choose from {', '.join(SIZES)}")
        if not self.grid:
            raise ValueError("grid needs at least one sketch")
        validate_guarantee(self.epsilon, self.delta)
        for sketch, sizes in self.grid.items():
            wanted = SIZES[sketch]
            if unknown := sorted(set(sizes) - {wanted}):
                raise ValueError(f"grid.{sketch} has {', '.join(unknown)}; its size is {wanted or 'not to be chosen'}")
            if wanted and not sizes.get(wanted):
                raise ValueError(f"grid.{sketch}.{wanted} needs at least one value")
        for point in self.points():
            if isinstance(point.size, float) and point.parameter != "rate":
                raise ValueError(f"grid.{point.sketch}.{point.parameter} has {point.size}; write a whole number")
            try:
                designed(point.sketch, point.size, self.epsilon, self.delta, bytes(16))
            except ValueError as error:
                raise ValueError(f"grid.{point.sketch}.{point.parameter}: {error}") from error
        if self.window < 1:
            raise ValueError(f"window is {self.window} days; it must be at least 1")
        if not 1 <= self.ticks <= self.population.days:
            raise ValueError(f"ticks is {self.ticks}; the population has {self.population.days} days")


@dataclass(frozen=True)
class Point:
    """One combination of the grid."""

    metric: str
    unit: str
    w_bound: int
    mechanism: str
    epsilon: float

    @property
    def identity(self) -> str:
        """The point in words, in a fixed order; seeds and shards derive from it."""
        return " ".join(f"{name}={value}" for name, value in asdict(self).items())


@dataclass(frozen=True)
class SketchPoint:
    """One sketch in one size.

    Attributes:
        parameter: what its memory depends on; None if there is nothing to choose.
        size: the parameter's value.
    """

    sketch: str
    parameter: str | None
    size: int | float | None

    @property
    def identity(self) -> str:
        """The point in words; seeds and shards derive from it."""
        return f"sketch={self.sketch}" + (f" {self.parameter}={self.size}" if self.parameter else "")


AnyConfig = Config | SketchConfig

KINDS: dict[str, type[AnyConfig]] = {"mechanisms": Config, "sketches": SketchConfig}
"""By the key `kind` of a config; one without it is about mechanisms."""


class ConfigError(ValueError):
    """A config that cannot be run; the message names the file and the key."""


def load(path: Path) -> AnyConfig:
    """Read and check a config: a `Config`, or a `SketchConfig` if its kind says so.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown or missing, or a value is out of range.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        kind = content.pop("kind", "mechanisms")
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}")
        config = msgspec.convert(content, KINDS[kind])
        config.check()
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not re.fullmatch(r"[a-z0-9_]+", config.name):
        raise ConfigError(f"{path}: name is {config.name!r}; it names files, use lower-case letters, digits and _")
    if config.trials < 2:
        raise ConfigError(f"{path}: trials is {config.trials}; a band over trials needs at least 2")
    return config


def points(grid: Grid) -> Iterator[Point]:
    """All points, in the order of the grid's keys and values."""
    for values in itertools.product(grid.metric, grid.unit, grid.w_bound, grid.mechanism, grid.epsilon):
        yield Point(*values)


def _fingerprint(config: AnyConfig) -> str:
    return hashlib.sha256(msgspec.json.encode(config, order="sorted")).hexdigest()
