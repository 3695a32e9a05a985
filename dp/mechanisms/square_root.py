"""The square-root factorisation of continual counting: B = (1 − z)^(−1/2), B⁻¹ = (1 − z)^(1/2).

Fichtenberger, Henzinger, Upadhyay, "Constant matters: fine-grained error bound on differentially private continual
observation", 2023; its sensitivity for alternating streams is the certificate's (docs/guarantees.md).
"""

from __future__ import annotations

from dp.mechanisms import certificate
from dp.mechanisms.toeplitz import ToeplitzStrategy, damped_root_weights, nearest, quantised_root
from dp.units import ProtectedClass

LONGEST_EXACT = 4096
"""Ticks up to which all weights are kept for classes of one run."""


def strategy(protected: ProtectedClass) -> ToeplitzStrategy:
    """The square root for the class's horizon.

    Raises:
        ValueError: the class has no horizon, with which the error of this mechanism grows, or its hull is too long.
    """
    if protected.horizon is None:
        raise ValueError(
            "square-root needs a horizon: its error grows with the number of ticks; "
            "damped-square-root runs without an end for the unit user-day"
        )
    certificate.validate_hull(protected)
    length = max(protected.horizon - 1, 1)
    # One run needs no signs, so that the sums can be rounded, but then single grid units trickle on to the horizon;
    # rounding down stops where less than a unit is left, and keeps the conditions that several runs need.
    if protected.runs == 1 and protected.horizon <= LONGEST_EXACT:
        return nearest(damped_root_weights(1.0, length))
    return quantised_root(1.0, length)
