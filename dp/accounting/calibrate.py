"""From a guarantee to noise scales: how a stream of one or several series spends one (ε, δ)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dp.accounting import gaussian
from dp.accounting.composition import Guarantee
from dp.mechanisms import (
    GRID,
    DataDependent,
    Design,
    LinearMechanism,
    Mechanism,
    adaptive_flippancy,
    joint,
    linear_design,
    sparse_vector,
)
from dp.units import ProtectedClass

TAIL = 24.0
"""Standard deviations within which the discrete and the rounded continuous Gaussian are compared pointwise."""

LEVELS_BY = "damped-square-root"
"""The linear mechanism that adaptive-flippancy runs at each of its levels, and joint releases in each window."""


def calibrate(
    designs: Sequence[Design | DataDependent], guarantee: Guarantee, shares: Sequence[float]
) -> list[Mechanism]:
    """Mechanisms, one per design, that together satisfy `guarantee` over the whole series.

    Laplace designs and sparse-vector divide ε (and δ) by `shares` (basic composition). Gaussian designs and
    adaptive-flippancy divide μ² (exact composition), with the slack between discrete and continuous Gaussian taken out
    first (docs/guarantees.md).

    Args:
        designs: one per series, all of one mechanism or at least with the same kind of noise.
        guarantee: of all series together; δ is ignored by Laplace noise, which is pure.
        shares: positive, one per design; they are normalised.

    Raises:
        ValueError: the guarantee or the shares are out of range, or the kinds of noise differ.
    """
    parts = normalised(shares, len(designs))
    linear = [design for design in designs if isinstance(design, Design)]
    if len(linear) == len(designs):
        return list(calibrate_linear(linear, guarantee, shares))
    if {design.name for design in designs} == {"sparse-vector"}:
        gaussian.validate_epsilon(guarantee.epsilon)
        return [
            sparse_vector.design(design.protected, guarantee.epsilon * part, guarantee.delta * part)
            for design, part in zip(designs, parts, strict=True)
            if isinstance(design, DataDependent)
        ]
    if {design.name for design in designs} == {"adaptive-flippancy"}:
        return list(_adaptive([design for design in designs if isinstance(design, DataDependent)], guarantee, parts))
    raise ValueError("series of linear and of data-dependent mechanisms cannot share one budget; release them apart")


def calibrate_on_time(
    windows: Sequence[int],
    horizon: int,
    guarantee: Guarantee,
    shares: Sequence[float],
    exceptions: joint.Exceptions,
) -> list[LinearMechanism]:
    """Damped square roots that together satisfy `guarantee` for everything a user does who acts on time.

    Their noise is that of the joint worst case of all windows, not of the sum of each one's own (docs/guarantees.md,
    section 14).

    Args:
        windows: trailing windows, each once.
        exceptions: how often the protected user may take something back or be late.

    Returns:
        one mechanism a window, in the order given.

    Raises:
        ValueError: an argument is out of range.
    """
    parts = normalised(shares, len(windows))
    order = sorted(range(len(windows)), key=lambda index: windows[index])
    strategies = joint.best_strategies(
        tuple(windows[index] for index in order), tuple(parts[index] for index in order), horizon, exceptions
    )
    series = [
        joint.window_series(strategy.subtracted, windows[index], horizon)
        for index, strategy in zip(order, strategies, strict=True)
    ]
    factor = joint.scale_factor(series, [parts[index] for index in order], horizon, exceptions)
    alone = [joint.joint_sensitivity_squared([one], [1.0], horizon, exceptions) for one in series]
    designs = [
        Design(LEVELS_BY, "gaussian", strategies[place], math.sqrt(alone[place]), horizon)
        for place in (order.index(index) for index in range(len(windows)))
    ]
    return calibrate_linear(designs, guarantee, shares, factor)


def calibrate_linear(
    designs: Sequence[Design], guarantee: Guarantee, shares: Sequence[float], factor: float = 1.0
) -> list[LinearMechanism]:
    """`calibrate` for linear mechanisms.

    Args:
        factor: by which the joint worst case lets all Gaussian noise scales shrink; 1 adds up each series' own.
    """
    parts = normalised(shares, len(designs))
    kinds = {design.noise for design in designs}
    if kinds == {"laplace"}:
        gaussian.validate_epsilon(guarantee.epsilon)
        return [
            design.with_scale(GRID * design.sensitivity / (guarantee.epsilon * part))
            for design, part in zip(designs, parts, strict=True)
        ]
    if kinds == {"gaussian"}:
        first = _gaussian_scales(designs, gaussian.mu_for(*guarantee) / factor, parts)
        touched = sum(design.touched for design in designs)
        scales = _gaussian_scales(designs, gaussian.mu_for(*_reduced(guarantee, min(first), touched)) / factor, parts)
        return [design.with_scale(scale) for design, scale in zip(designs, scales, strict=True)]
    raise ValueError("series with Gaussian and with Laplace noise cannot share one budget; release them separately")


def normalised(shares: Sequence[float], number: int) -> list[float]:
    """The shares divided by their sum.

    Raises:
        ValueError: they are not `number` positive numbers.
    """
    if len(shares) != number or any(not 0 < share < math.inf for share in shares):
        raise ValueError(f"shares are {list(shares)}; one positive number is needed for each of {number} series")
    return [share / math.fsum(shares) for share in shares]


def series_guarantee(mechanism: Mechanism, guarantee: Guarantee, part: float) -> Guarantee:
    """What one series of a joint release promises on its own, at the δ of the whole; never more than the whole.

    Args:
        part: its normalised share.
    """
    if isinstance(mechanism, LinearMechanism):
        spent = GRID * mechanism.sensitivity / mechanism.noise.scale
        if mechanism.noise.pure:
            return Guarantee(min(spent, guarantee.epsilon), 0.0)
        epsilon_slack, delta_slack = discretisation_slack(mechanism.noise.scale, mechanism.touched, guarantee.epsilon)
        delta = (guarantee.delta - delta_slack) * (1 - epsilon_slack)
        return Guarantee(min(gaussian.epsilon_for(spent, delta) + epsilon_slack, guarantee.epsilon), guarantee.delta)
    if isinstance(mechanism, adaptive_flippancy.AdaptiveFlippancy):
        mu = gaussian.mu_for(*guarantee) * math.sqrt(part)
        return Guarantee(min(gaussian.epsilon_for(mu, guarantee.delta), guarantee.epsilon), guarantee.delta)
    return Guarantee(guarantee.epsilon * part, guarantee.delta * part)


def discretisation_slack(scale: float, touched: int, epsilon: float) -> tuple[float, float]:
    """What (ε, δ) lose when N(0, σ²) becomes the discrete Gaussian on `touched` measurements.

    On |z| ≤ 24σ the discrete Gaussian and the rounded continuous one differ pointwise by at most a factor e^±τ,
    τ = 72/σ² (σ = `scale`); beyond lies at most 2e^(−288 + 24/σ) of either (docs/guarantees.md, section 6).
    """
    tau = TAIL**2 / (8 * scale**2)
    tail = 2 * touched * math.exp(-(TAIL**2) / 2 + TAIL / scale)
    return 2 * touched * tau, tail * (1 + math.exp(epsilon + touched * tau))


def _adaptive(
    designs: Sequence[DataDependent], guarantee: Guarantee, parts: Sequence[float]
) -> list[adaptive_flippancy.AdaptiveFlippancy]:
    def built(whole: float) -> list[adaptive_flippancy.AdaptiveFlippancy]:
        return [
            adaptive_flippancy.design(validate_adaptive(design.protected), whole * math.sqrt(part), _level)
            for design, part in zip(designs, parts, strict=True)
        ]

    first = built(gaussian.mu_for(*guarantee))
    levels = [level for mechanism in first for level in mechanism.levels if isinstance(level, LinearMechanism)]
    reduced = _reduced(guarantee, min(level.noise.scale for level in levels), sum(level.touched for level in levels))
    return built(gaussian.mu_for(*reduced))


def _level(protected: ProtectedClass, mu: float) -> LinearMechanism:
    chosen = linear_design(LEVELS_BY, protected)
    return chosen.with_scale(GRID * chosen.sensitivity / mu)


def validate_adaptive(protected: ProtectedClass) -> int:
    """The horizon of a class that adaptive-flippancy can serve.

    Raises:
        ValueError: the class is not that of the unit user with a horizon.
    """
    if protected.horizon is None or protected.hull != protected.horizon:
        raise ValueError("adaptive-flippancy serves the unit user with a horizon; for user-day choose a W_BOUND")
    return protected.horizon


def _reduced(guarantee: Guarantee, scale: float, touched: int) -> Guarantee:
    """What is left of a guarantee for continuous noise.

    The slack falls as the noise grows, so that the slack of a first round covers the second, with more noise.
    """
    epsilon_slack, delta_slack = discretisation_slack(scale, touched, guarantee.epsilon)
    if epsilon_slack >= guarantee.epsilon or delta_slack >= guarantee.delta:
        raise ValueError(
            f"epsilon is {guarantee.epsilon:g} and delta {guarantee.delta:g}, of which the discrete Gaussian takes "
            f"{epsilon_slack:.2g} and {delta_slack:.2g}; choose larger ones"
        )
    return Guarantee(guarantee.epsilon - epsilon_slack, (guarantee.delta - delta_slack) * (1 - epsilon_slack))


def _gaussian_scales(designs: Sequence[Design], mu: float, parts: Sequence[float]) -> list[float]:
    return [GRID * design.sensitivity / (mu * math.sqrt(part)) for design, part in zip(designs, parts, strict=True)]
