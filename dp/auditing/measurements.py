"""What a linear mechanism measures of a count series, without its noise and with it."""

from __future__ import annotations

import numpy as np

from dp.arrays import Floats, Integers
from dp.auditing.sampling import Sampler
from dp.mechanisms import GRID, LinearMechanism, Strategy


def strategy_matrix(strategy: Strategy, ticks: int) -> Floats:
    """M = B⁻¹, by measuring one user who is present at one tick; in users, shape (draws, ticks)."""
    return np.column_stack([exact_measurements(strategy, only) for only in np.eye(ticks, dtype=np.int64)])


def exact_measurements(strategy: Strategy, counts: Integers) -> Floats:
    """The measurements without noise, in users; shape (draws,)."""
    return np.asarray(strategy.measurements(counts) / GRID)


def simulate_measurements(mechanism: LinearMechanism, counts: Integers) -> Sampler:
    """The noisy measurements, in users; shape (trials, draws)."""
    exact = exact_measurements(mechanism.strategy, counts)

    def sample(trials: int, generator: np.random.Generator) -> Floats:
        noise = mechanism.noise.seeded(generator, (trials, len(exact)))
        noise /= GRID
        noise += exact
        return noise

    return sample
