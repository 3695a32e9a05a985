"""What an ε-DP mechanism is worth in terms of Gaussian differential privacy, and the other way round."""

from __future__ import annotations

import scipy


def gdp_of_pure(epsilon: float) -> float:
    """The smallest μ for which every ε-DP mechanism is μ-GDP: −2Φ⁻¹(1/(1 + e^ε)) (proof in docs/guarantees.md)."""
    return -2 * float(scipy.special.ndtri(scipy.special.expit(-epsilon)))


def pure_of_gdp(mu: float) -> float:
    """The ε whose `gdp_of_pure` is `mu`: ln Φ(μ/2) − ln Φ(−μ/2), a hair less for the rounding of floats."""
    return float(scipy.special.log_ndtr(mu / 2) - scipy.special.log_ndtr(-mu / 2)) * (1 - 1e-12)
