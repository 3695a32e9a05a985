"""Where the users of an experiment come from: a synthetic population, or a file."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec

START = date(2024, 1, 1)
"""First day of every synthetic log."""

RATES = ("delete_rate", "erase_rate", "late_rate", "rejoin_rate")


class Population(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A synthetic log, as `dpdau generate` makes it."""

    users: int
    days: int
    seed: int
    delete_rate: float = 0.0
    erase_rate: float = 0.0
    late_rate: float = 0.0
    # Unset by default, so that the fingerprints of configs without it do not change.
    rejoin_rate: float | msgspec.UnsetType = msgspec.UNSET

    @property
    def rates(self) -> dict[str, float]:
        """The rates that are set, by name."""
        values = msgspec.structs.asdict(self)
        return {name: values[name] for name in RATES if values[name] is not msgspec.UNSET}


class ConfigLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A log in a file.

    Attributes:
        file: its path, relative to the folder in which the command is run.
        first: the first tick.
        days: number of ticks.
        columns: the file's names for user, day or timestamp, op and at, where they differ from these.
    """

    file: str
    first: date
    days: int
    columns: dict[str, str] = {}

    @property
    def path(self) -> Path:
        """Its path."""
        return Path(self.file)
