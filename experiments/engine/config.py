"""What the configs of all kinds share. Imports nothing heavy, because every run from the cache imports it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import msgspec

from experiments.engine import digests
from experiments.engine.defaults import TOLERANCE
from experiments.engine.kind import Kind
from experiments.engine.population import ConfigLog


class ConfigError(ValueError):
    """A config that cannot be run; the message names the file and the key."""


class Point(Protocol):
    """What one row of a table is about."""

    @property
    def identity(self) -> str:
        """The point in words NAME=VALUE; different for different points of a grid."""


class ExperimentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One experiment of any kind.

    Attributes:
        kind: how it is run.
        name: of the table and the figure.
        question: what the experiment asks.
        figure: how to draw the table, a name in FIGURES of the kind's module `figure`.
        finding: what the table says, in one sentence.
        tolerance: largest relative difference between two runs on different machines; by default, `TOLERANCE`.
    """

    kind: ClassVar[Kind]

    name: str
    question: str
    figure: str
    # Unset by default, so that the fingerprint of a config without it does not contain it.
    finding: str | msgspec.UnsetType = msgspec.UNSET
    tolerance: float | msgspec.UnsetType = msgspec.UNSET

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all values, in hex."""
        return digests.of_values(self)

    @property
    def log_files(self) -> Mapping[str, ConfigLog]:
        """The logs in files that rows depend on, by name."""
        return {}

    @property
    def accepted_difference(self) -> float:
        """The tolerance that holds: the stated one, or the default."""
        return TOLERANCE if isinstance(self.tolerance, msgspec.UnsetType) else float(self.tolerance)

    def points(self) -> Iterator[Point]:
        """All points, one a row."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        raise NotImplementedError


def check(config: ExperimentConfig, path: Path) -> None:
    """Check that the values of a config, read from `path`, are in range.

    Raises:
        ConfigError: one is not, or a log that the config names is missing.
    """
    try:
        config.check()
        trials = getattr(config, "trials", None)
        if trials is not None and trials < 2:
            raise ValueError(f"trials is {trials}; a band over trials needs at least 2")
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
