"""The settings that start the live service with a plan: what to type, and what to put into its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING

from workbench.rows import TableRow
from workbench.views.toml_text import toml_text

if TYPE_CHECKING:
    from workbench.service import Settings

DIGITS = 6
"""Significant digits of ε and δ: few enough to type, enough for the error to stay within 0.01 % of what is asked."""

SettingPairs = Mapping[str, str | int | float]


def rounded_up(value: float) -> float:
    """The nearest number above with DIGITS digits: an ε that gives a little less noise."""
    return float(Context(DIGITS, ROUND_CEILING).create_decimal(repr(value)))


def rounded_down(value: float) -> float:
    """The nearest number below with DIGITS digits, so that parts add up to no more than the whole."""
    return float(Context(DIGITS, ROUND_FLOOR).create_decimal(repr(value)))


def added_up(values: Sequence[float]) -> float:
    """The sum of the decimals that are written, as a ledger adds them."""
    return float(sum(Decimal(repr(value)) for value in values))


def settings_command(pairs: SettingPairs) -> str:
    """What starts the service: one option for the service itself and one for each series."""
    options = [
        "--set " + ",".join(f"{_full(group, name)}={value}" for name, value in part.items())
        for group, part in _grouped(pairs).items()
    ]
    return " \\\n  ".join(["dpdau serve", *options])


def settings_file(pairs: SettingPairs) -> str:
    """The same as TOML, for the service's file."""
    groups = _grouped(pairs)
    return toml_text({**groups.pop("", {}), **groups})


def settings_of(pairs: SettingPairs) -> Settings:
    """The settings that the service makes of them.

    Raises:
        SettingsError: it would refuse them; a ValueError.
    """
    from workbench.service import load_settings

    return load_settings(None, {}, [(name, str(value)) for name, value in pairs.items()])


def pairs_of(rows: Sequence[TableRow]) -> SettingPairs:
    """From the rows of the table of settings."""
    return {row["name"]: row["value"] for row in rows}


def _grouped(pairs: SettingPairs) -> dict[str, dict[str, str | int | float]]:
    groups: dict[str, dict[str, str | int | float]] = {}
    for full, value in pairs.items():
        group, _, name = full.rpartition(".")
        groups.setdefault(group, {})[name] = value
    return groups


def _full(group: str, name: str) -> str:
    return f"{group}.{name}" if group else name
