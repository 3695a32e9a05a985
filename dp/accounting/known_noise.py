"""What others reach: numbers of published mechanisms, so that a comparison can say who is ahead.

The numbers stand in known_noise.toml, with their sources.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from dp.accounting.composition import Guarantee
from dp.mechanisms.protocol import NoiseName
from dp.units import ProtectedClass, protected_class

NOTICED = 1.01
"""Somebody who is ahead by less than this factor counts as level: numbers are published with three digits."""


@dataclass(frozen=True)
class KnownNoise:
    """The noise of a published mechanism for one class; the fields are explained in known_noise.toml."""

    source: str
    method: str
    unit: str
    window: int
    w_bound: int
    horizon: int
    noise: NoiseName
    statistic: Literal["rms", "max"]
    value: float
    basis: Literal["stated", "computed", "run"]
    mechanism: str | None = None
    ahead: float | None = None

    @property
    def protected(self) -> ProtectedClass:
        """The class."""
        return protected_class(self.unit, self.window, self.w_bound, self.horizon)

    def deviation(self, guarantee: Guarantee, mu: float | None) -> float | None:
        """The value in users under a guarantee; None where nothing is known of it.

        Args:
            mu: of the exact Gaussian curve at the guarantee, None without a δ.
        """
        if self.noise == "gaussian":
            return mu and self.value / mu
        return self.value if guarantee.epsilon == 1 else None


@cache
def known_noise() -> tuple[KnownNoise, ...]:
    """All numbers that are known, in the order of the file."""
    text = files("dp.accounting").joinpath("known_noise.toml").read_text(encoding="utf-8")
    return tuple(KnownNoise(**row) for row in tomllib.loads(text)["known"])


def least_known(protected: ProtectedClass, guarantee: Guarantee, mu: float | None) -> tuple[KnownNoise, float] | None:
    """Who has the least rms noise outside of this project for a class, with that noise in users; None if unknown.

    Args:
        mu: as of `KnownNoise.deviation`.
    """
    found = [
        (deviation, one)
        for one in known_noise()
        if one.statistic == "rms"
        and one.mechanism is None
        and one.protected == protected
        and (deviation := one.deviation(guarantee, mu)) is not None
    ]
    if not found:
        return None
    deviation, one = min(found, key=lambda pair: pair[0])
    return one, deviation
