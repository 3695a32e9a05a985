"""Intervals for the number of all users, from what a release tells of a sample of them."""

from __future__ import annotations

import numpy as np

from dp.arrays import Floats


def validate_rate(rate: float) -> float:
    """The share of the users who are in a sample, if it can be one; raises ValueError otherwise."""
    if not 2.0**-32 <= rate <= 1:
        raise ValueError(f"rate is {rate}; it must lie between 2^-32 and 1, for instance 0.05")
    return rate


def interval(
    estimates: Floats, low: Floats, high: Floats, deviations: Floats, rate: float, level: float
) -> tuple[Floats, Floats]:
    """Ends for the number of all users, from noisy sizes of their sample: the noise is normal or Laplace.

    The ends are the n at which |estimate − n·p|² = h² + z²(n·p(1 − p) + 1/4), z being the normal quantile and h the
    half width of the noise's interval, or z standard deviations if that is more: two independent errors, and a quarter
    for the sample's being a whole number (docs/guarantees.md, section 16.2).

    Args:
        estimates: of the sample's size, shape (ticks,).
        low: lower ends of the noise's intervals of that level, shape (ticks,).
        high: upper ends.
        deviations: standard deviations of the noise.
        rate: share of the users that are in the sample.
        level: of the intervals that went in and come out.
    """
    from scipy.special import ndtri

    z = float(ndtri(0.5 + level / 2))
    middle = estimates + z**2 * (1 - rate) / 2
    spread = z**2 * ((1 - rate) * estimates + z**2 * (1 - rate) ** 2 / 4 + 0.25)
    # Far below zero nothing fits any more; the ends then meet.
    below = np.sqrt(np.maximum(spread + np.maximum(estimates - low, z * deviations) ** 2, 0.0))
    above = np.sqrt(np.maximum(spread + np.maximum(high - estimates, z * deviations) ** 2, 0.0))
    # Never inside the noise's own interval: far below zero the ends would meet elsewhere.
    return np.minimum(middle - below, low) / rate, np.maximum(middle + above, high) / rate


def bound_level(level: float) -> float:
    """The level of the noise's bounds for `interval_of_bounds`: half of what may be missed is left for the sample."""
    return (1 + level) / 2


def interval_of_bounds(low: Floats, high: Floats, rate: float, level: float) -> tuple[Floats, Floats]:
    """Ends for the number of all users where nothing is known of the error of its sample's size but bounds.

    Args:
        low: lower bounds on the sample's size, of the level `bound_level(level)`, shape (ticks,).
        high: upper bounds.
        rate: share of the users that are in the sample.
        level: of the intervals that come out.
    """
    miss = (1 - bound_level(level)) / 2
    return fewest_users(low, rate, miss), most_users(high, rate, miss)


def fewest_users(sample: Floats, rate: float, miss: float) -> Floats:
    """Below what number of users a sample of at least that size has a probability of at most `miss`; shape as given.

    Infinite sizes, which say nothing, stay infinite.
    """
    from scipy.stats import nbinom

    finite = np.isfinite(sample)
    size = np.ceil(np.maximum(np.where(finite, sample, 0.0), 0.0))
    # The sample reaches k with user number N, where N − k is negative binomial.
    reached = np.where(size > 0, nbinom.ppf(miss, np.maximum(size, 1.0), rate) + size, 0.0)
    return np.where(finite, reached, sample)


def most_users(sample: Floats, rate: float, miss: float) -> Floats:
    """Above what number of users a sample of at most that size has a probability of at most `miss`; shape as given.

    Infinite sizes, which say nothing, stay infinite.
    """
    from scipy.stats import nbinom

    finite = np.isfinite(sample)
    size = np.floor(np.maximum(np.where(finite, sample, 0.0), 0.0))
    return np.where(finite, nbinom.ppf(1 - miss, size + 1, rate) + size, sample)
