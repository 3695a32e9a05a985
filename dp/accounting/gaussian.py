"""The exact privacy curve of the Gaussian mechanism, in both directions.

A Gaussian mechanism whose ℓ₂ sensitivity is μ standard deviations is μ-GDP, and its curve is
δ(ε) = Φ(−ε/μ + μ/2) − e^ε Φ(−ε/μ − μ/2) (Balle and Wang 2018, theorem 8; Dong, Roth and Su 2022, corollary 1).
Several of them compose exactly: μ² adds up.
"""

from __future__ import annotations

import math

import scipy

SMALLEST_EPSILON, LARGEST_EPSILON = 1e-6, 100.0
"""Below, the noise outgrows any count; above, a guarantee means nothing and the noise no longer covers the grid."""


def validate_guarantee(epsilon: float, delta: float) -> None:
    """Raise ValueError unless 1e-6 ≤ epsilon ≤ 100 and 0 < delta < 1."""
    validate_epsilon(epsilon)
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}; Gaussian noise needs 0 < delta < 1, for instance 1e-6")


def validate_epsilon(epsilon: float) -> None:
    """Raise ValueError unless 1e-6 ≤ epsilon ≤ 100."""
    if not SMALLEST_EPSILON <= epsilon <= LARGEST_EPSILON:
        raise ValueError(
            f"epsilon is {epsilon}; it must lie between {SMALLEST_EPSILON:g} and {LARGEST_EPSILON:g}, for instance 1"
        )


def delta_for(mu: float, epsilon: float) -> float:
    """The smallest δ at `epsilon` ≥ 0 of a μ-GDP Gaussian mechanism.

    Both terms are e^(log Φ) at nearly the same size, so their difference is taken as the first times 1 − e^(difference
    of logs), and of the scaled complementary error functions where that would cancel.
    """
    if mu <= 0:
        raise ValueError(f"mu is {mu}; it must be positive")
    upper, lower = -epsilon / mu + mu / 2, -epsilon / mu - mu / 2
    if upper > 0:
        log_first = float(scipy.special.log_ndtr(upper))
        return -math.exp(log_first) * math.expm1(epsilon + float(scipy.special.log_ndtr(lower)) - log_first)
    # Φ(−x) = e^(−x²/2) erfcx(x/√2)/2, and ε − lower²/2 = −upper²/2 exactly.
    erfcx = scipy.special.erfcx
    return 0.5 * math.exp(-(upper**2) / 2) * float(erfcx(-upper / math.sqrt(2)) - erfcx(-lower / math.sqrt(2)))


def mu_for(epsilon: float, delta: float) -> float:
    """The largest μ whose curve passes (ε, δ); a Gaussian mechanism needs the standard deviation sensitivity/μ.

    Raises:
        ValueError: epsilon or delta is out of range.
    """
    validate_guarantee(epsilon, delta)
    # log μ runs from noise far too large to noise far too small for any ε ≤ 100 and any δ a float can hold.
    root = float(
        scipy.optimize.brentq(lambda x: _log_delta(math.exp(x), epsilon) - math.log(delta), -25.0, 8.0, xtol=1e-14)
    )
    return math.exp(root) * (1 - 1e-12)


def epsilon_for(mu: float, delta: float) -> float:
    """The smallest ε ≥ 0 at `delta` of a μ-GDP Gaussian mechanism."""
    if not 0 < delta < 1:
        raise ValueError(f"delta is {delta}; it must lie strictly between 0 and 1")
    if delta_for(mu, 0.0) <= delta:
        return 0.0
    highest = mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta)) + 1.0
    return float(
        scipy.optimize.brentq(lambda epsilon: _log_delta(mu, epsilon) - math.log(delta), 0.0, highest, xtol=1e-13)
    )


def _log_delta(mu: float, epsilon: float) -> float:
    delta = delta_for(mu, epsilon)
    return math.log(delta) if delta > 0 else -1e6
