"""Mechanisms side by side: published references, the lower bound, and the ε that an accuracy needs."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from dp.accounting import gaussian
from dp.accounting.calibrate import calibrate_linear
from dp.accounting.comparison import compare_all, compare_mechanism, epsilon_for_deviation
from dp.accounting.composition import Guarantee
from dp.mechanisms import MECHANISMS, linear_design
from dp.mechanisms.lower_bound import lower_bound
from dp.units import ProtectedClass, protected_class
from tests.laws import each

GUARANTEE = Guarantee(1.0, 1e-6)
PREFIX_SUM = protected_class("user", 30, 1, 365)
LINEAR = [name for name, family in MECHANISMS.items() if family.strategy is not None]


@pytest.mark.parametrize(
    ("name", "mean", "largest"),
    [
        # Mean and maximum of sensitivity² × row norm² for prefix sums over 365 ticks, as published.
        ("binary-tree", 36.7644, 72.0),
        ("honaker-tree", 21.9862, 43.2125),
        ("square-root", 7.736908, 8.667451),
        pytest.param("optimal", 6.939352, None, marks=pytest.mark.slow),
    ],
)
def test_published_errors_of_prefix_sums(name: str, mean: float, largest: float | None) -> None:
    made = compare_mechanism(name, PREFIX_SUM, GUARANTEE)
    assert made.rms_factor is not None
    assert made.factor is not None
    assert made.rms_factor**2 == pytest.approx(mean, rel=1e-5)
    if largest is not None:
        assert made.factor**2 == pytest.approx(largest, rel=1e-5)


@each(
    ("name", "window", "expected"),
    [
        # docs/mechanisms.md, user-day, w = 2: what does not grow with the horizon.
        ("gaussian", 30, 5.477), ("damped-square-root", 30, 2.555), ("square-root", 30, 3.171),
        ("gaussian", 7, 2.646), ("damped-square-root", 7, 1.897), ("square-root", 7, 2.707),
    ],
)  # fmt: skip
def test_factors_of_the_design_note(name: str, window: int, expected: float) -> None:
    assert compare_mechanism(name, protected_class("user-day", window, 2, 365), GUARANTEE).factor == pytest.approx(
        expected, abs=1e-3
    )


@each("window", [1, 7, 14, 30])
def test_the_optimum_is_close_to_what_nothing_can_beat(window: int) -> None:
    protected = protected_class("user-day", window, 2, None)
    [made], least, _ = compare_all(["optimal"], protected, GUARANTEE, bound=True)
    ratio = made.lower_bound_ratio
    assert least == lower_bound(protected)
    assert ratio is not None
    assert 1 - 1e-6 <= ratio <= 1.001


@pytest.mark.slow
@pytest.mark.parametrize(
    "protected", [protected_class("user-day", 7, 2, 60), protected_class("user", 1, 4, 60)], ids=str
)
def test_nothing_gaussian_beats_the_lower_bound(protected: ProtectedClass) -> None:
    for name, made in zip(LINEAR, compare_all(LINEAR, protected, GUARANTEE, bound=True)[0], strict=True):
        if made.noise == "gaussian":
            assert made.lower_bound_ratio is not None, name
            assert made.lower_bound_ratio >= 1 - 1e-9, name
        else:
            assert made.lower_bound_ratio is None, "the bound is about Gaussian noise only"


@each("name", LINEAR)
def test_a_comparison_is_what_the_mechanism_does(name: str) -> None:
    protected = protected_class("user-day", 7, 2, 40)
    made = compare_mechanism(name, protected, GUARANTEE)
    mechanism = calibrate_linear([linear_design(name, protected)], GUARANTEE, [1.0])[0]
    errors = mechanism.simulate(np.zeros(40, dtype=np.int64), 20_000, np.random.default_rng(1))
    assert made.rms_std == pytest.approx(math.sqrt((errors**2).mean()), rel=0.02)
    assert made.max_std == pytest.approx(errors.std(axis=0).max(), rel=0.04)
    assert made.max_std is not None
    if made.noise == "gaussian":
        assert made.factor == pytest.approx(made.max_std * gaussian.mu_for(*GUARANTEE))
    else:
        assert made.factor is None
    assert made.memory is not None
    assert 0 <= made.memory <= 40


@each("name", LINEAR)
@each("statistic", ["max", "rms"])
def test_the_epsilon_for_an_accuracy_is_the_smallest(name: str, statistic: str) -> None:
    protected = protected_class("user-day", 7, 2, 40)
    needed = epsilon_for_deviation(name, protected, 12.0, 1e-6, statistic)  # type: ignore[arg-type]
    assert needed.epsilon is not None
    reached = {"max": needed.max_std, "rms": needed.rms_std}[statistic]
    assert reached is not None
    assert 12.0 * (1 - 1e-5) <= reached <= 12.0
    less = compare_mechanism(name, protected, Guarantee(needed.epsilon * 0.999, 1e-6))
    assert {"max": less.max_std, "rms": less.rms_std}[statistic] > 12.0  # type: ignore[operator]


def test_a_larger_target_needs_less_epsilon() -> None:
    protected = protected_class("user-day", 30, 2, 365)
    epsilons = [epsilon_for_deviation("optimal", protected, target, 1e-6, "max").epsilon for target in (5, 10, 20, 80)]
    assert all(a is not None and b is not None and a > b for a, b in pairwise(epsilons))


@each(
    ("target", "reason"), [(1e-4, "above 100"), (1e-9, "above 100"), (1e-300, "above 100"), (1e12, "below 1e-06")]
)  # fmt: skip
def test_accuracies_out_of_range_say_so(target: float, reason: str) -> None:
    needed = epsilon_for_deviation("gaussian", protected_class("user-day", 7, 2, 40), target, 1e-6, "max")
    assert needed.epsilon is None
    assert reason in (needed.reason or "")


def test_mechanisms_that_cannot_serve_say_why() -> None:
    endless = protected_class("user-day", 7, 2, None)
    assert "horizon" in (compare_mechanism("binary-tree", endless, GUARANTEE).reason or "")
    assert "delta" in (compare_mechanism("gaussian", endless, Guarantee(1.0, 0.0)).reason or "")
    assert compare_mechanism("laplace", endless, Guarantee(1.0, 0.0)).max_std == pytest.approx(
        7 * math.sqrt(2), rel=1e-3
    )
    assert "unit user" in (compare_mechanism("adaptive-flippancy", endless, GUARANTEE).reason or "")
    for name in ("sparse-vector", "adaptive-flippancy"):
        made = compare_mechanism(name, protected_class("user", 1, 2, 20), GUARANTEE)
        assert "depends on the data" in (made.reason or "")
        assert made.max_std is None


@each(("target", "delta"), [(0.0, 1e-6), (-1.0, 1e-6), (math.nan, 1e-6), (5.0, 1.0), (5.0, -0.1)])
def test_impossible_questions_are_refused(target: float, delta: float) -> None:
    with pytest.raises(ValueError, match=r"target_std is|delta is"):
        epsilon_for_deviation("gaussian", PREFIX_SUM, target, delta, "max")


def test_what_cannot_be_calibrated_says_why_and_leaves_the_others_alone() -> None:
    protected = protected_class("user", 1, 2, 40)
    big = protected_class("user", 1, 2, 365)
    assert "noise scale" in (compare_mechanism("laplace", big, Guarantee(1e-6, 1e-6)).reason or "")
    assert "of which the discrete Gaussian takes" in (
        compare_mechanism("gaussian", protected, Guarantee(1.0, 1e-200)).reason or ""
    )
    assert compare_mechanism("laplace", protected, Guarantee(1.0, 1e-200)).max_std is not None


def test_an_unknown_delta_or_epsilon_is_refused() -> None:
    with pytest.raises(ValueError, match="delta is 1"):
        compare_mechanism("gaussian", PREFIX_SUM, Guarantee(1.0, 1.0))
    with pytest.raises(ValueError, match="epsilon is 0"):
        compare_mechanism("gaussian", PREFIX_SUM, Guarantee(0.0, 1e-6))


def test_laplace_noise_that_spends_delta_stands_beside_the_others() -> None:
    protected = protected_class("user-day", 30, 2, 365)
    pure, spending = (compare_mechanism("laplace", protected, GUARANTEE, spends) for spends in (False, True))
    assert pure.max_std is not None
    assert spending.max_std == pytest.approx(pure.max_std * 0.726, rel=1e-3)
    assert pure.factor is None
    assert spending.factor == pytest.approx(spending.max_std * gaussian.mu_for(*GUARANTEE))
    assert spending.reason is None
    # Nothing else changes, and without a δ there is none to spend.
    assert compare_mechanism("gaussian", protected, GUARANTEE, True) == compare_mechanism(
        "gaussian", protected, GUARANTEE
    )
    assert compare_mechanism("laplace", protected, Guarantee(1.0, 0.0), True).max_std == pure.max_std
