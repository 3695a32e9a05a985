"""What a change of the counts does to what a mechanism measures, against what its certificate says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dp.mechanisms import EMPTY_STATE, GRID, Design

Integers = NDArray[np.int64]


def measured_over_certified(design: Design, with_user: Integers, without_user: Integers) -> float:
    """‖B⁻¹Δ‖ of two count series, as the strategy measures them, over the sensitivity that the noise is scaled to.

    The norm is ℓ₁ for Laplace and ℓ₂ for Gaussian noise. Above 1 the noise is too small for these neighbours.
    """
    difference = (_measurements(design, with_user) - _measurements(design, without_user)) / GRID
    return float(np.linalg.norm(difference, ord=1 if design.noise == "laplace" else 2)) / design.sensitivity


def runs(change: Integers) -> int:
    """How often a difference series of zeros and ones begins to be one."""
    return int(np.count_nonzero(np.diff(change, prepend=0) > 0))


def _measurements(design: Design, counts: Integers) -> NDArray[np.float64]:
    secret, measured = EMPTY_STATE.secret, []
    for tick, count in enumerate(counts.tolist()):
        exact, secret = design.strategy.measure(tick, secret, count)
        measured.append(exact)
    return np.concatenate(measured).astype(np.float64)
