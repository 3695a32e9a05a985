"""Whole numbers with a given sum, each within its bounds, near to estimates: parts that add up to a rounded total."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Floats, Integers

AnyNumbers = NDArray[np.number[Any]]
"""Whole or other numbers."""

HALVINGS = 64
"""More than the digits of a float, so that the projection is exact but for rounding errors."""


def whole_parts(estimates: Floats, total: Integers, low: AnyNumbers, high: AnyNumbers) -> Integers:
    """The nearest parts between their bounds with the given sum, rounded by largest remainders.

    The nearest point in the plain sense is clip(estimates − λ, low, high), with one λ for all parts. It is rounded
    down, and the units that are then missing go to the parts that lost most; of equal ones to the earlier.

    Args:
        estimates: shape (…, parts).
        total: whole numbers, shape (…).
        low: whole numbers or −inf, a shape that broadcasts to that of the estimates.
        high: whole numbers or inf, likewise.

    Returns:
        shape (…, parts); every row adds up to its total.

    Raises:
        ValueError: some total is out of reach of the bounds.
    """
    first, last = (np.broadcast_to(np.asarray(ends, dtype=np.float64), estimates.shape) for ends in (low, high))
    least, most = first.sum(axis=-1), last.sum(axis=-1)
    impossible = np.ravel(np.any(first > last, axis=-1) | (least > total) | (total > most))
    if np.any(impossible):
        wrong = int(np.argmax(impossible))
        raise ValueError(
            f"total is {np.ravel(total)[wrong]}, but the parts lie between {np.ravel(least)[wrong]} and "
            f"{np.ravel(most)[wrong]} in all; no parts can add up to it"
        )
    projected = _with_sum(estimates, total, first, last)
    whole = np.floor(projected)
    missing = total - whole.sum(axis=-1)
    order = np.argsort(whole - projected, axis=-1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(order.shape[-1]), order.shape), axis=-1)
    return np.asarray(whole + (place < missing[..., np.newaxis]), dtype=np.int64)


def _with_sum(estimates: Floats, total: Integers, low: Floats, high: Floats) -> Floats:
    """The nearest point between the bounds whose sum is the total, from below by a rounding error."""
    reach = sum(np.abs(np.where(np.isfinite(ends), ends, 0.0)).sum(axis=-1) for ends in (low, high))
    most = np.abs(estimates).max(axis=-1) + reach + np.abs(total) + 1.0
    # Too little is taken off at `less`, enough at `more`.
    less, more = -most, most.copy()
    for _ in range(HALVINGS):
        middle = (less + more) / 2
        enough = np.clip(estimates - middle[..., np.newaxis], low, high).sum(axis=-1) <= total
        more, less = np.where(enough, middle, more), np.where(enough, less, middle)
    return np.asarray(np.clip(estimates - more[..., np.newaxis], low, high))
