"""What a linear mechanism measures of a count series, without its noise and with it."""

from __future__ import annotations

import numpy as np

from dp.arrays import Floats, Integers
from dp.auditing.sampling import Sampler
from dp.mechanisms import EMPTY_STATE, GRID, LinearMechanism, Strategy


def strategy_matrix(strategy: Strategy, ticks: int) -> Floats:
    """M = B⁻¹, by measuring one user who is present at one tick; in users, shape (draws, ticks)."""
    matrix = np.zeros((strategy.draws(0, ticks), ticks))
    before = EMPTY_STATE.secret
    for present in range(ticks):
        secret, used = before, strategy.draws(0, present)
        for tick in range(present, ticks):
            exact, secret = strategy.measure(tick, secret, int(tick == present))
            matrix[used : used + len(exact), present] = exact
            used += len(exact)
        _, before = strategy.measure(present, before, 0)
    return matrix / GRID


def exact_measurements(strategy: Strategy, counts: Integers) -> Floats:
    """The measurements without noise, in users; shape (draws,)."""
    secret, measured = EMPTY_STATE.secret, []
    for tick, count in enumerate(counts.tolist()):
        exact, secret = strategy.measure(tick, secret, count)
        measured.append(exact)
    return np.concatenate(measured) / GRID


def simulate_measurements(mechanism: LinearMechanism, counts: Integers) -> Sampler:
    """The noisy measurements, in users; shape (trials, draws)."""
    exact = exact_measurements(mechanism.strategy, counts)

    def sample(trials: int, generator: np.random.Generator) -> Floats:
        noise = mechanism.noise.seeded(generator, (trials, len(exact)))
        noise /= GRID
        noise += exact
        return noise

    return sample
