"""The laws of a mechanism, inherited by every one: a stream, a batch and the matrix are the same object."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from dp.accounting.calibrate import calibrate
from dp.accounting.composition import Guarantee
from dp.mechanisms import EMPTY_HISTORY, GRID, MECHANISMS, History, Mechanism, design
from dp.mechanisms.binary_tree import BinaryTreeStrategy
from dp.mechanisms.linear import MOST_USERS
from dp.mechanisms.toeplitz import ToeplitzStrategy
from dp.units import protected_class
from tests.mechanism_instances import (
    ENDLESS_CLASSES,
    ENDLESS_NAMES,
    FINITE_CLASSES,
    INSTANCES,
    MECHANISM_NAMES,
    ClassArguments,
    Instance,
    allowed_series,
    design_of,
    mechanism_of,
    strategy_matrix,
)


def run_one_by_one(mechanism: Mechanism, counts, noise) -> np.ndarray:
    """The estimates of `step`, tick after tick; `noise` has one row per tick."""
    history, estimates = EMPTY_HISTORY, []
    for count, draws in zip(counts, noise, strict=True):
        history, estimate = mechanism.step(history, int(count), draws)
        estimates.append(estimate)
    return np.array(estimates)


def decoder_matrix(mechanism: Mechanism, ticks: int) -> np.ndarray:
    """B, by feeding one unit impulse per trial through `step`; shape (ticks, ticks)."""
    return run_one_by_one(mechanism, np.zeros(ticks), GRID * np.eye(ticks))


@cache
def random_differences(arguments: ClassArguments, ticks: int) -> np.ndarray:
    """0/1 series that a protected change may cause, of runs of random lengths; one a row."""
    unit, window, w_bound, _ = arguments
    generator = np.random.default_rng(4)
    hull = ticks if unit == "user" else min(window, ticks)
    rows = np.zeros((200, ticks), dtype=np.int8)
    for row in rows:
        start, flips = generator.integers(0, ticks), generator.integers(1, w_bound + 2)
        cuts = np.sort(generator.integers(start, start + hull + 1, flips))
        for begin, end in zip(cuts[::2], [*cuts[1::2], ticks], strict=False):
            row[begin : min(end, start + hull)] = 1
    return rows[allowed_series(arguments, rows)]


@pytest.mark.parametrize("instance", INSTANCES, ids=str)
class TestMechanismLaws:
    """What every mechanism owes, for every unit, window, bound and horizon."""

    def test_decoding_a_batch_is_stepping(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        generator = np.random.default_rng(1)
        counts = generator.integers(0, 10**6, ticks)
        noise = np.rint(generator.normal(0, mechanism.noise.scale, (5, ticks)))
        batch = counts + mechanism.errors(noise)
        together = run_one_by_one(mechanism, counts, noise.T)
        alone = np.array([run_one_by_one(mechanism, counts, row) for row in noise[:2]])
        tolerance = 1e-9 * (mechanism.noise.scale / GRID + 1)
        np.testing.assert_allclose(together.T, batch, rtol=0, atol=tolerance)
        np.testing.assert_allclose(alone, batch[:2], rtol=0, atol=tolerance)

    def test_without_noise_the_counts_come_back_exactly(self, instance):
        counts = np.random.default_rng(2).integers(0, 2**26, instance.ticks)
        _, estimates = mechanism_of(instance).run(EMPTY_HISTORY, counts.tolist(), [0] * instance.ticks)
        assert estimates.tolist() == counts.tolist()

    def test_a_stream_resumed_from_its_stored_history_gives_the_same_bytes(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        generator = np.random.default_rng(3)
        counts = generator.integers(0, 10**5, ticks).tolist()
        noise = mechanism.noise.seeded(generator, (ticks,)).astype(np.int64).tolist()
        end, whole = mechanism.run(EMPTY_HISTORY, counts, noise)
        for split in sorted({1, 2, 7, 8, 15, 16, 31, 33, ticks - 1} & set(range(ticks))):
            history, before = mechanism.run(EMPTY_HISTORY, counts[:split], noise[:split])
            tick, seen, released = json.loads(json.dumps([history.tick, *(part.tolist() for part in history[1:])]))
            stored = History(tick, np.array(seen, dtype=np.int64), np.array(released))
            resumed_end, after = mechanism.run(stored, counts[split:], noise[split:])
            assert np.concatenate([before, after]).tobytes() == whole.tobytes()
            assert resumed_end.tick == end.tick == ticks
            assert resumed_end.estimates.tobytes() == end.estimates.tobytes()
            assert resumed_end.counts.tolist() == end.counts.tolist()

    def test_standard_deviations_are_the_row_norms_of_the_decoder(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        norms = np.linalg.norm(decoder_matrix(mechanism, ticks), axis=1)
        expected = math.sqrt(mechanism.noise.variance) / GRID * norms
        np.testing.assert_allclose(mechanism.standard_deviation(ticks), expected, rtol=1e-12)

    def test_the_decoder_inverts_the_strategy(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        product = strategy_matrix(mechanism.strategy, ticks) @ decoder_matrix(mechanism, ticks)
        np.testing.assert_allclose(product, np.eye(ticks), atol=1e-12)

    def test_no_row_reaches_beyond_the_memory(self, instance):
        strategy, ticks = mechanism_of(instance).strategy, instance.ticks
        for tick in range(ticks):
            lags, weights = strategy.row(tick)
            assert lags.shape == weights.shape
            assert weights.dtype.kind == lags.dtype.kind == "i"
            assert all(1 <= lag <= tick for lag in lags)
            for earlier in range(tick):
                oldest_kept = earlier + 1 - min(strategy.memory(earlier), earlier + 1)
                assert all(tick - lag >= oldest_kept for lag in lags)

    def test_the_state_is_pruned_to_the_memory(self, instance):
        mechanism = mechanism_of(instance)
        history = EMPTY_HISTORY
        for tick in range(instance.ticks):
            history, _ = mechanism.step(history, 5, 0)
            kept = min(mechanism.strategy.memory(tick), tick + 1)
            assert history.tick == tick + 1
            assert history.counts.shape == history.estimates.shape == (kept,)

    def test_a_step_changes_nothing_that_it_was_given(self, instance):
        mechanism = mechanism_of(instance)
        before, _ = mechanism.run(EMPTY_HISTORY, [3] * (instance.ticks - 1), [1] * (instance.ticks - 1))
        counts, estimates = before.counts.copy(), before.estimates.copy()
        mechanism.step(before, 9, 1234)
        assert before.counts.tolist() == counts.tolist()
        assert before.estimates.tolist() == estimates.tolist()

    def test_impossible_counts_are_refused(self, instance):
        for count in (-1, MOST_USERS + 1, math.nan, math.inf):
            with pytest.raises(ValueError, match=r"at tick 0; it must lie between 0 and 2\^36"):
                mechanism_of(instance).step(EMPTY_HISTORY, count, 0)

    def test_the_largest_counts_do_not_overflow(self, instance):
        counts = [MOST_USERS, 0] * (instance.ticks // 2) + [MOST_USERS] * (instance.ticks % 2)
        _, estimates = mechanism_of(instance).run(EMPTY_HISTORY, counts, [0] * instance.ticks)
        np.testing.assert_allclose(estimates, counts, rtol=0, atol=1e-3)

    def test_no_difference_of_the_class_costs_more_than_the_sensitivity(self, instance):
        made = design_of(instance)
        differences = random_differences(instance.arguments, instance.ticks)
        assert len(differences) >= 20
        changes = differences @ strategy_matrix(made.strategy, instance.ticks).T
        norm_order = 1 if made.noise == "laplace" else 2
        assert np.linalg.norm(changes, ord=norm_order, axis=1).max() <= made.sensitivity * (1 + 1e-12)
        assert np.count_nonzero(np.abs(changes) > 1e-15, axis=1).max() <= made.touched

    def test_intervals_widen_with_the_level_and_have_the_right_quantile_at_the_first_tick(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        narrow, usual, wide = (mechanism.half_width(level, ticks) for level in (0.5, 0.95, 0.99))
        assert narrow.shape == (ticks,)
        assert np.all(narrow < usual)
        assert np.all(usual < wide)
        scale = mechanism.noise.scale / GRID
        first = -math.log(0.05) * scale if mechanism.noise.pure else norm.ppf(0.975) * scale
        assert usual[0] == pytest.approx(first, rel=1e-9)

    def test_a_longer_horizon_begins_with_the_shorter_one(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        half = (ticks + 1) // 2
        np.testing.assert_allclose(mechanism.standard_deviation(half), mechanism.standard_deviation(ticks)[:half])
        np.testing.assert_allclose(mechanism.half_width(0.9, half), mechanism.half_width(0.9, ticks)[:half])

    def test_noise_is_calibrated_to_the_sensitivity(self, instance):
        weak, strong = mechanism_of(instance, epsilon=2.0), mechanism_of(instance, epsilon=0.5)
        assert strong.noise.scale > weak.noise.scale
        assert weak.noise.pure == (MECHANISMS[instance.name].noise == "laplace")
        if weak.noise.pure:
            assert strong.noise.scale == math.ceil(GRID * weak.sensitivity / 0.5)
        else:
            assert GRID * weak.sensitivity / weak.noise.scale == pytest.approx(1 / 2.230, rel=5e-4)
            assert GRID * strong.sensitivity / strong.noise.scale == pytest.approx(1 / 8.058, rel=5e-4)


def test_the_instances_name_every_mechanism():
    assert set(MECHANISM_NAMES) == set(MECHANISMS)
    assert {instance.name for instance in INSTANCES} == set(MECHANISMS)


def test_the_instances_without_an_end_are_all_there_are():
    for name in MECHANISM_NAMES:
        runs_without_end = True
        try:
            design(name, protected_class(*ENDLESS_CLASSES[1]))
        except ValueError:
            runs_without_end = False
        assert runs_without_end == (name in ENDLESS_NAMES)


def test_the_instances_cover_both_units_and_odd_and_even_bounds():
    units = {arguments.unit for arguments in FINITE_CLASSES}
    parities = {(arguments.unit, arguments.w_bound % 2) for arguments in FINITE_CLASSES}
    assert units == {"user-day", "user"}
    assert len(parities) == 4


@pytest.mark.parametrize("unit", ["user-day", "user"])
def test_a_broken_decoder_is_caught_by_the_batch_law(unit):
    """The law has power: a batch decoder that forgets one weight is seen at once."""
    instance = Instance("damped-square-root", next(c for c in FINITE_CLASSES if c.unit == unit and c.window == 7))
    mechanism = mechanism_of(instance)
    broken = Mechanism("broken", ToeplitzStrategy(mechanism.strategy.weights[:1]), mechanism.noise, 1.0, 1)
    noise = np.random.default_rng(5).normal(0, mechanism.noise.scale, (1, instance.ticks))
    stepped = run_one_by_one(mechanism, np.zeros(instance.ticks), noise.T).T
    assert np.abs(stepped - broken.errors(noise)).max() > 0.05 * mechanism.noise.scale / GRID


def test_the_tree_keeps_one_count_at_a_power_of_two_and_few_bytes_in_between():
    strategy = BinaryTreeStrategy()
    assert [strategy.memory(2**level - 1) for level in range(12)] == [1] * 12
    assert max(strategy.memory(tick) for tick in range(364)) <= 256


def test_an_endless_stream_keeps_a_bounded_state():
    mechanism = mechanism_of(Instance("damped-square-root", ENDLESS_CLASSES[1]))
    weights = len(mechanism.strategy.weights)
    assert 10 < weights < 100
    generator = np.random.default_rng(6)
    counts = generator.integers(0, 1000, 400)
    noise = mechanism.noise.seeded(generator, (400,))
    end, estimates = mechanism.run(EMPTY_HISTORY, counts.tolist(), noise.tolist())
    assert end.counts.shape == (weights,)
    np.testing.assert_allclose(estimates, counts + mechanism.errors(noise[np.newaxis])[0], atol=1e-8)


def test_a_year_of_monthly_counts_has_a_standard_deviation_of_about_eleven_users():
    # The design's headline: user-day, ε = 1, δ = 1e-6; it does not grow with the horizon.
    deviations = []
    for horizon in (365, 1000, None):
        made = design("damped-square-root", protected_class("user-day", 30, 2, horizon))
        mechanism = calibrate([made], Guarantee(1.0, 1e-6), [1.0])[0]
        deviations.append(float(mechanism.standard_deviation(horizon or 5000)[-1]))
    assert deviations == pytest.approx([10.8] * 3, abs=0.05)
    assert deviations == pytest.approx([deviations[0]] * 3, rel=1e-4)


def test_the_square_root_of_the_same_series_does_grow():
    # The power of the test above: without damping the same comparison fails.
    deviations = []
    for horizon in (365, 1000):
        made = design("square-root", protected_class("user-day", 30, 2, horizon))
        deviations.append(float(made.sensitivity * np.sqrt(made.strategy.decoder_energy(horizon)[-1])))
    assert deviations[1] > 1.04 * deviations[0]
