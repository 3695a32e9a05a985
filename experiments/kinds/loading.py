"""Experiment configs from TOML files: typed, frozen; unknown keys are refused by name.

A config with `[profiles.full]` says there what is different in the profile "full": trial counts, mostly.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from experiments.engine.config import ConfigError, ExperimentConfig, check
from experiments.engine.defaults import PROFILES
from experiments.engine.grid import refuse_unknown
from experiments.engine.unknown_keys import explained
from experiments.kinds.registry import DEFAULT, KINDS


def load(path: Path, profile: str = "quick") -> ExperimentConfig:
    """Read and check a config; its type is the one that its kind names.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown or missing, or a value is out of range.
    """
    config = read(path, profile)
    check(config, path)
    return config


def read(path: Path, profile: str = "quick") -> ExperimentConfig:
    """Read a config without the check that its values are in range, which needs half the project.

    Raises:
        ConfigError: the file is missing or no TOML, or a key is unknown or missing.
    """
    try:
        config = _parse(path.read_text(encoding="utf-8"), profile)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not re.fullmatch(r"[a-z0-9_]+", config.name):
        raise ConfigError(f"{path}: name is {config.name!r}; it names files, use lower-case letters, digits and _")
    return config


def _parse(text: str, profile: str) -> ExperimentConfig:
    content = tomllib.loads(text)
    named = "kind" in content
    kind = content.pop("kind", DEFAULT)
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; choose one of {', '.join(KINDS)}")
    profiles = content.pop("profiles", {})
    refuse_unknown("profiles", profiles, PROFILES[1:])
    if profile not in PROFILES:
        raise ValueError(f"profile is {profile!r}; choose one of {', '.join(PROFILES)}")
    try:
        # All profiles, so that a mistake in one that is not asked for is found as well.
        variants = {name: msgspec.convert(_merge(content, profiles.get(name, {})), KINDS[kind]) for name in PROFILES}
    except msgspec.ValidationError as error:
        reason = explained(error, KINDS[kind], ("kind", "profiles"))
        raise ValueError(f"{reason}{'' if named else '; a config without a kind is about mechanisms'}") from error
    return variants[profile]


def _merge(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The content with the changes put in, table by table."""
    nested = {
        name: _merge(content[name], value)
        for name, value in changes.items()
        if isinstance(value, dict) and isinstance(content.get(name), dict)
    }
    return {**content, **changes, **nested}
