"""Errors by formula, which the trials of a linear mechanism must approach.

A release misses the truth by bias + noise. The noise is symmetric: normal to the last digit of a float, or a sum of
Laplace draws with unit weights (`dp.noise`). Everything here follows from its tail P(noise > x) and from what lies
beyond, ∫ₓ^∞ P(noise > u) du.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaincc, ndtr

from dp.arrays import Floats
from dp.mechanisms import GRID, LinearMechanism
from dp.noise import laplace_sum_coefficients


class Tails(Protocol):
    """The noise of T releases, in users."""

    @property
    def deviation(self) -> Floats:
        """Standard deviations, shape (T,)."""

    def tail(self, x: Floats) -> Floats:
        """P(noise > x) at each release, for x ≥ 0 of shape (T,)."""

    def beyond(self, x: Floats) -> Floats:
        """∫ₓ^∞ P(noise > u) du at each release, for x ≥ 0 of shape (T,)."""


@dataclass(frozen=True)
class Normal:
    """Normal noise."""

    deviation: Floats

    def tail(self, x: Floats) -> Floats:
        """See `Tails`."""
        return np.asarray(ndtr(-x / self.deviation))

    def beyond(self, x: Floats) -> Floats:
        """See `Tails`."""
        u = x / self.deviation
        return self.deviation * np.asarray(np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi) - u * ndtr(-u))


@dataclass(frozen=True)
class LaplaceSums:
    """Sums of independent Laplace draws.

    Attributes:
        terms: how many draws, shape (T,).
        scale: of a draw, in users.
    """

    terms: NDArray[np.int64]
    scale: float

    @property
    def deviation(self) -> Floats:
        """See `Tails`."""
        return np.asarray(self.scale * np.sqrt(2.0 * self.terms))

    def tail(self, x: Floats) -> Floats:
        """See `Tails`."""
        return self._by_terms(x, lambda c, j, u: np.asarray(c * np.exp(-u) * u**j))

    def beyond(self, x: Floats) -> Floats:
        """See `Tails`."""
        return self.scale * self._by_terms(x, lambda c, j, u: np.asarray(c * math.factorial(j) * gammaincc(j + 1, u)))

    def _by_terms(self, x: Floats, summand: Callable[[float, int, Floats], Floats]) -> Floats:
        result = np.zeros(len(self.terms))
        for number in np.unique(self.terms):
            here = self.terms == number
            for power, coefficient in enumerate(laplace_sum_coefficients(int(number))):
                result[here] += summand(coefficient, power, x[here] / self.scale)
        return result


def tails_of(mechanism: LinearMechanism, horizon: int) -> Tails:
    """The noise of the first `horizon` releases of a mechanism."""
    if not mechanism.noise.pure:
        return Normal(mechanism.standard_deviation(horizon))
    energy = mechanism.strategy.decoder_energy(horizon)
    return LaplaceSums(np.rint(energy).astype(np.int64), mechanism.noise.scale / GRID)


def mean_absolute(noise: Tails, bias: Floats) -> float:
    """Mean over the releases of E|bias + noise|: |bias| + 2 ∫ P(noise > u) du from |bias| on."""
    size = np.abs(bias)
    return float((size + 2 * noise.beyond(size)).mean())


def quantile_absolute(noise: Tails, bias: Floats, level: float) -> float:
    """The x that |bias + noise| of a release, drawn at random from all, exceeds with probability 1 − level."""
    size = np.abs(bias)

    def excess(x: float) -> float:
        return float(_exceeds(noise, size, x).mean()) - (1 - level)

    highest = float(size.max() + noise.deviation.max())
    while excess(highest) > 0:
        highest *= 2
    return float(brentq(excess, 0.0, highest, xtol=1e-9 * highest))


def _exceeds(noise: Tails, size: Floats, x: float) -> Floats:
    """P(|size + noise| > x) at each release."""
    above = noise.tail(np.abs(x - size))
    return np.where(x >= size, above, 1 - above) + noise.tail(x + size)
