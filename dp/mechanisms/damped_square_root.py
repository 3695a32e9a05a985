"""The damped square root: B = (1 − rz)^(−1/2) with the damping r < 1 chosen for the class.

Forgetting old noise costs sensitivity and saves variance. For the unit user-day the best r keeps the error constant
over any horizon; for the unit user it lowers the error of the square root wherever a user may flip more than once.
The proof is this project's own (docs/guarantees.md, "certificate").
"""

from __future__ import annotations

import numpy as np
import scipy

from dp.mechanisms import certificate
from dp.mechanisms.toeplitz import ToeplitzStrategy, damped_root_weights, quantised_root
from dp.units import ProtectedClass


def strategy(protected: ProtectedClass) -> ToeplitzStrategy:
    """The strategy with the damping that serves the class best, quantised.

    Raises:
        ValueError: the hull is too long.
    """
    certificate.validate_hull(protected)
    length = (protected.horizon or _unending(protected)) - 1
    return quantised_root(best_damping(protected), max(length, 1))


def best_damping(protected: ProtectedClass) -> float:
    """The damping r in [0, 1] that minimises the mean squared error over the horizon, or in the long run.

    For the unit user-day the long run decides whatever the horizon, so that a stream may be prolonged. The search uses
    the certificate's closed form with equal runs, which is within a per cent of the sharp one.
    """
    by_user = protected.horizon == protected.hull and protected.hull > 1
    # log10(1 − r) is searched, because the best r is within 1e-1 … 1e-4 of 1 for all but the shortest windows.
    best = scipy.optimize.minimize_scalar(
        lambda x: _approximate_error(1 - 10**x, protected, by_user), bounds=(-5.0, -0.0005), method="bounded"
    )
    damping = float(1 - 10**best.x)
    ends = [candidate for candidate in (0.0, 1.0) if by_user or candidate < 1]
    return min([damping, *ends], key=lambda r: _approximate_error(r, protected, by_user))


def _approximate_error(damping: float, protected: ProtectedClass, by_user: bool) -> float:
    """Squared sensitivity times mean decoder energy, for unquantised weights."""
    length = protected.hull if by_user else _unending(protected)
    weights = damped_root_weights(damping, length)
    response = certificate.step_response(weights, length)
    if protected.runs == 1 and protected.open_ended:
        sensitivity_squared = float(response @ response)
    else:
        sensitivity_squared = certificate.balanced_bound(
            np.maximum.accumulate(certificate.run_energy(response, protected.hull)), protected.runs
        )
    index = np.arange(1, length)
    decoder = np.concatenate([[1.0], np.cumprod(damping * (index - 0.5) / index)])
    energy = np.cumsum(decoder**2)
    return sensitivity_squared * float(energy.mean() if by_user else energy[-1])


def _unending(protected: ProtectedClass) -> int:
    """Ticks after which a damped series has settled, for windows of up to a few months."""
    return 64 * protected.hull + 1024
