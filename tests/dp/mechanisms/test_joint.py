"""The joint sensitivity against brute force over all that one user may do, with classes it must not be used for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import toeplitz

from dp.accounting.calibrate import calibrate_linear, calibrate_on_time
from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import mu_for
from dp.mechanisms import GRID, LinearDesign, LinearMechanism, certificate
from dp.mechanisms.joint import (
    AdditiveBound,
    Exceptions,
    WindowSeries,
    joint_sensitivity_squared,
    off_diagonals,
    scale_factor,
    window_series,
    worst_days,
)
from dp.mechanisms.toeplitz import damped_root_weights
from tests.examples import examples
from tests.oracles.mechanism_instances import all_series, strategy_matrix
from tests.oracles.presence import Operation, frozen, presence

pytestmark = pytest.mark.slow

Weights = tuple[float, ...]

DAMPINGS = (1.0, 0.95, 0.6, 0.0)
LOOSEST = 1.35
"""Largest bound ÷ brute force for T ≤ 12; the worst is 1.3422 (T = 9, windows 1, 5, 9, r = 1), where the horizon is
hardly longer than the longest window and the last run, counted in full, is much of the pattern. Over a year see
`test_regular_users_come_within_five_per_cent_of_the_bound`."""


def root(damping: float, horizon: int) -> Weights:
    """p₁, p₂, … of the damped square root."""
    return tuple(damped_root_weights(damping, max(horizon - 1, 1)).tolist())


def bounds_of(strategy: Weights, window: int, horizon: int) -> WindowSeries:
    return window_series(np.array(strategy), window, horizon)


@cache
def matrix_of(strategy: Weights, ticks: int) -> np.ndarray:
    """B⁻¹, shape (ticks, ticks)."""
    column = np.append(1.0, -np.array(strategy))[:ticks]
    return np.tril(toeplitz(np.pad(column, (0, ticks - len(column)))))


def stretched(days: np.ndarray, window: int) -> np.ndarray:
    """Presence in the window, by its definition, of users with these active days; shape (users, ticks)."""
    ticks = days.shape[1]
    return np.stack([days[:, max(tick - window + 1, 0) : tick + 1].max(axis=1) for tick in range(ticks)], axis=1)


def energy(strategy: Weights, series: np.ndarray) -> np.ndarray:
    """‖B⁻¹Δ‖² of every row Δ, by matrix product."""
    return np.square(series.astype(float) @ matrix_of(strategy, series.shape[1]).T).sum(axis=1)


@cache
def on_time_energies(strategy: Weights, window: int, horizon: int) -> np.ndarray:
    """‖B⁻¹Δ‖² of every set of active days; shape (2^horizon,)."""
    return energy(strategy, stretched(all_series(horizon), window))


# --- Users who act on time: brute force over all sets of active days -------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 2, 5, 9, 12])
@pytest.mark.parametrize("windows", [(1, 2, 4), (2, 3), (1, 4), (3,), (1, 5, 9)])
def test_the_joint_bound_holds_for_every_set_of_days_and_is_not_silly(windows, horizon):
    for damping, spread in itertools.product(DAMPINGS, (0.0, 0.2)):
        strategies = [root(damping * (1 - spread * index), horizon) for index in range(len(windows))]
        series = [bounds_of(strategy, window, horizon) for strategy, window in zip(strategies, windows, strict=True)]
        energies = [
            on_time_energies(strategy, window, horizon) for strategy, window in zip(strategies, windows, strict=True)
        ]
        # Equal shares, and one series that matters ten times as much as the others.
        for favourite in range(len(windows)):
            weights = [(10.0 if index == favourite else 1.0) / one.max() for index, one in enumerate(energies)]
            exact = float(sum(weight * one for weight, one in zip(weights, energies, strict=True)).max())
            bound = joint_sensitivity_squared(series, weights, horizon)
            assert exact <= bound, (damping, weights)
            assert bound <= LOOSEST * exact, (damping, weights, bound / exact)


@st.composite
def certified_weights(draw: st.DrawFn) -> Weights:
    """Any weights that are non-negative, non-increasing and sum to at most 1."""
    parts = np.array(draw(st.lists(st.integers(0, 1000), min_size=1, max_size=9)))
    total = draw(st.floats(0, 1 - 1e-9))
    # p = Σ_j a_j·(1, …, 1, 0, …) / j is non-increasing, whatever the a_j ≥ 0.
    steps = parts / max(parts.sum(), 1) * total / np.arange(1, len(parts) + 1)
    return tuple(np.cumsum(steps[::-1])[::-1].tolist())


def test_no_bound_falls_when_a_user_goes_on():
    # What a frozen user shows is the beginning of what would have been shown.
    horizon = 9
    for damping, window in itertools.product((1.0, 0.6, 0.0), (1, 2, 4)):
        series = bounds_of(root(damping, horizon), window, horizon)
        for row in all_series(horizon)[1:]:
            days = np.flatnonzero(row)
            if len(days) > 1:
                before, after = bound_values([series], days[:-1]), bound_values([series], days)
                assert all(a <= b + 1e-12 for a, b in zip(before, after, strict=True))


def test_a_user_may_be_frozen_absent_in_each_window_at_another_time():
    horizon, windows = 10, (1, 2, 4)
    strategies = [root(damping, horizon) for damping in (0.6, 0.9, 1.0)]
    energies = []
    for strategy, window in zip(strategies, windows, strict=True):
        present = stretched(all_series(horizon), window)
        cut = [np.array([frozen(row, w_bound) for row in present.tolist()]) for w_bound in (2, 4, 6)]
        # The worst bound for every set of days, each window choosing its own.
        energies.append(np.max([energy(strategy, shown) for shown in [present, *cut]], axis=0))
    series = [bounds_of(*pair, horizon) for pair in zip(strategies, windows, strict=True)]
    weights = [1 / one.max() for one in energies]
    exact = float(sum(weight * one for weight, one in zip(weights, energies, strict=True)).max())
    assert exact <= joint_sensitivity_squared(series, weights, horizon)


@given(
    weights=st.lists(certified_weights(), min_size=3, max_size=3),
    windows=st.sets(st.integers(1, 6), min_size=3, max_size=3),
)
@examples(25)
def test_every_strategy_with_the_three_conditions_is_bounded(weights, windows):
    horizon = 9
    pairs = list(zip(weights, sorted(windows), strict=True))
    exact = float(sum(on_time_energies(strategy, window, horizon) for strategy, window in pairs).max())
    bound = joint_sensitivity_squared([bounds_of(*pair, horizon) for pair in pairs], [1.0] * 3, horizon)
    assert exact <= bound * (1 + 1e-12)


def test_both_bounds_hold_pattern_by_pattern():
    horizon = 9
    for damping, window in itertools.product(DAMPINGS, (1, 2, 4)):
        strategy = root(damping, horizon)
        series = bounds_of(strategy, window, horizon)
        days = all_series(horizon)[1:]
        exact = on_time_energies(strategy, window, horizon)[1:]
        for index in range(2):
            values = np.array([bound_values([series], np.flatnonzero(row))[index] for row in days])
            assert np.all(exact <= values + 1e-9)


def test_a_joint_worst_case_is_smaller_than_the_sum_of_worst_cases():
    # Brute force on both sides: the gain is in the class, not in the bound.
    horizon, windows = 12, (1, 2, 4)
    energies = [on_time_energies(root(0.9, horizon), window, horizon) for window in windows]
    together = float(sum(one / one.max() for one in energies).max())
    assert together < 0.82 * len(windows)


def bound_values(series: Sequence[WindowSeries], days: np.ndarray) -> list[float]:
    """Every bound of every series at one set of active days, by the definition of runs and gaps."""
    values = []
    for one in series:
        # The last run is counted in full, beyond the horizon.
        present = sorted({int(day) + step for day in days for step in range(one.window)})
        breaks = [index for index in range(1, len(present)) if present[index] > present[index - 1] + 1]
        edges = [0, *breaks, len(present)]
        runs = [end - start for start, end in itertools.pairwise(edges)]
        gaps = [present[index] - present[index - 1] - 1 for index in breaks]
        extent = present[-1] - present[0] + 1
        values += [float(bound.run[runs].sum() + bound.gap[gaps].sum() + bound.hull[extent]) for bound in one.bounds]
    return values


@given(
    seed=st.integers(0, 2**32), windows=st.sets(st.integers(1, 6), min_size=1, max_size=3), horizon=st.integers(1, 9)
)
@examples(40)
def test_the_programme_finds_the_worst_days_exactly(seed, windows, horizon):
    generator = np.random.default_rng(seed)
    series = [
        WindowSeries(
            window,
            tuple(AdditiveBound(*generator.normal(size=(3, horizon + window))) for _ in range(1 + window % 2)),
            0.0,
            0.0,
        )
        for window in sorted(windows)
    ]
    mixture = generator.normal(size=sum(len(one.bounds) for one in series))
    slow = max(float(np.dot(bound_values(series, np.flatnonzero(row)), mixture)) for row in all_series(horizon)[1:])
    assert float(worst_days(series, horizon, mixture) @ mixture) == pytest.approx(slow)


# --- Exceptions: removals and late arrivals --------------------------------------------------------------------------

LOG_TICKS = 10


def exceptions_of(operations: Iterable[Operation]) -> Exceptions:
    """How often a log leaves the rule, by the words of `Exceptions`."""
    active: set[int] = set()
    removals = late = 0
    early = False
    for operation in sorted(operations, key=lambda one: one.at):
        if operation.op == "erase":
            removals += bool(active)
            active = set()
        elif operation.op == "-":
            removals += operation.day in active
            active.discard(operation.day)
        elif operation.day not in active:
            early |= operation.day < 0 and operation.at <= 0
            late += operation.at > max(operation.day, 0)
            active.add(operation.day)
    return Exceptions(removals, late + early)


@st.composite
def logs(draw: st.DrawFn) -> list[Operation]:
    """One user's operations, most of them on time; the first tick is 0, and there may be a past before it."""
    rows = []
    for day in draw(st.sets(st.integers(-3, LOG_TICKS - 1), max_size=LOG_TICKS)):
        delay = draw(st.sampled_from((0, 0, 0, 0, 1, 3))) if day >= 0 else 0
        rows.append(Operation("u", day, "+", day + delay))
    for _ in range(draw(st.integers(0, 4))):
        at, op = draw(st.integers(0, LOG_TICKS - 1)), draw(st.sampled_from(("-", "-", "erase", "+")))
        day = None if op == "erase" else at - draw(st.integers(0, 4))
        if op != "+" or day >= 0:
            rows.append(Operation("u", day, op, at))
    return rows


