"""How adaptive flippancy is calibrated: its bounds, its thresholds, and what its levels and tests get of the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dp.mechanisms.adaptive_flippancy import AdaptiveFlippancy, validate_bounds
from dp.mechanisms.damped_square_root import strategy as damped_square_root
from dp.mechanisms.linear import LinearMechanism
from dp.mechanisms.linear_design import choose
from dp.mechanisms.protocol import EMPTY_STATE, GRID, NoiseName, SeriesBudget
from dp.mechanisms.pure_gdp import pure_of_gdp
from dp.noise import LaplaceNoise
from dp.units import ProtectedClass, protected_class

LEVELS_BY = "damped-square-root"
"""The linear mechanism that runs at each level."""

TEST_SHARE = 0.5
"""Part of μ² that the tests get from `design`: they are as dear as the releases, for both errors add up."""

FALSE_ALARMS = 0.1
"""Bound on the chance that a level without a frozen user is left within the horizon, for the thresholds by `design`."""


@dataclass(frozen=True)
class AdaptiveFlippancyDesign:
    """Adaptive flippancy for a class: everything but the guarantee.

    Raises:
        ValueError: the class is not that of the unit user with a horizon.
    """

    protected: ProtectedClass

    name: ClassVar[str] = AdaptiveFlippancy.name
    noise: ClassVar[NoiseName] = "gaussian"
    data_dependent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.protected.horizon is None or self.protected.hull != self.protected.horizon:
            raise ValueError("adaptive-flippancy serves the unit user with a horizon; for user-day choose a W_BOUND")

    def calibrated(self, budget: SeriesBudget) -> AdaptiveFlippancy:
        """The mechanism of `design` for that μ, with a damped square root at each of its levels."""
        return design(self.protected.hull, budget.mu, _level)

    def cost(self, budget: SeriesBudget, ticks: int) -> None:
        """None: what is drawn depends on the levels that are met."""


def _level(protected: ProtectedClass, mu: float) -> LinearMechanism:
    chosen = choose(LEVELS_BY, "gaussian", damped_square_root, protected)
    return chosen.with_scale(GRID * chosen.sensitivity / mu)


def design(
    horizon: int,
    mu: float,
    linear: Callable[[ProtectedClass, float], LinearMechanism],
    *,
    bounds: Sequence[int] | None = None,
    test_share: float = TEST_SHARE,
) -> AdaptiveFlippancy:
    """A mechanism that is `mu`-GDP over the whole series; its parameters depend on no data.

    Args:
        horizon: number of ticks.
        mu: of the whole series, in terms of Gaussian differential privacy (`dp.accounting.gaussian.mu_for`).
        linear: gives the linear mechanism for a class that is μ-GDP for the μ that is passed.
        bounds: W_BOUND of every level; by default `rising_bounds(horizon)`.
        test_share: the part of μ² that the tests get.

    Returns:
        Levels with equal parts of what is left of μ², tests with equal parts of theirs. A threshold is the largest
        standard deviation of the next level, but never so low that a level without a frozen user is left within the
        horizon with a probability above 0.1.

    Raises:
        ValueError: an argument is out of range, or the noise it takes cannot be drawn.
    """
    if not 0 < mu < math.inf:
        raise ValueError(f"mu is {mu}; it must be positive")
    if not 0 < test_share < 1:
        raise ValueError(f"test_share is {test_share}; it must lie strictly between 0 and 1")
    chosen = rising_bounds(horizon) if bounds is None else tuple(bounds)
    validate_bounds(chosen, horizon)
    tests = len(chosen) - 1
    level_mu = mu * math.sqrt((1 - test_share if tests else 1.0) / len(chosen))
    levels = tuple(linear(protected_class("user", 1, bound, horizon), level_mu) for bound in chosen)
    test_mu = mu * math.sqrt(test_share / max(tests, 1))
    noise = LaplaceNoise(math.ceil(GRID / pure_of_gdp(test_mu)))
    quiet = noise.scale * math.log(max(horizon / (2 * FALSE_ALARMS), 1.0))
    thresholds = tuple(math.ceil(max(GRID * _largest_deviation(level, horizon), quiet)) for level in levels[1:])
    return AdaptiveFlippancy(chosen, levels, noise, thresholds, horizon)


def rising_bounds(horizon: int, factor: int = 4) -> tuple[int, ...]:
    """2, 2·factor, 2·factor², … up to the first that is at least `horizon`: a user flips at most once a tick.

    Raises:
        ValueError: horizon or factor is out of range.
    """
    if horizon < 1 or factor < 2:
        raise ValueError(f"horizon is {horizon} and factor {factor}; at least 1 tick and a factor of 2 are needed")
    bounds = [2]
    while bounds[-1] < horizon:
        bounds.append(bounds[-1] * factor)
    return tuple(bounds)


def _largest_deviation(mechanism: LinearMechanism, horizon: int) -> float:
    """Of a linear mechanism over the horizon, in users; it depends on no data."""
    nothing = np.zeros(horizon, dtype=np.int64)
    _, released = mechanism.run(EMPTY_STATE, nothing, lambda noise, size: np.zeros(size, dtype=np.int64), 0.5)
    return float(released.deviations.max())
