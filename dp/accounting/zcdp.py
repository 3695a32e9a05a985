"""Zero-concentrated differential privacy: ρ adds up (Bun and Steinke 2016, lemma 7; in arXiv 1.7)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dp.accounting.accountant import Answer, found, lacking, not_applicable
from dp.accounting.composition import zcdp_epsilon
from dp.accounting.mechanism_events import MechanismEvent


def account(parts: Sequence[MechanismEvent], delta: float) -> Answer:
    """ε by the best Rényi order of Σρ."""
    if names := lacking(parts, "rho"):
        return not_applicable(f"no finite ρ: {names}")
    rho = math.fsum(part.count * part.rho for part in parts if part.rho is not None)
    if rho == 0:
        return found(0.0)
    if delta == 0:
        return not_applicable("ρ-zCDP implies no finite ε at δ = 0")
    return found(zcdp_epsilon(rho, delta))