@cache
def small_joint(damping: float, exceptions: Exceptions) -> float:
    series = [bounds_of(root(damping, LOG_TICKS), window, LOG_TICKS) for window in (1, 2, 4)]
    return joint_sensitivity_squared(series, [1.0, 1.0, 1.0], LOG_TICKS, exceptions)


@given(operations=logs(), bounds=st.tuples(*[st.sampled_from((2, 4, 6, None))] * 3))
@examples(120)
def test_exceptions_are_paid_for_and_a_user_may_be_frozen_absent(operations, bounds):
    if operations:
        exceptions = exceptions_of(operations)
        rows = [
            frozen(presence(operations, window, 0, LOG_TICKS - 1)["u"], w_bound)
            for window, w_bound in zip((1, 2, 4), bounds, strict=True)
        ]
        for damping in (1.0, 0.8):
            found = float(energy(root(damping, LOG_TICKS), np.array(rows)).sum())
            assert found <= small_joint(damping, exceptions)


@pytest.mark.parametrize("removals", [1, 2])
def test_removals_leave_at_most_as_many_holes_each_shorter_than_the_window(removals):
    # The structure behind the charge, for all sets of days and all erasures or retractions, at 7 ticks.
    ticks, window = 7, 3
    for row in all_series(ticks)[1::3]:
        days = [int(day) for day in np.flatnonzero(row)]
        added = [Operation("u", day, "+", day) for day in days]
        choices = [Operation("u", None, "erase", at) for at in range(1, ticks)]
        choices += [Operation("u", day, "-", day + 2) for day in days]
        full = stretched(row[np.newaxis], window)[0]
        for removed in itertools.combinations(choices, removals):
            # An operation on the same tick arrives before that day's activity.
            left = np.array(presence([*removed, *added], window, 0, ticks - 1)["u"])
            assert np.all(left <= full)
            holes = np.flatnonzero(np.diff(np.concatenate([[0], full - left, [0]])))
            assert len(holes) <= 2 * removals
            assert all(end - start < window for start, end in zip(holes[::2], holes[1::2], strict=True))


