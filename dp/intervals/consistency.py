"""Counts that agree with each other: whole numbers, none negative, DAU ≤ WAU ≤ MAU; and intervals that stay honest.

Everything here is computed from published numbers, so it costs no privacy. The windows of one day are released with
independent noise; their estimates are moved to the nearest point, in units of their standard deviations, at which a
longer window counts at least as many users (isotonic regression), and rounded. The interval of a count is that of its
own noise and does not lean on the order: what the noise was added to is a whole number ≥ 0, whatever else holds.
Proofs: docs/guarantees.md, "consistent counts".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Floats, Integers

LARGEST = 2.0**52
"""Up to here floats tell whole numbers and halves apart."""


@dataclass(frozen=True)
class ConsistentCounts:
    """Whole counts in order with their intervals; all arrays have the shape of the estimates.

    Attributes:
        estimates: whole numbers ≥ 0 that never fall from a window to a longer one.
        low: lower ends, whole numbers ≥ 0.
        high: upper ends.
        widened: the consistent estimate lay outside of the noise's interval, which was widened to hold it.
    """

    estimates: Integers
    low: Integers
    high: Integers
    widened: NDArray[np.bool_]


def consistent_counts(estimates: Floats, deviations: Floats, low: Floats, high: Floats) -> ConsistentCounts:
    """Whole, ordered, non-negative counts, each with an interval that covers at least as often as it did.

    Args:
        estimates: released estimates, shape (…, windows), shortest window first; the other axes are ticks or trials.
        deviations: their standard deviations, a shape that broadcasts to that of the estimates.
        low: lower ends of the noise's intervals, a shape that broadcasts to that of the estimates.
        high: upper ends, same shape as `low`.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or a deviation that is not positive.
    """
    nearest = whole_numbers(project(estimates, deviations))
    return ConsistentCounts(nearest, *interval_with(nearest, low, high))


def interval_with(counts: Integers, low: Floats, high: Floats) -> tuple[Integers, Integers, NDArray[np.bool_]]:
    """The whole numbers ≥ 0 inside [low, high] as first and last, widened where they must hold the count, and where.

    Args:
        counts: whole numbers ≥ 0.
        low: lower ends, a shape that broadcasts to that of the counts.
        high: upper ends, likewise.

    Raises:
        ValueError: an end is not finite.
    """
    validate_finite("low", low)
    validate_finite("high", high)
    first, last = (np.broadcast_to(ends, counts.shape) for ends in whole_interval(low, high))
    return np.minimum(first, counts), np.maximum(last, counts), (counts < first) | (counts > last)


def project(estimates: Floats, deviations: Floats) -> Floats:
    """The nearest 0 ≤ x₁ ≤ x₂ ≤ … to the estimates, Σ ((xᵢ − estimateᵢ)/deviationᵢ)² being the distance; same shape.

    Isotonic regression by its closed form, the largest over starts of the smallest over ends of block averages
    (Robertson, Wright, Dykstra 1988, section 1.4), which few windows and many trials make the faster one; cutting at 0
    afterwards gives the nearest non-negative point.

    Raises:
        ValueError: as in `consistent_counts`.
    """
    validate_finite("estimates", estimates)
    validate_finite("deviations", deviations)
    if np.ndim(estimates) == 0:
        raise ValueError("estimates is a single number; its last axis must be the windows, shortest first")
    if np.any(deviations <= 0):
        raise ValueError(f"deviations go down to {np.min(deviations)}; every standard deviation must be positive")
    windows = np.shape(estimates)[-1]
    weights = np.broadcast_to(1 / np.square(deviations), np.shape(estimates))
    weighted = weights * estimates
    average = {
        (start, end): weighted[..., start : end + 1].sum(axis=-1) / weights[..., start : end + 1].sum(axis=-1)
        for start in range(windows)
        for end in range(start, windows)
    }
    ordered = [
        np.max(
            [np.min([average[start, end] for end in range(window, windows)], axis=0) for start in range(window + 1)],
            axis=0,
        )
        for window in range(windows)
    ]
    return np.asarray(np.maximum(np.stack(ordered, axis=-1), 0.0), dtype=np.float64)


def whole_numbers(projected: Floats) -> Integers:
    """The nearest whole numbers, halves upwards; same shape.

    Rounding keeps the order, and a projection rounded is a nearest among all whole points that keep it
    (Goldstein and Kruskal 1976).
    """
    return np.floor(projected + 0.5).astype(np.int64)


def whole_interval(low: Floats, high: Floats) -> tuple[Integers, Integers]:
    """The whole numbers ≥ 0 inside [low, high], as their first and last; the first is larger where there is none.

    A count is in this interval exactly when it is in the one that was given: nothing is lost and nothing is padded.
    """
    return np.ceil(np.maximum(low, 0.0)).astype(np.int64), np.floor(high).astype(np.int64)


def ordered_band(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Intervals of all windows of a tick, shrunk by the order: no end above a longer window's, none below a shorter's.

    Only for a *simultaneous* band, one that holds all windows at once with its level: then so does the result, if the
    true counts are in order. Pointwise intervals would lose coverage.

    Args:
        low: lower ends, shape (…, windows), the shortest window first.
        high: upper ends, same shape.
    """
    return np.maximum.accumulate(low, axis=-1), np.flip(np.minimum.accumulate(np.flip(high, -1), axis=-1), -1)


def validate_finite(name: str, values: Floats) -> None:
    """Refuses values that no counts can be told from."""
    if not np.all(np.abs(values) <= LARGEST):
        raise ValueError(f"{name} holds values that are not finite or above 2^52; counts and their ends are needed")
