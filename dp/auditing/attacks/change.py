"""What a change of the counts does to what a mechanism measures, against what its certificate says."""

from __future__ import annotations

import numpy as np

from dp.arrays import Integers
from dp.auditing.measurements import exact_measurements
from dp.mechanisms import LinearDesign


def measured_over_certified(design: LinearDesign, with_user: Integers, without_user: Integers) -> float:
    """‖B⁻¹Δ‖ of two count series, as the strategy measures them, over the sensitivity that the noise is scaled to.

    The norm is ℓ₁ for Laplace and ℓ₂ for Gaussian noise. Above 1 the noise is too small for these neighbours.
    """
    difference = exact_measurements(design.strategy, with_user) - exact_measurements(design.strategy, without_user)
    return float(np.linalg.norm(difference, ord=1 if design.noise == "laplace" else 2)) / design.sensitivity