@pytest.mark.parametrize("damping", [1.0, 0.8, 0.5])
def test_one_hole_and_one_late_stay_cost_what_is_charged(damping):
    ticks, window = 10, 4
    strategy = root(damping, ticks)
    series = bounds_of(strategy, window, ticks)
    full = stretched(all_series(ticks), window)
    before = energy(strategy, full)
    most_removed = most_late = 0.0
    for start, length in itertools.product(range(ticks), range(1, window)):
        hole = np.zeros(ticks, dtype=bool)
        hole[start : start + length] = True
        inside = full[:, hole].all(axis=1)
        most_removed = max(most_removed, float((energy(strategy, full * ~hole) - before)[inside].max()))
        most_late = max(most_late, float((energy(strategy, np.maximum(full, hole)) - before).max()))
    assert most_removed <= series.removal + 1e-12
    assert most_late == pytest.approx(series.late)
    assert series.removal <= 1.3 * most_removed


def flip_flop(ticks: int) -> list[Operation]:
    """Active every other day, taken back the day after: presence 1, 0, 1, 0, … in every window."""
    return [Operation("u", day, op, day + delay) for day in range(0, ticks, 2) for op, delay in (("+", 0), ("-", 1))]


def late_flip_flop(ticks: int) -> list[Operation]:
    """The day three days ago arrives every other day: presence 1, 0, 1, 0, … in the window of four days alone."""
    return [Operation("u", tick - 3, "+", tick) for tick in range(3, ticks, 2)]


