"""What the sketches of Apache DataSketches (HLL, CPC, Theta) share."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dp.arrays import Floats
from dp.sketches.protocol import Keys

CHUNK = 2**16
HALVES = 2.0 ** -np.arange(64)
"""2^−r for the ranks r from 0."""


def update_all(update: Callable[[int], None], keys: Keys | NDArray[np.uint64]) -> None:
    """Feed the keys one by one, because the library takes no arrays.

    They must be signed for HLL and Theta and unsigned for CPC: the library rounds numbers outside that range to floats,
    so that neighbours become one user.
    """
    for start in range(0, len(keys), CHUNK):
        # Chunk by chunk, because a list takes five times the room of the array.
        for key in keys[start : start + CHUNK].tolist():
            update(key)


def validate_lg_k(lg_k: int) -> None:
    """Raise ValueError unless the library takes this logarithm and the error formulas hold for it."""
    if not 7 <= lg_k <= 21:
        raise ValueError(f"lg_k is {lg_k}; it must lie between 7 and 21, for instance 12")


def historic_error(chance: Callable[[Floats], Floats], buckets: int, count: float, exact: float = 1.0) -> float:
    """Standard error of an estimate along the way: each change adds 1/q to it, so its variance is ∫(1/q − 1) dn.

    Args:
        chance: from users per bucket to the mean chance q that the next user changes the sketch.
        buckets: number of buckets.
        count: number of users.
        exact: the number of users up to which the count was exact; the first always is.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    half = max(count - exact, 0.0) / 2
    # The sum over users from the first that may err to the last is the integral between the half-integers around them.
    users = exact - 0.5 + half * (1 + nodes)
    return math.sqrt(half * float(weights @ (1 / chance(users / buckets) - 1)))
