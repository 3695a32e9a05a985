"""Privacy loss distributions: the losses themselves add up (Sommer, Meiser and Mohammadi 2019; Koskela et al. 2020).

The grid of `loss_grid` has its limits: a δ that Fourier transforms resolve, and losses that fit into memory. All other
accountants are upper bounds for the same losses. So the least of them is the answer beyond these limits, and wherever
the grid is coarser than one of them is loose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dp.accounting import advanced, gdp, loss_grid, rdp
from dp.accounting.accountant import Answer, found, lacking, log_kept, not_applicable, slack, without_delta
from dp.accounting.mechanism_events import MechanismEvent


def account(parts: Sequence[MechanismEvent], delta: float) -> Answer:
    """ε of the composed losses, tight up to the grid; never above what another accountant reports."""
    if delta == 0:
        return without_delta(parts, "no finite loss at δ = 0: not every release is pure")
    if names := lacking(parts, "loss"):
        return not_applicable(f"no dominating pair is known: {names}")
    # `advanced` is never above `naive`, nor `rdp` above `zcdp`.
    others = [each(parts, delta) for each in (advanced.account, rdp.account, gdp.account)]
    bounds = [other.epsilon for other in others if other.epsilon is not None]
    # Where one of them is exact, the grid has nothing to add.
    if not any(other.exact for other in others):
        bounds.append(loss_grid.grid_epsilon(parts, delta))
    least = min(bounds, default=math.inf)
    if least < math.inf:
        return found(least)
    if slack(delta, log_kept(parts)) is None:
        revealed = -math.expm1(log_kept(parts))
        return not_applicable(
            f"the releases reveal everything with a probability of {revealed:.15g}, more than {delta:.15g}"
        )
    return not_applicable("the losses reach too far for a grid, and no other accountant applies")