@pytest.mark.parametrize("operations", [flip_flop(30), late_flip_flop(30)], ids=["retracting", "late"])
def test_the_bound_without_exceptions_is_exceeded_by_a_log_that_has_them(operations):
    ticks, window = 30, 4
    strategy = root(0.95, ticks)
    found = float(energy(strategy, np.array([presence(operations, window, 0, ticks - 1)["u"]]))[0])
    series = [bounds_of(strategy, window, ticks)]
    assert found > 1.2 * joint_sensitivity_squared(series, [1.0], ticks)
    assert found <= joint_sensitivity_squared(series, [1.0], ticks, exceptions_of(operations))


# --- Classes without a gain ------------------------------------------------------------------------------------------


def test_one_user_day_attains_all_three_worst_cases_at_once():
    ticks, windows = 9, (1, 2, 4)
    others = all_series(ticks)
    strategies = [root(damping, ticks) for damping in (0.6, 0.9, 0.97)]
    together, alone = 0.0, np.zeros(3)
    for day, end in itertools.combinations(range(ticks + 1), 2):
        total = np.zeros(len(others))
        for index, (strategy, window) in enumerate(zip(strategies, windows, strict=True)):
            change = np.zeros(ticks)
            change[day : min(end, day + window)] = 1
            found = energy(strategy, change * (1 - stretched(others, window)))
            alone[index] = max(alone[index], found.max())
            total += found
        together = max(together, float(total.max()))
    assert together == pytest.approx(alone.sum(), rel=1e-12)


@pytest.mark.parametrize("weights", [(), *(root(damping, 300) for damping in (1.0, 0.96, 0.5))])
def test_a_longer_run_never_has_less_energy_on_an_endless_series(weights):
    subtracted = np.array(weights, dtype=float)
    found = certificate.run_energy(certificate.step_response(subtracted, 1000), 60)
    assert np.all(np.diff(found) > 0)
    assert np.all(np.diff(found, 2) <= 1e-10)


def test_with_retractions_every_series_can_be_the_presence_in_all_windows():
    # So for equal strategies the joint worst case of the unit `user` is the sum of the three.
    for series in all_series(6):
        operations = [
            Operation("u", int(tick), op, int(tick) + delay)
            for tick in np.flatnonzero(series)
            for op, delay in (("+", 0), ("-", 1))
        ]
        for window in (1, 2, 4):
            shown = presence(operations, window, 0, 5).get("u", [0] * 6)
            assert shown == series.tolist()


