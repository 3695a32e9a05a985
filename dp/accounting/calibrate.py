"""From a guarantee to noise scales: how a stream of one or several series spends one (ε, δ)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from dp.accounting import gaussian, laplace
from dp.accounting.composition import Guarantee
from dp.mechanisms import Design, LinearDesign, LinearMechanism, Mechanism, joint
from dp.mechanisms.protocol import NoiseName, SeriesBudget

TAIL = 24.0
"""Standard deviations within which the discrete and the rounded continuous Gaussian are compared pointwise."""

JOINT_MECHANISM = "damped-square-root"
"""The linear mechanism that joint releases run in each window."""

Calibrated = TypeVar("Calibrated", bound=Mechanism, covariant=True)


class _Calibratable(Protocol[Calibrated]):
    """A design, with the type of what it makes."""

    @property
    def noise(self) -> NoiseName: ...
    def calibrated(self, budget: SeriesBudget) -> Calibrated: ...


def calibrate_designs(designs: Sequence[Design], guarantee: Guarantee, shares: Sequence[float]) -> list[Mechanism]:
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
    if len({design.name if design.data_dependent else None for design in designs}) > 1:
        raise ValueError(
            "series of linear and of data-dependent mechanisms cannot share one budget; release them apart"
        )
    return _calibrated(designs, guarantee, shares)


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
        LinearDesign(JOINT_MECHANISM, "gaussian", strategies[place], math.sqrt(alone[place]), horizon)
        for place in (order.index(index) for index in range(len(windows)))
    ]
    return calibrate_linear(designs, guarantee, shares, factor)


def calibrate_spending_delta(
    designs: Sequence[LinearDesign], guarantee: Guarantee, shares: Sequence[float]
) -> list[tuple[LinearMechanism, Guarantee]]:
    """Laplace mechanisms that together satisfy `guarantee` with δ > 0: less noise where a change alters many numbers.

    Their ε are in proportion to `shares` and add up to more than that of the guarantee; their privacy losses together
    do not (docs/guarantees.md, section 11.8).

    Returns:
        each mechanism with what its series promises on its own, at the δ of the whole.

    Raises:
        ValueError: the guarantee or the shares are out of range, a design draws Gaussian noise or noise ahead, or one
            change may move a measurement by two users.
    """
    parts = normalised(shares, len(designs))
    gaussian.validate_guarantee(*guarantee)
    for design in designs:
        if design.noise != "laplace":
            raise ValueError(f"{design.name} draws Gaussian noise, which needs δ in any case; take a Laplace mechanism")
        if not design.in_turn:
            raise ValueError(
                f"{design.name} cannot spend δ: what a change does to noise that is drawn ahead may depend on what was "
                "seen of it, and only ε bounds that; take δ = 0, or laplace"
            )
        if design.doubled:
            raise ValueError(
                f"{design.name} cannot spend δ here: one change may move a number by two users, for which no account "
                "is proved; take δ = 0"
            )
    series = tuple(
        (_shifts(design.sensitivity), guarantee.epsilon * part / design.sensitivity)
        for design, part in zip(designs, parts, strict=True)
    )
    mechanisms = _calibrated(designs, guarantee, shares, 1 / laplace.saving(series, guarantee))
    return [(mechanism, _spending_alone(mechanism, guarantee)) for mechanism in mechanisms]


def calibrate_linear(
    designs: Sequence[LinearDesign], guarantee: Guarantee, shares: Sequence[float], factor: float = 1.0
) -> list[LinearMechanism]:
    """`calibrate_designs` for linear mechanisms.

    Args:
        factor: by which all noise scales are multiplied that add up each series' own, because together they need less.
    """
    return _calibrated(designs, guarantee, shares, factor)


def _calibrated(
    designs: Sequence[_Calibratable[Calibrated]], guarantee: Guarantee, shares: Sequence[float], factor: float = 1.0
) -> list[Calibrated]:
    parts = normalised(shares, len(designs))
    kinds = {design.noise for design in designs}
    if kinds == {"laplace"}:
        gaussian.validate_epsilon(guarantee.epsilon)
        return _spending(designs, Guarantee(guarantee.epsilon / factor, guarantee.delta), parts, math.nan)
    if kinds == {"gaussian"}:
        first = _spending(designs, guarantee, parts, gaussian.mu_for(*guarantee) / factor)
        draws = [one for mechanism in first for one in mechanism.gaussian_draws]
        # One change may alter measurements of every series and level: they add up.
        reduced = _reduced(guarantee, min(scale for scale, _ in draws), sum(touched for _, touched in draws))
        return _spending(designs, guarantee, parts, gaussian.mu_for(*reduced) / factor)
    raise ValueError("series with Gaussian and with Laplace noise cannot share one budget; release them separately")


def _spending(
    designs: Sequence[_Calibratable[Calibrated]], guarantee: Guarantee, parts: Sequence[float], mu: float
) -> list[Calibrated]:
    """The mechanisms that divide (ε, δ), or μ², by these parts."""
    epsilon, delta = guarantee
    return [
        design.calibrated(SeriesBudget(epsilon * part, delta * part, mu * math.sqrt(part)))
        for design, part in zip(designs, parts, strict=True)
    ]


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
    if not mechanism.gaussian_draws:
        if mechanism.spent is None:
            return Guarantee(guarantee.epsilon * part, guarantee.delta * part)
        return Guarantee(min(mechanism.spent, guarantee.epsilon), 0.0)
    if mechanism.spent is None:
        mu, delta, epsilon_slack = gaussian.mu_for(*guarantee) * math.sqrt(part), guarantee.delta, 0.0
    else:
        ((scale, touched),) = mechanism.gaussian_draws
        epsilon_slack, delta_slack = discretisation_slack(scale, touched, guarantee.epsilon)
        mu, delta = mechanism.spent, (guarantee.delta - delta_slack) * (1 - epsilon_slack)
    return Guarantee(min(gaussian.epsilon_for(mu, delta) + epsilon_slack, guarantee.epsilon), guarantee.delta)


def _spending_alone(mechanism: LinearMechanism, guarantee: Guarantee) -> Guarantee:
    each = mechanism.spent / mechanism.sensitivity
    alone = laplace.composed_epsilon([(_shifts(mechanism.sensitivity), each)], guarantee.delta)
    return Guarantee(min(alone, guarantee.epsilon), guarantee.delta)


def _shifts(sensitivity: float) -> int:
    """How many measurements shift by a user, by the ℓ₁ sensitivity, which may be off by a rounding."""
    return math.ceil(sensitivity - 1e-6)


def discretisation_slack(scale: float, touched: int, epsilon: float) -> tuple[float, float]:
    """What (ε, δ) lose when N(0, σ²) becomes the discrete Gaussian on `touched` measurements.

    On |z| ≤ 24σ the discrete Gaussian and the rounded continuous one differ pointwise by at most a factor e^±τ,
    τ = 72/σ² (σ = `scale`); beyond lies at most 2e^(−288 + 24/σ) of either (docs/guarantees.md, section 6).
    """
    tau = TAIL**2 / (8 * scale**2)
    tail = 2 * touched * math.exp(-(TAIL**2) / 2 + TAIL / scale)
    return 2 * touched * tau, tail * (1 + math.exp(epsilon + touched * tau))


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
