"""Intervals for the ratio of two counts, from what is published of each: stickiness is DAU/MAU.

Everything here is computed from published numbers, so it costs no privacy. The counts are those that the noise was
added to, and the one below is not 0. Proofs: docs/guarantees.md, section 15.1.
"""

from __future__ import annotations

import numpy as np

from dp.arrays import Floats


def fieller(above: Floats, above_half_width: Floats, below: Floats, below_half_width: Floats) -> tuple[Floats, Floats]:
    """Ends for above/below, where both estimates err independently and normally (Fieller 1954).

    The ends have exactly the level of the half widths, however few users there are, but for what being ≥ 0 adds. Where
    `below` is not told from 0 they are 0 and inf: then nothing is said.

    Args:
        above: estimates of the counts above.
        above_half_width: those of their intervals, that is, z standard deviations.
        below: estimates of the counts below, a shape that broadcasts with the others.
        below_half_width: those of their intervals, with the same z.

    Raises:
        ValueError: a value is not finite, or a half width is negative.
    """
    for name, values in (("above", above), ("below", below)):
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{name} holds values that are not finite; estimates of counts are needed")
    for name, values in (("above_half_width", above_half_width), ("below_half_width", below_half_width)):
        if not np.all(np.isfinite(values) & (np.asarray(values) >= 0)):
            raise ValueError(f"{name} holds values that are negative or not finite; half widths are needed")
    told = below > below_half_width
    square = np.where(told, np.square(below) - np.square(below_half_width), 1.0)
    # b² − ac of the quadratic whose roots the ends are, without the difference of large numbers.
    spread = np.sqrt(np.square(above_half_width) * np.maximum(square, 0.0) + np.square(above * below_half_width))
    low, high = ((above * below + sign * spread) / square for sign in (-1, 1))
    return np.where(told, np.maximum(low, 0.0), 0.0), np.where(told, np.maximum(high, 0.0), np.inf)


def ratio_of_intervals(
    above_low: Floats, above_high: Floats, below_low: Floats, below_high: Floats
) -> tuple[Floats, Floats]:
    """Ends for above/below from an interval of each, whatever their errors have to do with each other.

    They miss at most as often as the two intervals together: two of 95 % give at least 90 %. Where the interval below
    reaches 0 the upper end is inf.

    Args:
        above_low: lower ends of the counts above.
        above_high: upper ends.
        below_low: lower ends of the counts below, a shape that broadcasts with the others.
        below_high: upper ends.
    """
    positive, bounded = below_high > 0, below_low > 0
    low = np.maximum(above_low, 0.0) / np.where(positive, below_high, 1.0)
    high = np.maximum(above_high, 0.0) / np.where(bounded, below_low, 1.0)
    return np.where(positive, low, 0.0), np.where(bounded, high, np.inf)
