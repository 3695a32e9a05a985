"""What a test whose threshold was fixed beforehand proves: the μ and the ε that its rates of alarms disprove."""

from __future__ import annotations

import numpy as np

from dp.accounting import gaussian
from dp.arrays import Floats, Integers
from dp.auditing.bounds import Alarms, mu_bound

ATTACK_CONFIDENCE = 0.9999
"""Confidence of every lower bound: a few dozen of them together err once in several hundred runs."""


def mu_lower_bound(alarms: int, hits: int, trials: int) -> float:
    """The largest μ that the alarms disprove at ATTACK_CONFIDENCE; 0 where they disprove none.

    Args:
        alarms: how many of `trials` releases without the change a test took for releases with it.
        hits: how many of as many releases with the change it recognised.
    """
    return float(mu_bound(Alarms(hits, trials, alarms, trials), ATTACK_CONFIDENCE))


def epsilon_lower_bound(alarms: int, hits: int, trials: int, delta: float) -> float:
    """The ε at `delta` on the Gaussian curve of `mu_lower_bound`."""
    shown = mu_lower_bound(alarms, hits, trials)
    return gaussian.epsilon_for(shown, delta) if shown else 0.0


def best_direction(decoder: Floats, change: Integers) -> Floats:
    """Weights of the released numbers in the best linear test for a change of the counts, up to a factor.

    Args:
        decoder: what every draw does to every release, shape (draws, ticks).
        change: Δ, shape (ticks,).
    """
    return np.asarray(np.linalg.solve(decoder.T @ decoder, change))
