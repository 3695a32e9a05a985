"""Error by formula against integration, against draws, and against what is known by heart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.mechanisms import linear_design
from dp.units import protected_class
from experiments.kinds.mechanisms.closed_forms import (
    LaplaceSums,
    Normal,
    Tails,
    mean_absolute,
    quantile_absolute,
    tails_of,
)
from tests.laws import each

BIAS = np.array([0.0, -3.0, 12.0, -40.0])
NOISES: dict[str, Tails] = {
    "normal": Normal(np.array([5.0, 7.0, 1.0, 20.0])),
    "laplace": LaplaceSums(np.array([1, 2, 3, 7]), 4.0),
}


def drawn(noise: Tails, trials: int, generator: np.random.Generator) -> np.ndarray:
    """Noise by the definition of each law, shape (trials, T)."""
    if isinstance(noise, Normal):
        return generator.normal(size=(trials, 4)) * noise.deviation
    assert isinstance(noise, LaplaceSums)
    columns = [generator.laplace(scale=noise.scale, size=(trials, k)).sum(axis=1) for k in noise.terms]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", NOISES)
def test_formulas_agree_with_a_million_draws(name: str) -> None:
    """Four standard errors of the mean are 0.2 % here; a formula that forgets the bias is off by tens of per cent."""
    noise = NOISES[name]
    size = np.abs(BIAS + drawn(noise, 250_000, np.random.default_rng(1)))
    assert mean_absolute(noise, BIAS) == pytest.approx(size.mean(), rel=3e-3)
    assert quantile_absolute(noise, BIAS, 0.95) == pytest.approx(np.quantile(size, 0.95), rel=5e-3)
    assert size.std(axis=0) == pytest.approx(
        np.abs(BIAS + drawn(noise, 250_000, np.random.default_rng(2))).std(axis=0), rel=0.02
    )
    without = np.zeros(4)
    assert mean_absolute(noise, without) < 0.8 * size.mean()
    assert quantile_absolute(noise, without, 0.95) < 0.9 * np.quantile(size, 0.95)


@pytest.mark.parametrize("name", NOISES)
def test_what_lies_beyond_is_the_integral_of_the_tail(name: str) -> None:
    noise = NOISES[name]
    for place in range(4):
        for start in (0.0, 1.0, 30.0):

            def tail(x: float, place: int = place) -> float:
                return float(noise.tail(np.full(4, x))[place])

            expected, _ = integrate.quad(tail, start, 50 * noise.deviation[place], limit=200)
            assert noise.beyond(np.full(4, start))[place] == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert noise.tail(np.zeros(4)) == pytest.approx(0.5)


def test_one_release_without_bias_is_the_textbook_case() -> None:
    normal, laplace = Normal(np.array([2.0])), LaplaceSums(np.array([1]), 3.0)
    nothing = np.zeros(1)
    assert mean_absolute(normal, nothing) == pytest.approx(2 * math.sqrt(2 / math.pi))
    assert quantile_absolute(normal, nothing, 0.95) == pytest.approx(2 * stats.norm.ppf(0.975))
    assert mean_absolute(laplace, nothing) == pytest.approx(3.0)
    assert quantile_absolute(laplace, nothing, 0.95) == pytest.approx(3 * math.log(20))
    assert laplace.deviation == pytest.approx(3 * math.sqrt(2))


@each("name", ["laplace", "gaussian", "binary-tree-laplace", "binary-tree", "square-root"])
def test_the_noise_of_a_mechanism_has_the_half_widths_that_its_releases_show(name: str) -> None:
    """P(|noise| ≤ half width) is the level, release by release; for a tree of Laplace noise the laws differ by day."""
    chosen = linear_design(name, protected_class("user", 30, 4, 40))
    mechanism = calibrate_linear([chosen], Guarantee(1.0, 1e-6), [1.0])[0]
    noise = tails_of(mechanism, 40)
    assert 2 * noise.tail(mechanism.half_width(0.95, 40)) == pytest.approx(0.05, rel=1e-6)
    assert noise.deviation == pytest.approx(mechanism.standard_deviation(40), rel=1e-6)
