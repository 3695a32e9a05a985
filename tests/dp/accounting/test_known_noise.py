"""Nobody who is known has less noise for a class by more than 1 %, or known_noise.toml says who, and by how much."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dp.accounting.comparison import compare_all
from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import mu_for
from dp.accounting.known_noise import NOTICED, KnownNoise, known_noise, least_known
from dp.mechanisms import GRID, MECHANISMS, linear_design
from dp.units import protected_class


def label(one: KnownNoise) -> str:
    """For a test's name."""
    return f"{one.method} {one.unit}-{one.window}-{one.w_bound}-{one.horizon}-{one.statistic}".replace(" ", "_")


def noise_of(name: str, one: KnownNoise) -> float:
    """What the file says of others, of one of our mechanisms; inf where it cannot serve the class."""
    try:
        design = linear_design(name, one.protected)
    except ValueError:
        return math.inf
    energy = design.strategy.decoder_energy(one.horizon)
    spread = math.sqrt(float(energy.mean() if one.statistic == "rms" else energy.max()))
    if one.noise == "gaussian":
        return design.sensitivity * spread
    # The discrete Laplace at ε = 1.
    return spread / GRID / (math.sqrt(2) * math.sinh(1 / (2 * GRID * design.sensitivity)))


def ours(one: KnownNoise) -> float:
    """The least noise of ours that is of the same kind; or the noise of the one mechanism that it is compared with."""
    names = [name for name, family in MECHANISMS.items() if family.strategy and family.noise == one.noise]
    return min(noise_of(name, one) for name in ([one.mechanism] if one.mechanism else names))


def verdict(one: KnownNoise, noise: float) -> str | None:
    """What is wrong with an entry of the file, where ours has this noise."""
    ratio = noise / one.value
    if one.ahead is None:
        return f"{one.source} is ahead by a factor of {ratio:.4f}: say so in `ahead`" if ratio > NOTICED else None
    if ratio <= NOTICED:
        return f"{one.source} is not ahead any more ({ratio:.4f}): remove its `ahead`"
    return f"{one.source} is ahead by {ratio:.4f}, not by {one.ahead}" if abs(ratio - one.ahead) > 5e-4 else None


OPTIMISED = {"gaussian": [pytest.mark.slow], "laplace": []}


@pytest.mark.parametrize("one", [pytest.param(one, id=label(one), marks=OPTIMISED[one.noise]) for one in known_noise()])
def test_nobody_known_is_more_than_one_per_cent_ahead(one: KnownNoise) -> None:
    assert (wrong := verdict(one, ours(one))) is None, wrong


def test_a_gap_that_opens_closes_or_changes_is_noticed() -> None:
    level, led = known_noise()[0], next(one for one in known_noise() if one.ahead)
    assert led.ahead is not None
    assert verdict(level, level.value * 1.009) is None
    assert "say so" in (verdict(level, level.value * 1.011) or "")
    assert verdict(led, led.value * led.ahead) is None
    assert "remove" in (verdict(led, led.value) or "")
    for change in (-0.002, 0.002):
        assert "not by" in (verdict(led, led.value * (led.ahead + change)) or "")


def test_every_entry_is_said_once_and_is_a_number_that_can_be() -> None:
    said = [(one.source, one.protected, one.statistic) for one in known_noise()]
    assert len(set(said)) == len(said)
    for one in known_noise():
        assert 0 < one.value < math.inf
        assert one.ahead is None or one.ahead > NOTICED
        assert one.mechanism is None or one.mechanism in MECHANISMS


def test_geometric_noise_on_whole_counts() -> None:
    """The value from the law itself: P(z) ∝ e^(−ε|z|) on the whole numbers."""
    weights = {step: math.exp(-abs(step)) for step in range(-200, 201)}
    variance = sum(step**2 * weight for step, weight in weights.items()) / sum(weights.values())
    (one,) = [one for one in known_noise() if one.source.startswith("Ghosh")]
    assert one.value == pytest.approx(math.sqrt(variance), abs=1e-5)


def squares_of_the_root(horizon: int) -> list[float]:
    """Σ f_n² over n < t for t = 1 … horizon, f_n being the coefficients of (1 − z)^(−½)."""
    coefficient, total, sums = 1.0, 0.0, []
    for step in range(1, horizon + 1):
        total += coefficient**2
        sums.append(total)
        coefficient *= (2 * step - 1) / (2 * step)
    return sums


def test_square_roots_of_counting() -> None:
    """For one flip, and for w flips by the bound √w · ‖column‖ on the sensitivity."""
    largest = squares_of_the_root(365)[-1]
    for one in known_noise():
        if one.source.startswith("Fichtenberger"):
            assert one.value == pytest.approx(largest, abs=1e-5)
        if one.source.startswith("Andersson, Jain"):
            assert one.value == pytest.approx(math.sqrt(one.w_bound) * largest, abs=5e-3)


@pytest.mark.slow
def test_the_square_root_whose_columns_have_one_length() -> None:
    """From the matrices: C is the root with each column divided by its length, and B = (sums)·C⁻¹."""
    found = {one.statistic: one for one in known_noise() if one.method == "normalised square root"}
    horizon = found["rms"].horizon
    squares = np.array(squares_of_the_root(horizon))
    coefficients = np.sqrt(np.diff(squares, prepend=0.0))
    rows, columns = np.indices((horizon, horizon))
    root = np.where(rows >= columns, coefficients[np.abs(rows - columns)], 0.0)
    decoder = np.linalg.solve((root / np.sqrt(squares[::-1])).T, np.tri(horizon).T).T
    variances = (decoder**2).sum(axis=1)
    assert found["rms"].value == pytest.approx(math.sqrt(variances.mean()), abs=1e-5)
    assert found["max"].value == pytest.approx(math.sqrt(variances.max()), abs=1e-5)


def test_a_comparison_says_who_is_ahead() -> None:
    protected = protected_class("user-day", 1, 2, 365)
    for guarantee in (Guarantee(1.0, 0.0), Guarantee(1.0, 1e-6)):
        compared = compare_all(["laplace", "gaussian"], protected, guarantee, bound=False)
        assert compared.ahead is not None
        first = compared.rows[0]
        assert first.best == compared.ahead.method
        assert first.best_ratio == pytest.approx(compared.ahead.ahead, abs=5e-4)
    assert compared.rows[1].best_ratio == pytest.approx(4.225 / 1.35696, rel=1e-3)


def test_without_a_number_the_best_is_a_row() -> None:
    protected = protected_class("user-day", 7, 4, 60)
    compared = compare_all(["gaussian", "square-root", "laplace"], protected, Guarantee(2.0, 1e-6), bound=False)
    deviations = {row.mechanism: row.rms_std for row in compared.rows}
    least = min(deviations, key=lambda name: deviations[name] or math.inf)
    assert compared.ahead is None
    assert {row.best for row in compared.rows} == {least}
    for row in compared.rows:
        assert row.best_ratio == pytest.approx(deviations[row.mechanism] / deviations[least])


def test_numbers_scale_with_the_guarantee_where_they_may() -> None:
    protected, guarantee = protected_class("user", 30, 1, 1024), Guarantee(0.5, 1e-6)
    known = least_known(protected, guarantee, mu_for(*guarantee))
    assert known is not None
    assert known[1] == pytest.approx(2.95545 / mu_for(*guarantee))
    assert least_known(protected, Guarantee(0.5, 0.0), None) is None
    one_day = protected_class("user-day", 1, 2, 365)
    assert least_known(one_day, guarantee, mu_for(*guarantee)) is None, "geometric noise does not scale with 1/ε"
