"""Basic composition: ε and δ add up (Dwork and Roth 2014, theorem 3.16)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dp.accounting.accountant import ROUNDING, Answer, found, not_applicable
from dp.accounting.mechanism_events import MechanismEvent, epsilon_at, releases


def account(parts: Sequence[MechanismEvent], delta: float) -> Answer:
    """Σε at Σδ ≤ `delta`. Releases whose ε depends on a δ share equally what the others leave of it."""
    own = math.fsum(part.count * part.delta for part in parts)
    flexible = [part for part in parts if part.epsilon is None]
    # 0.1 + 0.2 is not more than 0.3, and leaves nothing of it.
    rounding = ROUNDING * (own + delta) if own else 0.0
    if own > delta + rounding:
        return not_applicable(f"the releases' own δ add up to {own:.15g}, more than {delta:.15g}")
    left = max(0.0, delta - own - rounding)
    if flexible and left <= 0:
        return not_applicable(f"no δ is left for {flexible[0].name}, which has no finite ε at δ = 0")
    share = left / releases(flexible) if flexible else 0.0
    if flexible and share < 1e-300:
        return not_applicable(f"δ = {delta:.3g} is too small to be shared by {releases(flexible)} releases")
    # At δ = 0 the largest losses really add up; a lone release whose curve is known has that ε.
    alone = len(parts) == 1 and parts[0].count == 1 and parts[0].attained_at(share)
    total = math.fsum(part.count * epsilon_at(part, share) for part in parts)
    return found(total, exact=alone or delta == 0)
