"""A mechanism whose noise does not depend on the day: the first count with Laplace noise, held for ever.

It is no good, and it shows all that a mechanism outside the linear family must say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dp.arrays import Floats, Integers
from dp.mechanisms import MechanismFamily, State, Trials
from dp.mechanisms.protocol import GRID, Cost, NoiseName, NoiseSource, Released, SeriesBudget
from dp.noise import LaplaceNoise
from dp.units import ProtectedClass


@dataclass(frozen=True)
class Held:
    """The mechanism: one draw for the whole series, of which one protected change alters the first count by one."""

    noise: LaplaceNoise
    data_dependent: bool = True
    bounds: None = None
    gaussian_draws: tuple[tuple[int, int], ...] = ()
    spent: None = None
    name: str = "held"

    def run(self, state: State, counts: Integers, source: NoiseSource, level: float) -> tuple[State, Released]:
        """Draw at the first tick, and publish the same value ever after."""
        if not len(counts):
            return state, Released.nothing()
        value = state.secret if state.tick else GRID * counts[:1] + source(self.noise, 1)
        estimates = np.repeat(value / GRID, len(counts))
        nowhere = np.full(len(counts), np.inf)
        released = Released(estimates, -nowhere, nowhere, np.full(len(counts), np.nan))
        return State(state.tick + len(counts), value, np.empty(0)), released

    def simulate(self, counts: Integers, trials: int, generator: np.random.Generator) -> Floats:
        """Seeded trials of `run`."""
        first = counts[0] + self.noise.seeded(generator, (trials, 1)) / GRID
        return np.broadcast_to(first, (trials, len(counts))).copy()

    def trials(self, counts: Integers, trials: int, generator: np.random.Generator, level: float) -> Trials:
        """The same with its errors; there are no intervals."""
        errors = self.simulate(counts, trials, generator) - counts
        ticks = len(counts)
        return Trials(errors, counts, np.full(ticks, np.nan), level, lambda asked: np.full(ticks, np.inf))

    def neighbours(self) -> tuple[Integers, Integers]:
        """One user more at the first tick."""
        return np.array([100, 100]), np.array([101, 100])

    def standard_deviation(self, horizon: int) -> Floats:
        """It depends on the data."""
        return np.full(horizon, np.nan)

    def errors_of_draws(self, ticks: int) -> None:
        """None: errors depend on the data."""

    def memory(self, ticks: int) -> int:
        """The value."""
        return 1

    def describe(self) -> dict[str, Any]:
        """The noise is all there is."""
        return {"strategy": "held", "pure": True, "scale": self.noise.scale}


@dataclass(frozen=True)
class HeldDesign:
    """For any class: a protected change alters the first count by at most one."""

    protected: ProtectedClass
    name: str = "held"
    noise: NoiseName = "laplace"
    data_dependent: bool = True

    def calibrated(self, budget: SeriesBudget) -> Held:
        """Noise of scale 1/ε."""
        return Held(LaplaceNoise(math.ceil(GRID / budget.epsilon)))

    def cost(self, budget: SeriesBudget, ticks: int) -> Cost:
        """One draw in all."""
        return Cost(math.sqrt(self.calibrated(budget).noise.variance) / GRID, 1, 1 / ticks)


FAMILY = MechanismFamily(
    "laplace", "none", "the first count, held for ever; from another package", "2.1", "this example", design=HeldDesign
)
