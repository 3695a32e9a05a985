"""Configs of experiments with sketches. What checks them is imported when it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from experiments.engine.config import ExperimentConfig
from experiments.engine.grid import refuse_unknown
from experiments.engine.kind import Kind
from experiments.engine.population import Population


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


class SketchConfig(ExperimentConfig, frozen=True, kw_only=True):
    """One experiment with sketches (`kind = "sketches"`): one count at a time, published with one ε.

    See `ExperimentConfig` for what all configs have.

    Attributes:
        epsilon: of each published count by itself; one user is protected.
        delta: of those that need one (`fm`).
        trials: fresh salts and noise at each point.
        seed: with a point's identity it gives the point's own seed.
        population: of one day: all users are added at once; of more days: the log is followed day by day.
        window: length of the trailing window, in days.
        ticks: how many of the last days are published.
        grid: for each sketch the parameter that its memory depends on, and its values; empty where there is none.
    """

    kind: ClassVar[Kind] = Kind(
        "sketches", "experiments.kinds.sketches", "trials.evaluate_sketch", "trials.sketch_tasks"
    )

    epsilon: float
    delta: float
    trials: int
    seed: int
    population: Population
    window: int
    ticks: int
    grid: dict[str, dict[str, list[int | float]]]

    def points(self) -> Iterator[SketchPoint]:
        """All sketches in all sizes, in the order of the grid."""
        for sketch, sizes in self.grid.items():
            if not sizes:
                yield SketchPoint(sketch, None, None)
            for parameter, values in sizes.items():
                yield from (SketchPoint(sketch, parameter, value) for value in values)

    def check(self) -> None:
        """Raise ValueError, which names the key, if a value is out of range."""
        from dp.accounting.gaussian import validate_guarantee
        from experiments.kinds.sketches.designs import SIZE_PARAMETERS, sketch_design

        refuse_unknown("grid", self.grid, SIZE_PARAMETERS)
        if not self.grid:
            raise ValueError("grid needs at least one sketch")
        validate_guarantee(self.epsilon, self.delta)
        for sketch, sizes in self.grid.items():
            wanted = SIZE_PARAMETERS[sketch]
            if unknown := sorted(set(sizes) - {wanted}):
                raise ValueError(f"grid.{sketch} has {', '.join(unknown)}; its size is {wanted or 'not to be chosen'}")
            if wanted and not sizes.get(wanted):
                raise ValueError(f"grid.{sketch}.{wanted} needs at least one value")
        for point in self.points():
            if isinstance(point.size, float) and point.parameter != "rate":
                raise ValueError(f"grid.{point.sketch}.{point.parameter} has {point.size}; write a whole number")
            try:
                sketch_design(point.sketch, point.size, self.epsilon, self.delta, bytes(16))
            except ValueError as error:
                raise ValueError(f"grid.{point.sketch}.{point.parameter}: {error}") from error
        if self.window < 1:
            raise ValueError(f"window is {self.window} days; it must be at least 1")
        if not 1 <= self.ticks <= self.population.days:
            raise ValueError(f"ticks is {self.ticks}; the population has {self.population.days} days")
