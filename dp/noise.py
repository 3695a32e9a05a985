"""Integer noise: exact secure draws by OpenDP, fast seeded draws for simulation, and exact quantiles.

Both distributions live on the integers. A scale is an integer number of grid units, so that what OpenDP samples is
exactly what the certificate was computed for.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from dp.arrays import Integers

Measurement = Callable[[Integers], list[int]]

DRAWS_IN_ONE_THREAD = 2**14
"""Draws up to which one thread makes them: a quarter of a second. OpenDP lets other threads run meanwhile."""


class Noise(Protocol):
    """Independent identically distributed integer noise with one scale."""

    @property
    def scale(self) -> int:
        """Scale in grid units."""

    @property
    def pure(self) -> bool:
        """Whether the noise gives pure differential privacy (δ = 0)."""

    @property
    def variance(self) -> float:
        """Variance of one draw, in squared grid units."""

    def secure(self, size: int) -> Integers:
        """`size` fresh draws from OpenDP (operating-system entropy); shape (size,)."""

    def seeded(self, generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Reproducible draws for simulation, whole numbers in float64; never for a release."""

    def half_width(self, level: float, energy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half widths h with P(|Σ bᵢzᵢ| ≤ h) = `level`, in grid units, one for every energy Σ bᵢ² in `energy`."""


@dataclass(frozen=True)
class GaussianNoise:
    """Discrete Gaussian: P(z) ∝ exp(−z²/2σ²) on the integers (Canonne, Kamath, Steinke 2020).

    From σ = 2 on its variance is σ² to the last digit of a float, and on a grid as fine as ours its quantiles are those
    of N(0, σ²) as well (docs/guarantees.md, section 6).
    """

    scale: int

    def __post_init__(self) -> None:
        _validate_scale(self.scale)

    @property
    def pure(self) -> bool:
        """False: it needs a δ."""
        return False

    @property
    def variance(self) -> float:
        """σ², in squared grid units."""
        return float(self.scale) ** 2

    def secure(self, size: int) -> Integers:
        """`size` draws from OpenDP's discrete Gaussian; shape (size,)."""
        return _opendp_draws("gaussian", self.scale, size)

    def seeded(self, generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Rounded normal draws (pointwise within a factor e^±τ of the discrete Gaussian, τ = 72/σ²)."""
        draws = generator.standard_normal(shape)
        draws *= self.scale
        return np.rint(draws, out=draws)

    def half_width(self, level: float, energy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Two-sided Gaussian quantile times σ√energy."""
        return float(scipy.special.ndtri(0.5 + validate_level(level) / 2)) * self.scale * np.sqrt(energy)


@dataclass(frozen=True)
class LaplaceNoise:
    """Discrete Laplace, P(z) ∝ exp(−|z|/b) on the integers (Ghosh, Roughgarden, Sundararajan 2009)."""

    scale: int

    def __post_init__(self) -> None:
        _validate_scale(self.scale)

    @property
    def pure(self) -> bool:
        """True: its guarantee has δ = 0."""
        return True

    @property
    def variance(self) -> float:
        """2e^(−1/b)/(1 − e^(−1/b))², in squared grid units."""
        return 0.5 / math.sinh(0.5 / self.scale) ** 2

    def secure(self, size: int) -> Integers:
        """`size` draws from OpenDP's discrete Laplace; shape (size,)."""
        return _opendp_draws("laplace", self.scale, size)

    def seeded(self, generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Difference of two geometric draws, which is the discrete Laplace itself."""
        first = self.seeded_one_sided(generator, shape)
        first -= self.seeded_one_sided(generator, shape)
        return first

    def seeded_one_sided(self, generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Geometric draws, P(n) ∝ e^(−n/b) from 0 on: rounded-down exponential ones, exactly."""
        draws = generator.standard_exponential(shape)
        draws *= self.scale
        return np.floor(draws, out=draws)

    def half_width(self, level: float, energy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Exact quantile of a sum of `energy` Laplace draws; all weights of such a sum must be 1."""
        terms = np.rint(energy).astype(np.int64)
        if not np.array_equal(terms, energy):
            raise ValueError(
                "Laplace intervals are exact only for sums with unit weights; energy must be whole numbers"
            )
        validate_level(level)
        quantiles = {int(k): laplace_sum_quantile(level, int(k)) for k in np.unique(terms)}
        return np.array([quantiles[int(k)] for k in terms]) * self.scale


@lru_cache(maxsize=256)
def laplace_sum_quantile(level: float, terms: int) -> float:
    """The h with P(|L₁ + … + L_k| ≤ h) = `level` for k = `terms` independent Laplace draws of scale 1."""
    coefficients = laplace_sum_coefficients(terms)

    def excess(x: float) -> float:
        tail = math.exp(-x) * sum(c * x**j for j, c in enumerate(coefficients))
        return 2 * tail - (1 - level)

    return float(scipy.optimize.brentq(excess, 0.0, 50.0 + 20.0 * terms, xtol=1e-12))


def laplace_sum_coefficients(terms: int) -> tuple[float, ...]:
    """The a_j with P(L₁ + … + L_k > x) = e^(−x) Σ_j a_j x^j, x ≥ 0, for k = `terms` Laplace draws of scale 1.

    The sum is a difference of two Gamma(k, 1) variables: a_j = Σ_{i < k−j} C(k−1+i, i) 2^−(k+i) / j!
    (docs/guarantees.md, "quantiles").
    """
    return tuple(
        sum(math.comb(terms - 1 + i, i) * 0.5 ** (terms + i) for i in range(terms - j)) / math.factorial(j)
        for j in range(terms)
    )


def _opendp_draws(kind: str, scale: int, size: int) -> Integers:
    measurement = _opendp_measurement(kind, scale)
    nothing = np.zeros(size, dtype=np.int64)
    if size <= DRAWS_IN_ONE_THREAD:
        draws = np.asarray(measurement(nothing), dtype=np.int64)
    else:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            draws = np.concatenate(
                [*threads.map(measurement, np.split(nothing, range(DRAWS_IN_ONE_THREAD, size, DRAWS_IN_ONE_THREAD)))]
            )
    if draws.shape != (size,):
        raise RuntimeError(f"OpenDP returned {draws.shape} draws where {size} were asked for")
    return draws


@lru_cache(maxsize=64)
def _opendp_measurement(kind: str, scale: int) -> Measurement:
    """What adds fresh noise to a list. It holds a scale and no randomness; making it takes longer than a draw."""
    import opendp.prelude as opendp

    # The noise functions are behind this flag because their proofs are open to contribution; the ones that are known
    # to be wrong are not used here.
    opendp.enable_features("contrib")
    domain = opendp.vector_domain(opendp.atom_domain(T="i64"))
    if kind == "gaussian":
        measurement: Measurement = opendp.m.make_gaussian(domain, opendp.l2_distance(T="f64"), scale=float(scale))
    else:
        measurement = opendp.m.make_laplace(domain, opendp.l1_distance(T="i64"), scale=float(scale))
    return measurement


def _validate_scale(scale: int) -> None:
    # 2^52 keeps float(scale) exact and a sum of 1,000 draws far from the end of int64.
    if not 1 <= scale <= 2**52:
        raise ValueError(
            f"the noise scale would be {scale} grid units, where 1 to 2^52 can be drawn exactly; "
            "the guarantee is too strong or too weak for this horizon, choose another epsilon"
        )


def validate_level(level: float) -> float:
    """The level, if it lies strictly between 0 and 1; raises ValueError otherwise."""
    if not 0 < level < 1:
        raise ValueError(f"ci_level is {level}; it must lie strictly between 0 and 1, for instance 0.95")
    return level
