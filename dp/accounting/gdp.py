"""Gaussian differential privacy: μ² adds up (Dong, Roth and Su 2022, corollary 2; in arXiv 3.3).

Only a μ that really holds is used, never the central limit theorem, whose μ is an approximation and not a guarantee.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dp.accounting.accountant import Answer, found, lacking, not_applicable
from dp.accounting.gaussian import epsilon_for
from dp.accounting.mechanism_events import MechanismEvent


def account(parts: Sequence[MechanismEvent], delta: float) -> Answer:
    """ε on the curve of √Σμ²; exact if every release is Gaussian."""
    if names := lacking(parts, "mu"):
        return not_applicable(f"not μ-GDP for any μ: {names}")
    mu = math.sqrt(math.fsum(part.count * part.mu**2 for part in parts if part.mu is not None))
    if mu == 0:
        return found(0.0)
    if delta == 0:
        return not_applicable("a Gaussian has no finite ε at δ = 0")
    return found(epsilon_for(mu, delta), exact=all(part.gaussian for part in parts))
