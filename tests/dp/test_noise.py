"""Secure draws, seeded draws and quantiles against exact probability mass functions written out here.

OpenDP's draws cannot be seeded, so every test on them refuses only at p < 1e-9; how surely each would catch a wrong
scale is computed and asserted (`test_the_chi_square_test_has_power`), and a twin with half the scale is drawn.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import opendp.prelude as opendp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, ks_1samp, ks_2samp, laplace, ncx2, norm

from dp.mechanisms import GRID
from dp.noise import GaussianNoise, LaplaceNoise, laplace_sum_quantile
from tests.examples import examples
from tests.laws import each

KINDS = (GaussianNoise, LaplaceNoise)
LEVEL = 1e-9
DRAWS = 6000
SMALL_SCALES = (1, 5, 20)
REAL_SCALES = (4 * GRID + 1, 2**45)


@cache
def secure_draws(kind: type, scale: int) -> np.ndarray:
    """DRAWS secure draws, made once for the tests that look at the same ones."""
    return kind(scale).secure(DRAWS)


def exact_probabilities(kind: type, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Support and probabilities of the discrete distribution, from its definition."""
    support = np.arange(-60 * scale, 60 * scale + 1)
    exponent = support**2 / (2 * scale**2) if kind is GaussianNoise else np.abs(support) / scale
    weights = np.exp(-exponent)
    return support, weights / weights.sum()


def chi_square_p_value(draws: np.ndarray, kind: type, scale: int) -> float:
    """Pearson's test of `draws` against the exact pmf, cells of at least ten expected draws."""
    support, probabilities = exact_probabilities(kind, scale)
    inside = probabilities * len(draws) >= 10
    expected = np.append(probabilities[inside], probabilities[~inside].sum()) * len(draws)
    observed = np.array([np.count_nonzero(draws == value) for value in support[inside]])
    observed = np.append(observed, len(draws) - observed.sum())
    return float(chi2.sf(np.sum((observed - expected) ** 2 / expected), len(expected) - 1))


