"""Bands for a share that was counted."""

from __future__ import annotations


def clopper_pearson(successes: int, trials: int, level: float) -> tuple[float, float]:
    """The interval that holds the probability of a success with at least that level, whatever the probability is.

    Clopper and Pearson 1934.

    Raises:
        ValueError: there are no trials, more successes than trials, or the level does not lie between 0 and 1.
    """
    from scipy.stats import beta

    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"successes is {successes} of {trials} trials; it must lie between 0 and a positive number")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1, for instance 0.999")
    miss = (1 - level) / 2
    low = float(beta.ppf(miss, successes, trials - successes + 1)) if successes else 0.0
    high = float(beta.ppf(1 - miss, successes + 1, trials - successes)) if successes < trials else 1.0
    return low, high
