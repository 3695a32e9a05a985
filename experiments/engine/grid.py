"""Points: what one row of a table is about. A point's words are its identity; its seed derives from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Protocol

START = date(2024, 1, 1)
"""First day of every synthetic log."""

METRICS: dict[str, int] = {"dau": 1, "wau": 7, "mau": 30}
"""`dp.release.METRICS`, spelt out because a row must not depend on all that a release imports; a test compares."""

Value = str | int | float


class AnyPoint(Protocol):
    """A combination of a grid, of whatever kind."""

    @property
    def identity(self) -> str:
        """The point in words NAME=VALUE; different for different points of a grid."""


@dataclass(frozen=True)
class Point:
    """One combination of a grid of mechanisms.

    Attributes:
        metric: a name in METRICS, or a window such as "14-day".
        extra: what else the grid combines, by name.
    """

    metric: str
    unit: str
    w_bound: int
    mechanism: str
    epsilon: float
    extra: tuple[tuple[str, Value], ...] = ()

    @property
    def values(self) -> dict[str, Value]:
        """All by name, in a fixed order."""
        return {
            "metric": self.metric,
            "unit": self.unit,
            "w_bound": self.w_bound,
            "mechanism": self.mechanism,
            "epsilon": self.epsilon,
            **dict(self.extra),
        }

    @property
    def identity(self) -> str:
        """The point in words, in a fixed order; seeds and shards derive from it."""
        return " ".join(f"{name}={value}" for name, value in self.values.items())

    @property
    def window(self) -> int:
        """Trailing days."""
        return METRICS.get(self.metric) or int(self.metric.removesuffix("-day"))


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


def metric_of(window: int) -> str:
    """The name of the count over that many trailing days."""
    names = {days: name for name, days in METRICS.items()}
    return names.get(window, f"{window}-day")


def point_seed(seed: int, point: AnyPoint) -> int:
    """A seed of the point's own, from the experiment's seed and the point's identity."""
    return int.from_bytes(hashlib.sha256(f"{seed} {point.identity}".encode()).digest()[:16])
