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
    """One experiment: a question, a population, a grid, and how often to try.

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
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


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


class ConfigError(ValueError):
    """A config that cannot be run; the message names the file and the key."""


def load(path: Path) -> Config:
    """Read and check a config.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown or missing, or a value is out of range.
    """
    try:
        config = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Config)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    for key, values, known in (
        ("grid.metric", config.grid.metric, METRICS),
        ("grid.unit", config.grid.unit, UNITS),
        ("grid.mechanism", config.grid.mechanism, MECHANISM_NAMES),
    ):
        if REFUSED in values:
            raise ConfigError(
                f"{path}: {key} has {REFUSED}, which needs the counts under several W_BOUNDs at once; a point has one. "
                "Try it with 'dpdau release --simulate'"
            )
        if unknown := sorted(set(values) - set(known)):
            raise ConfigError(f"{path}: {key} has {', '.join(unknown)}; choose from {', '.join(known)}")
    if not re.fullmatch(r"[a-z0-9_]+", config.name):
        raise ConfigError(f"{path}: name is {config.name!r}; it names files, use lower-case letters, digits and _")
    try:
        for epsilon in config.grid.epsilon:
            validate_guarantee(epsilon, config.delta)
        for unit, w_bound in itertools.product(config.grid.unit, config.grid.w_bound):
            protected_class(unit, 1, w_bound, config.population.days)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if config.trials < 2:
        raise ConfigError(f"{path}: trials is {config.trials}; a band over trials needs at least 2")
    if not all(msgspec.to_builtins(config.grid).values()):
        raise ConfigError(f"{path}: every list in grid needs at least one value")
    return config


def points(grid: Grid) -> Iterator[Point]:
    """All points, in the order of the grid's keys and values."""
    for values in itertools.product(grid.metric, grid.unit, grid.w_bound, grid.mechanism, grid.epsilon):
        yield Point(*values)
