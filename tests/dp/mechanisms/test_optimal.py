"""The numerical optima, and the lower bound that says how good they and all others are."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import scipy

from dp.mechanisms import (
    EMPTY_STATE,
    MECHANISMS,
    certificate,
    dense,
    dense_optimum,
    linear_design,
    lower_bound,
    one_run,
    optimal,
    patterns,
    stationary,
)
from dp.mechanisms.dense_optimum import optimal_covariance
from dp.mechanisms.linear import Strategy
from dp.mechanisms.matrix_roots import mirrored_square_roots, one_thread, square_roots
from dp.mechanisms.toeplitz import ToeplitzStrategy
from dp.units import ProtectedClass, protected_class
from tests.oracles.mechanism_instances import (
    MECHANISM_NAMES,
    ClassArguments,
    all_series,
    allowed_series,
    count_runs,
    hull_lengths,
    strategy_matrix,
)

pytestmark = pytest.mark.slow

GAUSSIAN_NAMES = tuple(name for name in MECHANISM_NAMES if MECHANISMS[name].noise == "gaussian")


def mean_square(strategy: Strategy, protected: ProtectedClass, ticks: int | None = None) -> float:
    """sensitivity² × mean of row norm²."""
    energy = strategy.decoder_energy(ticks or protected.horizon or 1)
    return strategy.sensitivity_squared(protected) * float(energy.mean())


def rms_factor(name: str, protected: ProtectedClass) -> float:
    """Root mean square of the standard deviation × μ, over the horizon or in the long run."""
    made = linear_design(name, protected)
    energy = made.strategy.decoder_energy(protected.horizon or 3000)
    return made.sensitivity * math.sqrt(float(energy.mean() if protected.horizon else energy[-1]))


# --- Every linear mechanism against every difference series -----------------------------------------------------------

EXACT_NAMES = (
    "laplace",
    "gaussian",
    "binary-tree",
    "binary-tree-laplace",
    "subtraction-tree",
    "b-ary-tree",
    "honaker-tree",
    "smooth-binary",
)


@cache
def costs(name: str, arguments: ClassArguments) -> tuple[float, float, int, int]:
    """Sensitivity and the most that any difference of the class costs; measurements touched, claimed and in truth."""
    made = linear_design(name, protected_class(*arguments))
    series = all_series(arguments.horizon)
    changes = series[allowed_series(arguments, series)] @ strategy_matrix(made.strategy, arguments.horizon).T
    norms = np.linalg.norm(changes, ord=1 if made.noise == "laplace" else 2, axis=1)
    touched = int(np.count_nonzero(np.abs(changes) > 1e-12, axis=1).max())
    return made.sensitivity, float(norms.max()), made.touched, touched


@pytest.mark.parametrize("name", MECHANISM_NAMES)
@pytest.mark.parametrize(
    "arguments",
    [
        ClassArguments("user", 7, 1, 1), ClassArguments("user", 7, 3, 2), ClassArguments("user", 7, 1, 12),
        ClassArguments("user", 7, 2, 12), ClassArguments("user", 7, 3, 12), ClassArguments("user", 7, 4, 11),
        ClassArguments("user", 7, 24, 12), ClassArguments("user-day", 1, 2, 12), ClassArguments("user-day", 2, 9, 12),
        ClassArguments("user-day", 3, 3, 12), ClassArguments("user-day", 5, 2, 12),
        ClassArguments("user-day", 5, 6, 12), ClassArguments("user-day", 9, 3, 12),
        ClassArguments("user-day", 30, 3, 7),
    ],
    ids=str,
)  # fmt: skip
def test_the_sensitivity_bounds_every_difference_series(name, arguments):
    sensitivity, largest, claimed, touched = costs(name, arguments)
    assert largest <= sensitivity * (1 + 1e-12)
    assert touched <= claimed
    if name in EXACT_NAMES:
        assert sensitivity == pytest.approx(largest, rel=1e-14)
    else:
        one_run = protected_class(*arguments).runs == 1
        assert sensitivity <= (1 + 1e-6 if one_run else 1.12) * largest


def test_the_check_above_catches_a_run_too_few():
    """A strategy for one run, sold for two: its sensitivity is broken by some difference."""
    series = all_series(12)
    allowed = series[(count_runs(series) <= 2) & (hull_lengths(series) <= 12)]
    for name in GAUSSIAN_NAMES:
        if name == "gaussian":
            continue
        made = linear_design(name, protected_class("user", 1, 2, 12))
        changes = allowed @ strategy_matrix(made.strategy, 12).T
        assert np.linalg.norm(changes, axis=1).max() > made.sensitivity


# --- Published optima -------------------------------------------------------------------------------------------------


def test_the_published_optimal_toeplitz_error_at_a_year():
    strategy = optimal.best_toeplitz(365)
    protected = protected_class("user", 1, 1, 365)
    squares = strategy.sensitivity_squared(protected) * strategy.decoder_energy(365)
    assert squares.mean() == pytest.approx(7.447044, rel=1e-5)
    assert squares.max() == pytest.approx(9.173416, rel=1e-5)


def test_the_published_dense_error_at_a_year():
    protected = protected_class("user", 1, 1, 365)
    assert mean_square(dense.strategy(protected), protected) == pytest.approx(6.939352, rel=1e-5)
    assert optimal_covariance(protected)[1] == pytest.approx(6.939352, rel=1e-5)


@pytest.mark.parametrize(("window", "factor"), [(30, 2.4545), (7, 1.8102)])
def test_the_stationary_optima_of_the_design(window, factor):
    protected = protected_class("user-day", window, 2, None)
    assert stationary.optimum(protected).factor == pytest.approx(factor, abs=5e-5)
    assert lower_bound.lower_bound(protected) == stationary.optimum(protected).factor


# --- The dense optimum ------------------------------------------------------------------------------------------------

ONE_RUN = [("user", 1, 1, 1), ("user", 1, 2, 2), ("user", 1, 1, 12), ("user", 1, 2, 12), ("user-day", 4, 2, 11)]


@pytest.mark.parametrize("arguments", ONE_RUN)
def test_the_dense_optimum_is_its_lower_bound(arguments):
    protected = protected_class(*arguments)
    reached = mean_square(dense.strategy(protected), protected)
    bound = optimal_covariance(protected)[1]
    assert bound * (1 - 1e-9) <= reached <= bound * (1 + 5e-4)


def test_no_small_change_of_the_dense_optimum_is_better():
    protected = protected_class("user", 1, 2, 6)
    best = optimal_covariance(protected)[1]
    generator = np.random.default_rng(3)
    matrix = dense.strategy(protected).matrix
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(20):
            nudged = np.tril(matrix + np.rint(generator.normal(0, size, matrix.shape) * matrix[0, 0]).astype(np.int64))
            assert mean_square(dense.DenseStrategy(nudged), protected) >= best * (1 - 1e-9)


def test_the_second_moment_and_the_energies_by_every_run():
    ticks = 7
    generator = np.random.default_rng(4)
    for protected in (
        ProtectedClass(1, ticks, ticks),
        ProtectedClass(1, 3, ticks),
        ProtectedClass(1, ticks, ticks, True),
    ):
        allowed = one_run.allowed_runs(protected)
        share = np.where(allowed, generator.random((ticks, ticks + 1)), 0.0)
        half = generator.normal(size=(ticks, ticks))
        form = half @ half.T
        moment, energies = np.zeros((ticks, ticks)), np.zeros((ticks, ticks + 1))
        for start, end in np.argwhere(allowed):
            series = np.zeros(ticks)
            series[start:end] = 1
            moment += share[start, end] * np.outer(series, series)
            energies[start, end] = series @ form @ series
        np.testing.assert_allclose(one_run.second_moment(share, protected.hull), moment, atol=1e-12)
        found = one_run.run_energies(form, *np.nonzero(allowed))
        np.testing.assert_allclose(found, energies[allowed], atol=1e-12)


def test_a_dense_strategy_refuses_what_it_was_not_made_for():
    strategy = dense.strategy(protected_class("user", 1, 1, 12))
    for protected in (protected_class("user", 1, 4, 12), protected_class("user", 1, 1, 13), ProtectedClass(1, 5, None)):
        with pytest.raises(ValueError, match="serves classes of one run within its horizon"):
            strategy.sensitivity_squared(protected)
    with pytest.raises(ValueError, match="needs one run and a horizon"):
        dense.strategy(protected_class("user", 1, 4, 12))
    with pytest.raises(ValueError, match="beyond the horizon of 12 ticks"):
        strategy.measure(12, np.zeros(12, dtype=np.int64), 1)


def test_no_counts_overflow_a_dense_row():
    # The sum of a row's sizes times the largest count must stay below 2^63.
    for arguments in (("user", 1, 1, 40), ("user", 1, 2, 40), ("user-day", 12, 2, 40)):
        matrix = dense.strategy(protected_class(*arguments)).matrix
        assert np.abs(matrix).sum(axis=1).max() < 2**27


# --- Series and spectra -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_energies_of_patterns_by_matrix(runs):
    weights = np.array([0.5, 0.2, -0.1])
    table = np.array([0.0] + [np.square(np.convolve([1, *-weights], np.ones(run))).sum() for run in range(1, 10)])
    series = all_series(9).astype(float)
    direct = np.array([np.square(np.convolve([1, *-weights], row)).sum() for row in series])
    exact = float(direct[count_runs(series.astype(np.int8)) <= runs].max())
    protected = ProtectedClass(runs, 9, None)
    assert patterns.worst_of_all(table, protected) == pytest.approx(exact, rel=1e-12)
    number = sum(1 for row in series if row[0] == 1 and count_runs(row[np.newaxis].astype(np.int8))[0] <= runs)
    assert patterns.count(protected) == number
    for start in patterns.starts(protected, np.random.default_rng(5), 4):
        energy, flips = patterns.climbed(table, start, 9)
        found = patterns.series(flips, 9)
        assert set(found) <= {0.0, 1.0}
        assert count_runs(found[np.newaxis].astype(np.int8))[0] <= runs
        assert energy == pytest.approx(float(np.square(np.convolve([1, *-weights], found)).sum()), rel=1e-12)
        assert energy <= exact * (1 + 1e-12)


def test_climbing_finds_patterns_of_fewer_runs():
    # Without weights a tick costs one, so that the whole hull is worst: one run, from a start with two.
    energy, flips = patterns.climbed(np.arange(4.0), np.array([0, 1, 2, 3]), 3)
    assert energy == 3
    assert patterns.series(flips, 3).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "arguments", [("user-day", 3, 3, None), ("user-day", 7, 8, None), ("user-day", 5, 6, 365), ("user-day", 2, 2, None)]
)
def test_dense_patterns_have_an_optimum_without_poles(arguments):
    protected = protected_class(*arguments)
    assert rms_factor("optimal", protected) <= 1.01 * lower_bound.lower_bound(protected)
    assert stationary.optimum(protected).density.min() > 1e-3


@pytest.mark.parametrize("arguments", [("user-day", 7, 2, None), ("user-day", 7, 4, None)])
def test_the_stationary_bound_does_not_depend_on_its_grid(arguments):
    # The integral over frequencies is a sum over a grid: on one eight times as fine the same π gives the same bound.
    found = stationary.optimum(protected_class(*arguments))
    spectra = stationary._spectra(list(found.flips), 8 * len(found.density))
    assert float(np.sqrt(found.shares @ spectra).mean()) == pytest.approx(found.factor, rel=1e-6)


def test_causal_weights_have_the_spectrum():
    found = stationary.optimum(protected_class("user-day", 7, 2, None))
    weights = stationary.causal_weights(found.density)
    spectrum = np.abs(np.fft.fft(np.concatenate([[1.0], -weights]), len(found.density))) ** -2.0
    np.testing.assert_allclose(spectrum / spectrum.mean(), found.density / found.density.mean(), rtol=1e-6)


@pytest.mark.parametrize("horizon", [1, 2, 3, 50])
def test_the_best_toeplitz_matrix_is_not_improved_by_a_small_change(horizon):
    strategy = optimal.best_toeplitz(horizon)
    protected = protected_class("user", 1, 1, horizon)
    best = mean_square(strategy, protected)
    generator = np.random.default_rng(6)
    for size in (2**18, 2**14):
        for _ in range(20):
            nudge = np.rint(generator.normal(0, size, len(strategy.weights))).astype(int)
            nudged = np.array(strategy.weights, dtype=int) + nudge
            other = ToeplitzStrategy(tuple(int(each) for each in nudged), certified=False)
            assert mean_square(other, protected) >= best * (1 - 1e-9)


@pytest.mark.parametrize("horizon", [1, 2, 3])
@pytest.mark.parametrize(
    ("unit", "w_bound"), [("user", 1), ("user", 3), ("user", 50), ("user-day", 2), ("user-day", 50)]
)
def test_short_horizons_are_served(unit, w_bound, horizon):
    protected = protected_class(unit, 30, w_bound, horizon)
    made = linear_design("optimal", protected)
    secret = EMPTY_STATE.secret
    for tick in range(horizon):
        exact, secret = made.strategy.measure(tick, secret, 5)
        assert exact.shape == (1,)
    assert 1 <= made.sensitivity <= math.sqrt(horizon) * (1 + 1e-6)


# --- The lower bound --------------------------------------------------------------------------------------------------

NAMED = [(1, 2), (7, 2), (30, 2), (7, 4), (30, 4), (30, 8)]


@pytest.mark.parametrize("horizon", [365, None])
@pytest.mark.parametrize(("window", "w_bound"), NAMED)
def test_optimal_is_within_two_per_cent_of_the_bound_for_a_user_day(window, w_bound, horizon):
    protected = protected_class("user-day", window, w_bound, horizon)
    assert 1 - 1e-6 <= rms_factor("optimal", protected) / lower_bound.lower_bound(protected) <= 1.02


LAW_CLASSES = [
    ("user", 1, 1, 1), ("user", 1, 1, 24), ("user", 1, 2, 24), ("user-day", 7, 2, 20), ("user-day", 7, 4, 40),
    ("user-day", 3, 3, 12), ("user-day", 1, 2, 12),
    ("user", 1, 3, 3), ("user", 1, 3, 24), ("user", 1, 8, 24), ("user", 1, 24, 12), ("user-day", 12, 24, 13),
    ("user", 1, 24, 90), ("user-day", 30, 4, 90), ("user-day", 12, 24, 40),
]  # fmt: skip


@pytest.mark.parametrize("arguments", LAW_CLASSES)
def test_no_mechanism_is_better_than_the_lower_bound(arguments):
    protected = protected_class(*arguments)
    bound = lower_bound.lower_bound(protected)
    for name in GAUSSIAN_NAMES:
        assert rms_factor(name, protected) >= bound * (1 - 1e-9), name


def test_half_the_sensitivity_would_be_below_the_lower_bound():
    protected = protected_class("user-day", 7, 4, 40)
    bound = lower_bound.lower_bound(protected)
    # Variance of the best mechanism with noise for one run only: better than anything can be.
    made = linear_design("optimal", protected)
    sold = math.sqrt(made.strategy.sensitivity_squared(protected_class("user-day", 3, 2, 40)))
    assert sold * math.sqrt(float(made.strategy.decoder_energy(40).mean())) < bound


def test_the_lower_bound_rises_with_the_flips_of_a_user_day():
    bounds = [lower_bound.lower_bound(protected_class("user-day", 7, flips, None)) for flips in (1, 2, 4, 6, 8)]
    assert all(after >= before * (1 - 1e-6) for before, after in pairwise(bounds))
    assert bounds[-1] > 1.05 * bounds[0]


@pytest.mark.parametrize(("unit", "flips", "horizons"), [("user", 1, (1, 2, 3, 8, 30)), ("user", 2, (1, 2, 3, 8, 30)),
                                                         ("user-day", 2, (1, 3, 7, 14, 40)),
                                                         ("user-day", 4, (14, 40))])  # fmt: skip
def test_the_lower_bound_rises_with_the_horizon(unit, flips, horizons):
    bounds = [lower_bound.lower_bound(protected_class(unit, 7, flips, horizon)) for horizon in horizons]
    assert bounds == sorted(bounds)
    if unit == "user-day":
        assert bounds[-1] <= lower_bound.lower_bound(protected_class(unit, 7, flips, None))


def test_the_lower_bound_rises_with_the_flips_and_the_horizon_of_a_user():
    previous = [0.0] * 6
    for horizon in (3, 6, 12, 24):
        bounds = [lower_bound.lower_bound(protected_class("user", 1, flips, horizon)) for flips in (1, 2, 3, 4, 5, 8)]
        assert all(after >= before * (1 - 5e-4) for before, after in pairwise(bounds))
        assert all(after >= before for before, after in zip(previous, bounds, strict=True))
        previous = bounds


@pytest.mark.parametrize("open_ended", [False, True])
def test_the_patterns_of_the_search_belong_to_the_class(open_ended):
    generator = np.random.default_rng(7)
    protected = ProtectedClass(3, 20, 20, open_ended)
    for flips in patterns.starts(protected, generator, 20):
        for shift in range(20):
            moved = lower_bound._moved(patterns.series(flips, 20), shift, protected)
            half = generator.normal(size=(20, 20))
            (climbed,) = lower_bound._climbed_from(half @ half.T, moved[np.newaxis], protected)
            for found in (moved, climbed):
                assert set(found) <= {0.0, 1.0}
                runs = count_runs(found[np.newaxis].astype(np.int8))[0]
                assert runs < 3 or (runs == 3 and (not open_ended or found[-1] == 1))


def test_patterns_spread_over_all_places():
    protected = ProtectedClass(2, 4, 9)
    found = stationary.optimum(protected)
    moment = np.zeros((9, 9))
    for flips, share in zip(found.flips, found.shares, strict=True):
        length = int(flips[-1])
        for place in range(9 - length + 1):
            series = np.zeros(9)
            series[place : place + length] = patterns.series(flips, length)
            moment += share / (9 - length + 1) * np.outer(series, series)
    np.testing.assert_allclose(lower_bound._everywhere(protected, 9), moment, atol=1e-12)


def test_a_long_horizon_is_bounded_by_its_stretches(monkeypatch):
    monkeypatch.setattr(lower_bound, "LONGEST", 10)
    bound = lower_bound._computed
    by_user = lower_bound._within(protected_class("user", 1, 2, 25), 10)
    assert bound(protected_class("user", 1, 2, 25)) == lower_bound.lower_bound(by_user)
    whole = bound(ProtectedClass(1, 4, 10))
    rest = bound(ProtectedClass(1, 4, 5))
    assert bound(ProtectedClass(1, 4, 25)) == pytest.approx(math.sqrt((2 * 10 * whole**2 + 5 * rest**2) / 25))
    assert lower_bound._within(ProtectedClass(9, 20, 20, True), 5) == ProtectedClass(3, 5, 5)


@pytest.mark.parametrize(("hull", "w_bound"), [(3, 3), (7, 4), (9, 20), (12, 6), (13, 8)])
def test_the_worst_of_halves_is_the_worst_of_all(hull: int, w_bound: int) -> None:
    """For weights of any sign, and where half a pattern is a single tick."""
    protected = protected_class("user-day", hull, w_bound, None)
    generator = np.random.default_rng(hull)
    for _ in range(5):
        weights = generator.normal(0, 0.2, 12)
        table = certificate.run_energy(certificate.step_response(weights, hull + 13), hull)
        in_halves = patterns.worst_of_halves(table, protected)
        assert in_halves == pytest.approx(patterns.worst_of_all(table, protected), rel=1e-9)
        fewer = protected_class("user-day", hull, 2, None)
        assert patterns.worst_of_halves(table, fewer) <= in_halves


def test_counting_patterns_stops() -> None:
    assert patterns.count(protected_class("user", 1, 100_000, 100_000)) > 10**18
    assert not patterns.tractable(protected_class("user", 1, 100_000, 100_000))
    assert patterns.tractable(protected_class("user-day", 30, 30, None))


@pytest.mark.parametrize("ticks", [2, 3, 8, 9, 40])
def test_a_mirrored_matrix_has_the_roots_of_its_halves(ticks):
    generator = np.random.default_rng(ticks)
    factor = generator.random((ticks, ticks))
    matrix = factor @ factor.T
    matrix = (matrix + matrix[::-1, ::-1]) / 2
    roots, vectors = mirrored_square_roots(matrix)
    assert np.allclose(vectors.T @ vectors, np.eye(ticks), atol=1e-12)
    assert np.allclose((vectors * roots**2) @ vectors.T, matrix, atol=1e-12)
    assert np.sort(roots) == pytest.approx(square_roots(matrix)[0], rel=1e-9)


def plain_optimum(allowed: np.ndarray) -> tuple[np.ndarray, float]:
    """√K and its bound, by the safe update alone, on explicit runs; shape (runs, T)."""
    share = np.full(len(allowed), 1 / len(allowed))
    best, ticks = 0.0, allowed.shape[1]
    for _ in range(3000):
        values, vectors = np.linalg.eigh((allowed.T * share) @ allowed)
        roots = np.sqrt(np.maximum(values, 1e-15))
        best = max(best, roots.sum() ** 2 / ticks)
        share *= ((allowed @ vectors) ** 2 / roots).sum(axis=1) / roots.sum()
        share /= share.sum()
    return (vectors * roots) @ vectors.T, best


@pytest.mark.parametrize(
    "protected",
    [
        ProtectedClass(1, 3, 12), ProtectedClass(1, 4, 17), ProtectedClass(1, 1, 9), ProtectedClass(1, 2, 2),
        ProtectedClass(1, 13, 13), ProtectedClass(1, 1, 1), ProtectedClass(1, 1, 1, True),
        ProtectedClass(1, 2, 2, True), ProtectedClass(1, 15, 15, True),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("coarsest", [4, 64])
def test_the_optimum_is_that_of_the_plain_update(protected, coarsest, monkeypatch):
    """With and without a start from fewer ticks."""
    monkeypatch.setattr(dense_optimum, "COARSEST", coarsest)
    covariance, bound = optimal_covariance.__wrapped__(protected)
    ticks = protected.horizon
    bounds = np.argwhere(one_run.allowed_runs(protected))
    index = np.arange(ticks)
    expected, best = plain_optimum(((bounds[:, :1] <= index) & (index < bounds[:, 1:])).astype(float))
    assert bound == pytest.approx(best, rel=1e-5)
    assert covariance == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("runs", [one_run.LastingRuns(9), one_run.BoundedRuns(9, 9), one_run.BoundedRuns(9, 4)])
def test_what_shares_prove_by_the_explicit_matrix(runs):
    generator = np.random.default_rng(11)
    lasting = isinstance(runs, one_run.LastingRuns)
    protected = ProtectedClass(1, 9 if lasting else runs.longest, 9, lasting)
    series = [[float(start <= t < end) for t in range(9)] for start, end in np.argwhere(allowed_of(protected))]
    matrix = np.array(series)
    share = generator.random(len(runs))
    share /= share.sum()
    if not lasting:
        # Backwards the shares must be the same, or the mean of both is taken.
        backwards = [series.index(row[::-1]) for row in series]
        share = (share + share[backwards]) / 2
    moment = (matrix.T * share) @ matrix
    root = np.real(scipy.linalg.sqrtm(moment))
    total, energies = runs.value(share)
    assert total == pytest.approx(np.trace(root), rel=1e-10)
    assert energies == pytest.approx(np.einsum("ri,ij,rj->r", matrix, np.linalg.inv(root), matrix), rel=1e-8)
    np.testing.assert_allclose(runs.covariance(share), root, atol=1e-10)


def allowed_of(protected: ProtectedClass) -> np.ndarray:
    """At [start, end]: whether the class has that run."""
    ticks = protected.horizon
    return np.array(
        [
            [s < e <= ticks and e - s <= protected.hull and (not protected.open_ended or e == ticks)
             for e in range(ticks + 1)]
            for s in range(ticks)
        ]
    )  # fmt: skip


@pytest.mark.parametrize("runs", [one_run.LastingRuns(40), one_run.BoundedRuns(40, 40), one_run.BoundedRuns(41, 13)])
def test_values_of_fewer_ticks_keep_their_shape(runs):
    """Constants stay, and what is the same backwards stays so."""
    coarse = runs.coarser()
    assert runs.from_coarser(np.full(len(coarse), 3.5)) == pytest.approx(np.full(len(runs), 3.5))
    if isinstance(coarse, one_run.BoundedRuns):
        starts, ends = coarse._bounds
        found = runs.from_coarser(np.abs(starts + ends - coarse.ticks).astype(float))
        assert found == pytest.approx(found[runs._backwards])


def test_a_class_that_no_dense_optimum_serves_is_refused():
    for protected in (ProtectedClass(1, 3, 12, open_ended=True), ProtectedClass(2, 12, 12), ProtectedClass(1, 7, None)):
        with pytest.raises(ValueError, match="dense optimum needs"):
            optimal_covariance(protected)


PUBLISHED_DENSE = {365: 6.939352, 1024: 8.7347}
"""Mean square of the best factorisation of prefix sums."""


@pytest.mark.parametrize("horizon", PUBLISHED_DENSE)
def test_prefix_sums_of_a_thousand_ticks_are_dense(horizon):
    protected = protected_class("user", 1, 1, horizon)
    strategy = optimal.strategy(protected)
    assert isinstance(strategy, dense.DenseStrategy)
    bound = optimal_covariance(protected)[1]
    assert mean_square(strategy, protected) == pytest.approx(PUBLISHED_DENSE[horizon], abs=5e-5)
    assert mean_square(strategy, protected) <= bound * (1 + 1e-5)


def test_the_tridiagonal_total_is_that_of_the_dense_matrix():
    """Where the largest share is a hundred times the smallest."""
    ticks = 300
    share = np.geomspace(100.0, 1.0, ticks)
    share /= share.sum()
    runs = one_run.LastingRuns(ticks)
    position = np.minimum.outer(np.arange(ticks), np.arange(ticks))
    with one_thread():
        roots, _ = square_roots(np.cumsum(share)[position])
    assert runs.value(share).total == pytest.approx(float(roots.sum()), rel=1e-11)
