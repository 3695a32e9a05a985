"""What every attack is given and what it gives back: readings, each with the most that the claim allows."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

OURS = "dpdau"
"""The target that must hold; all others of an attack are broken twins, which must fall."""


@dataclass(frozen=True)
class Setting:
    """Where an attack takes place.

    Attributes:
        generator: of everything that the attacker draws. What is released is drawn by OpenDP, which has no seed; the
            readings of such a release do not depend on its draws, but with a probability that the attack states.
        folder: where ledgers and logs are made; it exists.
        now: what the clock says at the beginning.
        quick: fewer trials, with less power.
        share: of these trials, for whoever wants to see a reading grow with them.
    """

    generator: np.random.Generator
    folder: Path
    now: datetime
    quick: bool = False
    share: float = 1.0

    def trials(self, quick: int, full: int) -> int:
        """How often to try, at least once."""
        return max(round(self.share * (quick if self.quick else full)), 1)

    def new_folder(self) -> Path:
        """An empty folder of its own."""
        return Path(tempfile.mkdtemp(dir=self.folder))


@dataclass(frozen=True)
class Observation:
    """One measured number.

    Attributes:
        what: was measured, in words, with its unit.
        limit: the most that the claim allows; ∞ where the number is worth knowing and nothing is claimed of it.
        trials: of a lower bound, the releases with the change that prove it, and as many without; else None.
    """

    what: str
    measured: float
    limit: float = math.inf
    trials: int | None = None

    @property
    def allowed(self) -> float | None:
        """The limit as a plain JSON value: None where nothing is claimed."""
        return float(self.limit) if math.isfinite(self.limit) else None

    @property
    def held(self) -> bool:
        """Whether the claim allows it; not a number is never allowed."""
        return self.measured <= self.limit


Target = Callable[[Setting], tuple[Observation, ...]]
"""Attacks one thing that claims to withstand it."""


@dataclass(frozen=True)
class Outcome:
    """How an attack ended.

    Attributes:
        name: of the attack.
        threat: who attacks, and when they win.
        criterion: what must hold.
        target: what was attacked.
        readings: in the order in which they were taken.
    """

    name: str
    threat: str
    criterion: str
    target: str
    readings: tuple[Observation, ...]

    @property
    def held(self) -> bool:
        """Whether every reading is within its limit."""
        return all(reading.held for reading in self.readings)

    def describe(self) -> dict[str, Any]:
        """The outcome as plain JSON values; a reading of which nothing is claimed has the limit None."""
        return {
            "attack": self.name,
            "target": self.target,
            "held": self.held,
            "threat": self.threat,
            "criterion": self.criterion,
            "readings": [
                {
                    "what": reading.what,
                    "measured": reading.measured,
                    "limit": reading.allowed,
                    "held": reading.held,
                }
                for reading in self.readings
            ],
        }


@dataclass(frozen=True)
class Attack:
    """An attack and what it is made against.

    Attributes:
        threat: two sentences: who attacks, and when they win.
        criterion: what must hold.
        targets: by name; `OURS` must hold and every other one, a broken twin, must fall.
    """

    threat: str
    criterion: str
    targets: Mapping[str, Target]

    @property
    def twins(self) -> tuple[str, ...]:
        """The targets that must fall."""
        return tuple(name for name in self.targets if name != OURS)
