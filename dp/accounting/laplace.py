"""How much δ saves Laplace noise: measurements composed by their privacy losses instead of adding up ε.

One protected change shifts at most k measurements by one user each, up or down; which ones may depend on what was seen.
So a series is dominated by k releases of one whole number, for each of which the noise has ε₀ = GRID/scale
(docs/guarantees.md, section 11.8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import scipy

from dp.accounting.composition import Guarantee
from dp.accounting.loss_grid import SMALLEST_DELTA, grid_epsilon
from dp.accounting.mechanism_events import MechanismEvent, discrete_laplace, merge

STEPS = 64
"""Into so many steps a user is divided for the account. The noise has finer ones and tells less, by under 1e-6 of ε."""
ACCURACY = 1e-6
"""Relative error of the factor that δ saves, on the side of more noise."""

LEAST = 1.01
"""A factor that is smaller saves too little for a guarantee without a δ to be given up."""

Shifts = tuple[int, float]
"""(k, ε₀): k measurements that a change shifts by a user, and the ε of each."""


def laplace_events(series: Sequence[Shifts]) -> list[MechanismEvent]:
    """What an accountant may know of series of measurements with Laplace noise."""
    return merge(discrete_laplace(epsilon=epsilon, sensitivity=STEPS, count=count) for count, epsilon in series)


def composed_epsilon(series: Sequence[Shifts], delta: float) -> float:
    """The ε at `delta` of all series together, at most the sum of theirs."""
    total = math.fsum(count * epsilon for count, epsilon in series)
    return total if delta < SMALLEST_DELTA else min(total, grid_epsilon(laplace_events(series), delta))


@lru_cache(maxsize=256)
def saving(series: tuple[Shifts, ...], guarantee: Guarantee) -> float:
    """The largest factor by which the noise of series may shrink, rounded down; 1 if it is below `LEAST`.

    Args:
        series: their ε add up to that of the guarantee.
    """
    epsilon, delta = guarantee

    def excess(factor: float) -> float:
        return composed_epsilon([(count, factor * each) for count, each in series], delta) - epsilon

    low, high = LEAST, 2.0
    if excess(low) > 0:
        return 1.0
    while excess(high) <= 0:
        low, high = high, 2 * high
    factor = float(scipy.optimize.brentq(excess, low, high, rtol=ACCURACY / 2))
    while excess(factor) > 0:
        factor *= 1 - ACCURACY
    return factor
