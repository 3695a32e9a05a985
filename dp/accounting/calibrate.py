"""From a guarantee to noise scales: how a stream of one or several series spends one (ε, δ)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dp.accounting import gaussian
from dp.accounting.composition import Guarantee
from dp.mechanisms import GRID, Design, Mechanism

TAIL = 24.0
"""Standard deviations within which the discrete and the rounded continuous Gaussian are compared pointwise."""


def calibrate(designs: Sequence[Design], guarantee: Guarantee, shares: Sequence[float]) -> list[Mechanism]:
    """Mechanisms, one per design, that together satisfy `guarantee` over the whole series.

    Laplace designs divide ε by `shares` (basic composition). Gaussian designs divide μ² (exact composition), with the
    slack between discrete and continuous Gaussian taken out first (docs/guarantees.md).

    Args:
        designs: one per series, all with the same kind of noise.
        guarantee: of all series together; δ is ignored by Laplace noise, which is pure.
        shares: positive, one per design; they are normalised.

    Raises:
        ValueError: the guarantee or the shares are out of range, or the kinds of noise differ.
    """
    if len(shares) != len(designs) or any(not 0 < share < math.inf for share in shares):
        raise ValueError(f"shares are {list(shares)}; one positive number is needed for each of {len(designs)} series")
    parts = [share / math.fsum(shares) for share in shares]
    kinds = {design.noise for design in designs}
    if kinds == {"laplace"}:
        gaussian.validate_epsilon(guarantee.epsilon)
        return [
            design.with_scale(GRID * design.sensitivity / (guarantee.epsilon * part))
            for design, part in zip(designs, parts, strict=True)
        ]
    if kinds == {"gaussian"}:
        first = _gaussian_scales(designs, guarantee, parts)
        # The slack falls as the noise grows, so that the slack of the first round covers the second.
        epsilon_slack, delta_slack = discretisation_slack(
            min(first), sum(design.touched for design in designs), guarantee.epsilon
        )
        reduced = Guarantee(guarantee.epsilon - epsilon_slack, (guarantee.delta - delta_slack) * (1 - epsilon_slack))
        scales = _gaussian_scales(designs, reduced, parts)
        return [design.with_scale(scale) for design, scale in zip(designs, scales, strict=True)]
    raise ValueError("series with Gaussian and with Laplace noise cannot share one budget; release them separately")


def series_guarantee(mechanism: Mechanism, guarantee: Guarantee) -> Guarantee:
    """What one series of a joint release promises on its own, at the δ of the whole; never more than the whole."""
    spent = GRID * mechanism.sensitivity / mechanism.noise.scale
    if mechanism.noise.pure:
        return Guarantee(min(spent, guarantee.epsilon), 0.0)
    epsilon_slack, delta_slack = discretisation_slack(mechanism.noise.scale, mechanism.touched, guarantee.epsilon)
    delta = (guarantee.delta - delta_slack) * (1 - epsilon_slack)
    return Guarantee(min(gaussian.epsilon_for(spent, delta) + epsilon_slack, guarantee.epsilon), guarantee.delta)


def discretisation_slack(scale: float, touched: int, epsilon: float) -> tuple[float, float]:
    """What (ε, δ) lose when N(0, σ²) becomes the discrete Gaussian on `touched` measurements.

    On |z| ≤ 24σ the discrete Gaussian and the rounded continuous one differ pointwise by at most a factor e^±τ,
    τ = 72/σ² (σ = `scale`); beyond lies at most 2e^(−288 + 24/σ) of either (docs/guarantees.md, section 6).
    """
    tau = TAIL**2 / (8 * scale**2)
    tail = 2 * touched * math.exp(-(TAIL**2) / 2 + TAIL / scale)
    return 2 * touched * tau, tail * (1 + math.exp(epsilon + touched * tau))


def _gaussian_scales(designs: Sequence[Design], guarantee: Guarantee, parts: Sequence[float]) -> list[float]:
    mu = gaussian.mu_for(guarantee.epsilon, guarantee.delta)
    return [GRID * design.sensitivity / (mu * math.sqrt(part)) for design, part in zip(designs, parts, strict=True)]