def continuous(kind: type, scale: float):
    return norm(scale=scale) if kind is GaussianNoise else laplace(scale=scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", SMALL_SCALES)
class TestSmallScales:
    def test_secure_draws_have_the_exact_distribution(self, kind, scale):
        assert chi_square_p_value(secure_draws(kind, scale), kind, scale) > LEVEL

    def test_the_variance_is_that_of_the_distribution(self, kind, scale):
        support, probabilities = exact_probabilities(kind, scale)
        # At σ = 1 the discrete Gaussian's variance is 2e-7 below σ²; from σ = 2 on the two are one float.
        tolerance = 3e-7 if kind is GaussianNoise and scale == 1 else 1e-12
        assert kind(scale).variance == pytest.approx(float(support**2 @ probabilities), rel=tolerance)

    def test_a_twin_with_half_the_scale_is_rejected(self, kind, scale):
        half = max(scale // 2, 1) if scale > 1 else 2
        assert chi_square_p_value(kind(half).secure(DRAWS // 2), kind, scale) < LEVEL


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1, 2, 3, 7, 8, 13, 20])
def test_many_secure_draws_have_the_exact_distribution(kind, scale):
    assert chi_square_p_value(kind(scale).secure(60_000), kind, scale) > LEVEL


@each("scale", [2, 5, 20])
def test_seeded_laplace_draws_have_the_exact_distribution(scale):
    draws = LaplaceNoise(scale).seeded(np.random.default_rng(1), (60_000,))
    assert chi_square_p_value(draws, LaplaceNoise, scale) > 1e-4


@pytest.mark.parametrize("scale", [5, 20])
def test_seeded_gaussian_draws_have_the_exact_distribution_from_small_scales_on(scale):
    draws = GaussianNoise(scale).seeded(np.random.default_rng(1), (60_000,))
    assert chi_square_p_value(draws, GaussianNoise, scale) > 1e-4


@each("kind", KINDS)
@each("scale", [2, 5, 20])
def test_the_chi_square_test_has_power(kind, scale):
    """With 6,000 draws and p < 1e-9 a scale wrong by 20 % is caught with probability > 0.99 (noncentral chi-square)."""
    support, right = exact_probabilities(kind, scale)
    exponent = support**2 / (2 * (1.2 * scale) ** 2) if kind is GaussianNoise else np.abs(support) / (1.2 * scale)
    wrong = np.exp(-exponent) / np.exp(-exponent).sum()
    inside = right * DRAWS >= 10
    expected = np.append(right[inside], right[~inside].sum()) * DRAWS
    seen = np.append(wrong[inside], wrong[~inside].sum()) * DRAWS
    degrees = len(expected) - 1
    power = ncx2.sf(chi2.isf(LEVEL, degrees), degrees, np.sum((seen - expected) ** 2 / expected))
    assert power > 0.99


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", REAL_SCALES)
class TestRealScales:
    """At the scales of a release the two discrete distributions are continuous to any test's eye.

    With 6,000 draws and p < 1e-9 the Kolmogorov-Smirnov tests catch a distance of 0.043 (one sample) and 0.060 (two) in
    more than half of all cases; half the scale is at a distance of 0.161 (Gaussian) or 0.125 (Laplace).
    """

    def test_secure_draws(self, kind, scale):
        assert ks_1samp(secure_draws(kind, scale), continuous(kind, scale).cdf).pvalue > LEVEL

    def test_seeded_draws(self, kind, scale):
        draws = kind(scale).seeded(np.random.default_rng(2), (DRAWS,))
        assert ks_1samp(draws, continuous(kind, scale).cdf).pvalue > 1e-4

    def test_secure_and_seeded_draws_agree(self, kind, scale):
        seeded = kind(scale).seeded(np.random.default_rng(3), (DRAWS,))
        assert ks_2samp(secure_draws(kind, scale), seeded).pvalue > LEVEL

    def test_a_twin_with_half_the_scale_is_rejected(self, kind, scale):
        draws = kind(scale // 2).secure(DRAWS // 2)
        assert ks_1samp(draws, continuous(kind, scale).cdf).pvalue < LEVEL
        seeded = kind(scale // 2).seeded(np.random.default_rng(4), (DRAWS,))
        assert ks_2samp(secure_draws(kind, scale), seeded).pvalue < LEVEL


@each("kind", KINDS)
@each("scale", [1, 7, 4 * GRID])
def test_draws_are_whole_numbers_of_the_shape_asked_for(kind, scale):
    secure = kind(scale).secure(17)
    assert secure.dtype == np.int64
    assert secure.shape == (17,)
    assert kind(scale).secure(0).shape == (0,)
    seeded = kind(scale).seeded(np.random.default_rng(5), (3, 4))
    assert seeded.shape == (3, 4)
    assert np.array_equal(seeded, np.rint(seeded))


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_repeat_and_secure_draws_do_not(kind):
    noise = kind(4 * GRID)
    first, again = (noise.seeded(np.random.default_rng(6), (50,)) for _ in range(2))
    assert first.tolist() == again.tolist()
    assert noise.secure(50).tolist() != noise.secure(50).tolist()


@each("scale", [1, 5, 20, 4 * GRID, 2**52])
@each("sensitivity", [1, 2, 30])
def test_opendps_own_map_of_the_laplace_measurement_agrees(scale, sensitivity):
    opendp.enable_features("contrib")
    domain = opendp.vector_domain(opendp.atom_domain(T="i64"))
    measurement = opendp.m.make_laplace(domain, opendp.l1_distance(T="i64"), scale=float(scale))
    assert measurement.map(sensitivity) == pytest.approx(sensitivity / scale, rel=1e-12)


@each("scale", [1, 5, 20, 4 * GRID, 2**52])
@each("sensitivity", [1.0, 3.0, 1.95437])
def test_opendps_own_map_of_the_gaussian_measurement_agrees(scale, sensitivity):
    opendp.enable_features("contrib")
    domain = opendp.vector_domain(opendp.atom_domain(T="i64"))
    measurement = opendp.m.make_gaussian(domain, opendp.l2_distance(T="f64"), scale=float(scale))
    mu = sensitivity / scale
    assert measurement.map(sensitivity) == pytest.approx(mu**2 / 2, rel=1e-12)


def sum_within(half_width: float, terms: int) -> float:
    """P(|L₁ + … + L_k| ≤ h) by inverting the characteristic function (1 + u²)^(−k)."""
    # The integrand is even and analytic, so that the trapezoidal rule is exact to the float's last digits.
    points = np.arange(0.0, 300.0, 0.005)
    values = (1 + points**2) ** -terms * np.sinc(half_width * points / math.pi)
    return float(2 / math.pi * half_width * 0.005 * (values.sum() - 0.5 * values[0]))


@each("terms", [2, 5, 12, 30])
@each("level", [0.5, 0.95, 0.999])
def test_quantiles_of_laplace_sums_by_characteristic_function(level, terms):
    assert sum_within(laplace_sum_quantile(level, terms), terms) == pytest.approx(level, abs=1e-8)


def test_quantiles_of_laplace_sums_by_closed_form_convolution_and_simulation():
    assert laplace_sum_quantile(0.95, 1) == pytest.approx(-math.log(0.05), rel=1e-10)
    # Two terms: P(|S| > x) = e^(−x)(1 + x/2).
    two = laplace_sum_quantile(0.95, 2)
    assert math.exp(-two) * (1 + two / 2) == pytest.approx(0.05, rel=1e-9)
    scale, terms = 60, 4
    _, probabilities = exact_probabilities(LaplaceNoise, scale)
    convolved = probabilities
    for _ in range(terms - 1):
        convolved = np.convolve(convolved, probabilities[20 * scale : -20 * scale], mode="same")
    convolved /= convolved.sum()
    middle = len(convolved) // 2
    half = round(laplace_sum_quantile(0.95, terms) * scale)
    assert convolved[middle - half : middle + half + 1].sum() == pytest.approx(0.95, abs=2e-3)
    draws = np.random.default_rng(7).laplace(size=(100_000, terms)).sum(axis=1)
    empirical = np.mean(np.abs(draws) <= laplace_sum_quantile(0.95, terms))
    assert empirical == pytest.approx(0.95, abs=4 * math.sqrt(0.05 * 0.95 / 100_000))
    # Power: a normal quantile of the same variance misses by nine standard errors.
    normal = norm.ppf(0.975) * math.sqrt(2 * terms)
    assert abs(sum_within(normal, terms) - 0.95) > 5 * math.sqrt(0.05 * 0.95 / 100_000)


@given(level=st.floats(0.01, 0.9999), terms=st.integers(1, 20))
@examples(30)
def test_quantiles_grow_with_the_level_and_with_the_number_of_terms(level, terms):
    quantile = laplace_sum_quantile(level, terms)
    assert 0 < quantile < laplace_sum_quantile(level, terms + 1)
    assert quantile < laplace_sum_quantile(level + (1 - level) / 2, terms)


@each("level", [0.5, 0.9, 0.95, 0.999])
def test_half_widths(level):
    energy = np.array([1.0, 2.0, 1.0, 9.0])
    gaussian = GaussianNoise(7).half_width(level, energy)
    assert gaussian == pytest.approx(norm.ppf((1 + level) / 2) * 7 * np.sqrt(energy))
    by_terms = [laplace_sum_quantile(level, int(terms)) * 7 for terms in energy]
    assert LaplaceNoise(7).half_width(level, energy).tolist() == by_terms


def test_laplace_intervals_are_refused_for_weighted_sums():
    with pytest.raises(ValueError, match="energy must be whole numbers"):
        LaplaceNoise(7).half_width(0.95, np.array([1.0, 1.25]))


@each("kind", KINDS)
@each("scale", [0, -1, 2**52 + 1])
def test_scales_out_of_range_are_refused(kind, scale):
    with pytest.raises(ValueError, match=f"noise scale would be {scale} grid units"):
        kind(scale)


@each("kind", KINDS)
@each("level", [0.0, 1.0, -0.5, math.nan, 95])
def test_levels_out_of_range_are_refused(kind, level):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        kind(3).half_width(level, np.array([1.0]))