# --- Laws and figures ------------------------------------------------------------------------------------------------


def test_off_diagonals_bound_those_of_every_horizon():
    for damping, horizon in itertools.product(DAMPINGS, (1, 2, 8, 20)):
        strategy = root(damping, horizon)
        matrix = matrix_of(strategy, horizon)
        found = off_diagonals(np.array(strategy), horizon + 3)
        assert found[0] == 0
        assert np.all(found <= 0)
        for lag in range(1, horizon):
            assert np.all(np.diag(matrix.T @ matrix, lag) <= found[lag] + 1e-15)
            # The first entry has the most terms of the endless sum.
            assert lag + 2 > horizon // 2 or (matrix.T @ matrix)[0, lag] == pytest.approx(found[lag], abs=2e-2)


YEAR = {1: 0.506, 7: 0.959, 30: 0.9916}
"""Window → damping that makes the product of the three standard deviations least; more than each alone would take."""


@cache
def year() -> list[WindowSeries]:
    return [bounds_of(root(damping, 365), window, 365) for window, damping in YEAR.items()]


def test_exceptions_only_add_and_weights_scale():
    series = year()
    plain = joint_sensitivity_squared(series, [1.0, 2.0, 3.0], 365)
    assert joint_sensitivity_squared(series, [2.0, 4.0, 6.0], 365) == pytest.approx(2 * plain, rel=2e-4)
    removed = joint_sensitivity_squared(series, [1.0, 2.0, 3.0], 365, Exceptions(1, 0))
    late = joint_sensitivity_squared(series, [1.0, 2.0, 3.0], 365, Exceptions(0, 1))
    assert plain < removed < late
    assert removed - plain == pytest.approx(sum(n * one.removal for n, one in enumerate(series, 1)))


def decoder_energy(strategy: Weights, horizon: int) -> np.ndarray:
    """Σ_n B[t, n]² of every tick, from the inverse of the strategy matrix."""
    return np.square(np.linalg.inv(matrix_of(strategy, horizon))).sum(axis=1)


def factor(window: int, damping: float, exceptions: Exceptions) -> float:
    """Root mean squared standard deviation of a release divided by 1/μ, one series over a year."""
    strategy = root(damping, 365)
    squared = joint_sensitivity_squared([bounds_of(strategy, window, 365)], [1.0], 365, exceptions)
    return float(np.sqrt(squared * decoder_energy(strategy, 365).mean()))


@pytest.mark.parametrize(
    ("window", "damping", "exceptions", "value", "design"),
    [
        (30, 0.975, Exceptions(), 7.777, 8.51),
        (7, 0.91, Exceptions(), 11.274, 12.32),
        (1, 0.55, Exceptions(), 14.195, 19.1),
        (30, 0.967, Exceptions(removals=2), 8.257, 8.51),
        (7, 0.89, Exceptions(removals=2), 11.443, 12.32),
    ],
)
def test_a_user_without_truncation_over_a_year(window, damping, exceptions, value, design):
    ours = factor(window, damping, exceptions)
    assert ours == pytest.approx(value, abs=2e-3)
    assert ours < design


def test_the_gain_of_a_year_of_three_metrics():
    assert scale_factor(year(), [1, 1, 1], 365) == pytest.approx(0.700, abs=2e-3)
    assert scale_factor(year()[2:], [1], 365) == pytest.approx(1, abs=1e-4)
    assert 0.70 < scale_factor(year(), [1, 1, 1], 365, Exceptions(removals=2)) < 0.75


def test_no_gain_where_one_user_is_the_worst_case_of_all():
    # Independent noise: who is always present is worst for every window.
    series = [window_series(np.zeros(0), window, 20) for window in (1, 3, 7)]
    assert joint_sensitivity_squared(series, [1.0, 1.0, 1.0], 20) == pytest.approx(60)
    assert scale_factor(series, [1, 2, 3], 20) == pytest.approx(1)


