"""Points of experiments with mechanisms."""

from __future__ import annotations

from dataclasses import dataclass

from dp.names import METRICS

PointValue = str | int | float


@dataclass(frozen=True)
class MechanismPoint:
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
    extra: tuple[tuple[str, PointValue], ...] = ()

    @property
    def values(self) -> dict[str, PointValue]:
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


def metric_of(window: int) -> str:
    """The name of the count over that many trailing days."""
    names = {days: name for name, days in METRICS.items()}
    return names.get(window, f"{window}-day")
