"""Bounds on a probability of which successes were counted (Clopper and Pearson 1934)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Floats

Counted = NDArray[np.int64] | int


def at_least(successes: Counted, trials: Counted, miss: float) -> Floats:
    """A lower bound on a probability that is too high with probability ≤ `miss`; shape of `successes`."""
    from scipy.special import betaincinv

    counted = np.asarray(successes, dtype=np.float64)
    inside = np.maximum(counted, 1)
    return np.where(counted > 0, betaincinv(inside, trials - inside + 1, miss), 0.0)


def at_most(successes: Counted, trials: Counted, miss: float) -> Floats:
    """An upper bound on a probability that is too low with probability ≤ `miss`; shape of `successes`."""
    return 1 - at_least(trials - np.asarray(successes), trials, miss)


def clopper_pearson(successes: int, trials: int, level: float) -> tuple[float, float]:
    """The interval that holds the probability of a success with at least that level, whatever the probability is.

    Raises:
        ValueError: there are no trials, more successes than trials, or the level does not lie between 0 and 1.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"successes is {successes} of {trials} trials; it must lie between 0 and a positive number")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1, for instance 0.999")
    miss = (1 - level) / 2
    return float(at_least(successes, trials, miss)), float(at_most(successes, trials, miss))