def test_regular_users_come_within_five_per_cent_of_the_bound():
    alone = [joint_sensitivity_squared([one], [1.0], 365) for one in year()]
    weights = [1 / one for one in alone]
    # So many visits, so many days apart, then a pause.
    blocks = [
        [int(day % step == 0) for day in range((visits - 1) * step + 1)] + [0] * (pause - 1)
        for visits, step, pause in itertools.product((1, 2, 3), (1, 2, 8), (2, 3, 8, 9, 31))
    ]
    days = np.array([np.resize(block, 365) for block in blocks])
    found = sum(
        weight * energy(root(damping, 365), stretched(days, window))
        for weight, (window, damping) in zip(weights, YEAR.items(), strict=True)
    )
    bound = joint_sensitivity_squared(year(), weights, 365)
    assert found.max() <= bound <= 1.05 * found.max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": (7, 1)}, "windows are"),
        ({"windows": (7, 7)}, "windows are"),
        ({"windows": ()}, "windows are"),
        ({"weights": [1.0]}, "weights are"),
        ({"weights": [1.0, -1.0]}, "weights are"),
        ({"horizon": 19}, "for a horizon of 19 ticks"),
        ({"exceptions": Exceptions(-1, 0)}, "exceptions are"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(change, message):
    arguments = {"windows": (1, 7), "weights": [1.0, 1.0], "horizon": 20, "exceptions": Exceptions()} | change
    series = [window_series(np.zeros(0), window, 20) for window in arguments["windows"]]
    with pytest.raises(ValueError, match=message):
        joint_sensitivity_squared(series, arguments["weights"], arguments["horizon"], arguments["exceptions"])


def test_a_strategy_without_a_certificate_is_refused():
    with pytest.raises(ValueError, match="certificate needs weights"):
        window_series(np.array([0.1, 0.2]), 7, 30)
    with pytest.raises(ValueError, match="window is 0"):
        window_series(np.array([0.1]), 0, 30)
    with pytest.raises(ValueError, match="horizon is 0"):
        window_series(np.array([0.1]), 7, 0)


@pytest.fixture(scope="module")
def released_on_time() -> list[LinearMechanism]:
    return calibrate_on_time([4, 1, 2], 24, Guarantee(1.0, 1e-6), [2.0, 1.0, 1.0], Exceptions(1, 1))


def test_a_joint_release_spends_its_budget_and_no_more(released_on_time: list[LinearMechanism]) -> None:
    by_window = sorted(zip([4, 1, 2], released_on_time, strict=True), key=lambda pair: pair[0])
    series = [window_series(one.strategy.subtracted, window, 24) for window, one in by_window]
    weights = [(GRID / one.noise.scale) ** 2 for _, one in by_window]
    mu = math.sqrt(joint_sensitivity_squared(series, weights, 24, Exceptions(1, 1)))
    assert mu == pytest.approx(mu_for(1.0, 1e-6), rel=1e-3)
    assert mu <= mu_for(1.0, 1e-6)


def test_a_joint_release_has_less_noise_than_one_by_one(released_on_time: list[LinearMechanism]) -> None:
    alone = [
        LinearDesign("damped-square-root", "gaussian", one.strategy, one.sensitivity, 24) for one in released_on_time
    ]
    for separate, joint in zip(
        calibrate_linear(alone, Guarantee(1.0, 1e-6), [2.0, 1.0, 1.0]), released_on_time, strict=True
    ):
        assert joint.noise.scale < 0.95 * separate.noise.scale


def test_no_log_of_the_class_costs_more_than_the_budget() -> None:
    """Every set of days for T = 12, through the matrices that are run: μ stays within the claim."""
    made = calibrate_on_time([1, 2, 4], 12, Guarantee(1.0, 1e-6), [1.0, 1.0, 1.0], Exceptions())
    days = all_series(12)
    total = np.zeros(len(days))
    for window, one in zip([1, 2, 4], made, strict=True):
        changes = stretched(days, window) @ strategy_matrix(one.strategy, 12).T * GRID / one.noise.scale
        total += (changes**2).sum(axis=1)
    assert 0.8 * mu_for(1.0, 1e-6) < math.sqrt(total.max()) <= mu_for(1.0, 1e-6)
