"""The square-root factorisation of continual counting: B = (1 − z)^(−1/2), B⁻¹ = (1 − z)^(1/2).

Fichtenberger, Henzinger, Upadhyay, "Constant matters: fine-grained error bound on differentially private continual
observation", 2023; its sensitivity for alternating streams is the certificate's (docs/guarantees.md).
"""

from __future__ import annotations

from dp.mechanisms.toeplitz import ToeplitzStrategy, damped_root_weights, nearest, quantise
from dp.units import ProtectedClass

LONGEST_EXACT = 4096
"""Ticks up to which all weights are kept for classes of one run."""


def strategy(protected: ProtectedClass) -> ToeplitzStrategy:
    """The square root for the class's horizon.

    Raises:
        ValueError: the class has no horizon; the error of this mechanism grows with it.
    """
    if protected.horizon is None:
        raise ValueError(
            "square-root needs a horizon: its error grows with the number of ticks; "
            "damped-square-root runs without an end for the unit user-day"
        )
    weights = damped_root_weights(1.0, max(protected.horizon - 1, 1))
    # One run needs no signs, so that the sums can be rounded, but then single grid units trickle on to the horizon;
    # rounding down stops where less than a unit is left, and keeps the conditions that several runs need.
    return nearest(weights) if protected.runs == 1 and protected.horizon <= LONGEST_EXACT else quantise(weights)
