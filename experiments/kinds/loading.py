"""Typed experiment configs: TOML in, frozen values out; unknown keys are refused by name.

A config with `[profiles.full]` says there what is different in the profile "full": trial counts, mostly.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from experiments.engine.defaults import PROFILES
from experiments.engine.grid import METRICS, AnyPoint, Point, SketchPoint
from experiments.engine.population import LogFile, Population
from experiments.engine.validation import refuse_unknown
from experiments.kinds.accountants.config import AccountantConfig
from experiments.kinds.audit.config import AttackConfig, AuditConfig
from experiments.kinds.coverage.config import CoverageConfig
from experiments.kinds.mechanisms.config import MECHANISM_NAMES, OWN_BOUND, Config, Grid
from experiments.kinds.published.config import PublishedConfig
from experiments.kinds.sketches.config import SketchConfig


class AnyConfig(Protocol):
    """An experiment of any kind.

    Attributes:
        name: of the table and the figure.
        figure: a name in `experiments.kinds.figures.FIGURES`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def question(self) -> str: ...  # noqa: D102
    @property
    def figure(self) -> str: ...  # noqa: D102

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all values, in hex."""

    def points(self) -> Iterator[AnyPoint]:
        """All points, one a row."""

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""


KINDS: dict[str, type[AnyConfig]] = {
    "mechanisms": Config,
    "sketches": SketchConfig,
    "coverage": CoverageConfig,
    "accountants": AccountantConfig,
    "published": PublishedConfig,
    "audit": AuditConfig,
    "attacks": AttackConfig,
}
"""By the key `kind` of a config; one without it is about mechanisms."""


class ConfigError(ValueError):
    """A config that cannot be run; the message names the file and the key."""


def load(path: Path, profile: str = "quick") -> AnyConfig:
    """Read and check a config: of the type that its kind says.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown or missing, or a value is out of range.
    """
    config = read(path, profile)
    check(config, path)
    return config


def read(path: Path, profile: str = "quick") -> AnyConfig:
    """Read a config without looking whether its values are in range, which needs half the project; see `check`.

    Raises:
        ConfigError: the file is missing or no TOML, or a key is unknown or missing.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        named = "kind" in content
        kind = content.pop("kind", "mechanisms")
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}")
        profiles = content.pop("profiles", {})
        refuse_unknown("profiles", profiles, PROFILES[1:])
        if profile not in PROFILES:
            raise ValueError(f"profile is {profile!r}; choose one of {', '.join(PROFILES)}")
        try:
            variants = {
                name: msgspec.convert(_merged(content, profiles.get(name, {})), KINDS[kind]) for name in PROFILES
            }
        except msgspec.ValidationError as error:
            raise ValueError(f"{error}{'' if named else '; a config without a kind is about mechanisms'}") from error
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    config = variants[profile]
    if not re.fullmatch(r"[a-z0-9_]+", config.name):
        raise ConfigError(f"{path}: name is {config.name!r}; it names files, use lower-case letters, digits and _")
    return config


def check(config: AnyConfig, path: Path) -> None:
    """Look whether the values of a config, read from `path`, are in range.

    Raises:
        ConfigError: one is not; or a log that the config names is missing.
    """
    try:
        config.check()
        trials = getattr(config, "trials", None)
        if trials is not None and trials < 2:
            raise ValueError(f"trials is {trials}; a band over trials needs at least 2")
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The content with the changes put in, table by table."""
    nested = {
        name: _merged(content[name], value)
        for name, value in changes.items()
        if isinstance(value, dict) and isinstance(content.get(name), dict)
    }
    return {**content, **changes, **nested}


__all__ = [
    "KINDS", "MECHANISM_NAMES", "METRICS", "OWN_BOUND", "AnyConfig", "Config", "ConfigError",
    "Grid", "LogFile", "Point", "Population", "SketchConfig", "SketchPoint", "check", "load", "read",
]  # fmt: skip
