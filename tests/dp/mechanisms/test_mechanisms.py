"""The laws of a mechanism, inherited by every one: a stream, a batch and the matrix are the same object."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.mechanisms import EMPTY_STATE, GRID, MECHANISMS, LinearMechanism, State, linear_design
from dp.mechanisms.binary_tree import TreeStrategy
from dp.mechanisms.protocol import MOST_USERS
from dp.mechanisms.toeplitz import ToeplitzStrategy
from dp.units import protected_class
from tests.laws import each
from tests.oracles.mechanism_instances import (
    DATA_DEPENDENT_NAMES,
    ENDLESS_CLASSES,
    ENDLESS_NAMES,
    FINITE_CLASSES,
    INSTANCES,
    MECHANISM_NAMES,
    ROUNDED_NAMES,
    ClassArguments,
    Instance,
    allowed_series,
    design_of,
    mechanism_of,
    strategy_matrix_of,
)


def run_one_by_one(mechanism: LinearMechanism, counts, noise) -> np.ndarray:
    """The estimates of `step`, tick after tick; `noise` has one row per draw."""
    return mechanism.steps(EMPTY_STATE, np.asarray(counts).astype(np.int64), noise)[1]


def draws_of(mechanism: LinearMechanism, ticks: int) -> int:
    return mechanism.strategy.draws(0, ticks)


def decoder_matrix(mechanism: LinearMechanism, ticks: int) -> np.ndarray:
    """B, by feeding one unit impulse per trial through `step`; shape (ticks, draws)."""
    return run_one_by_one(mechanism, np.zeros(ticks), GRID * np.eye(draws_of(mechanism, ticks)))


def seeded_source(seed: int):
    """Draws one by one from one generator, so that pieces draw what the whole draws."""
    generator = np.random.default_rng(seed)
    return lambda noise, size: np.array([int(noise.seeded(generator, (1,))[0]) for _ in range(size)], dtype=np.int64)


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


@each("instance", INSTANCES, by=lambda instance: instance.name)
class TestMechanismLaws:
    """What every mechanism owes, for every unit, window, bound and horizon."""

    def test_decoding_a_batch_is_stepping(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        generator = np.random.default_rng(1)
        counts = generator.integers(0, 10**6, ticks)
        noise = np.rint(generator.normal(0, mechanism.noise.scale, (5, draws_of(mechanism, ticks))))
        batch = counts + mechanism.errors(noise)
        together = run_one_by_one(mechanism, counts, noise.T)
        alone = np.array([run_one_by_one(mechanism, counts, row) for row in noise[:2]])
        tolerance = 1e-9 * (mechanism.noise.scale / GRID + 1) + (1e-5 if instance.name in ROUNDED_NAMES else 0)
        np.testing.assert_allclose(together.T, batch, rtol=0, atol=tolerance)
        np.testing.assert_allclose(alone, batch[:2], rtol=0, atol=tolerance)

    def test_without_noise_the_counts_come_back_exactly(self, instance):
        counts = np.random.default_rng(2).integers(0, 2**26, instance.ticks)
        mechanism = mechanism_of(instance)
        _, estimates = mechanism.steps(EMPTY_STATE, counts, np.zeros(draws_of(mechanism, instance.ticks)))
        if instance.name in ROUNDED_NAMES:
            np.testing.assert_allclose(estimates, counts, rtol=0, atol=1e-5)
        else:
            assert estimates.tolist() == counts.tolist()

    def test_a_stream_resumed_from_its_stored_history_gives_the_same_bytes(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        counts = np.random.default_rng(3).integers(0, 10**5, ticks)
        end, whole = mechanism.run(EMPTY_STATE, counts, seeded_source(7), 0.9)
        for split in sorted({1, 2, 7, 8, 15, 16, 31, 33, ticks - 1} & set(range(ticks))):
            source = seeded_source(7)
            state, before = mechanism.run(EMPTY_STATE, counts[:split], source, 0.9)
            tick, secret, public = json.loads(json.dumps([state.tick, *(part.tolist() for part in state[1:])]))
            stored = State(tick, np.array(secret, dtype=np.int64), np.array(public, dtype=np.float64))
            resumed_end, after = mechanism.run(stored, counts[split:], source, 0.9)
            for first, second, at_once in zip(before.arrays, after.arrays, whole.arrays, strict=True):
                assert np.concatenate([first, second]).tobytes() == at_once.tobytes()
            assert resumed_end.tick == end.tick == ticks
            assert resumed_end.public.tobytes() == end.public.tobytes()
            assert resumed_end.secret.tolist() == end.secret.tolist()

    def test_standard_deviations_are_the_row_norms_of_the_decoder(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        norms = np.linalg.norm(decoder_matrix(mechanism, ticks), axis=1)
        expected = math.sqrt(mechanism.noise.variance) / GRID * norms
        np.testing.assert_allclose(mechanism.standard_deviation(ticks), expected, rtol=1e-12)

    def test_the_decoder_inverts_the_strategy(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        assert mechanism.strategy is design_of(instance).strategy
        product = decoder_matrix(mechanism, ticks) @ strategy_matrix_of(instance)
        np.testing.assert_allclose(product, np.eye(ticks), atol=1e-6 if instance.name in ROUNDED_NAMES else 1e-12)

    def test_the_state_is_no_larger_than_the_memory(self, instance):
        mechanism = mechanism_of(instance)
        state = EMPTY_STATE
        for tick in range(instance.ticks):
            noise = np.zeros(mechanism.strategy.draws(tick, tick + 1))
            state, _ = mechanism.step(state, 5, noise)
            assert state.tick == tick + 1
            assert max(len(state.secret), len(state.public)) <= mechanism.strategy.memory(tick)

    def test_a_step_changes_nothing_that_it_was_given(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        before, _ = mechanism.steps(EMPTY_STATE, np.full(ticks - 1, 3), np.ones(draws_of(mechanism, ticks - 1)))
        secret, public = before.secret.copy(), before.public.copy()
        mechanism.step(before, 9, np.full(mechanism.strategy.draws(ticks - 1, ticks), 1234))
        assert before.secret.tolist() == secret.tolist()
        assert before.public.tolist() == public.tolist()

    def test_draws_add_up(self, instance):
        strategy, ticks = mechanism_of(instance).strategy, instance.ticks
        by_tick = [strategy.draws(tick, tick + 1) for tick in range(ticks)]
        assert min(by_tick) >= 1
        for split in range(ticks + 1):
            assert strategy.draws(0, split) == sum(by_tick[:split])
            assert strategy.draws(split, ticks) == sum(by_tick[split:])

    def test_impossible_counts_are_refused(self, instance):
        for count in (-1, MOST_USERS + 1, math.nan, math.inf):
            with pytest.raises(ValueError, match=r"at tick 0; it must lie between 0 and 2\^36"):
                mechanism_of(instance).step(EMPTY_STATE, count, np.zeros(1))

    def test_the_largest_counts_do_not_overflow(self, instance):
        counts = [MOST_USERS, 0] * (instance.ticks // 2) + [MOST_USERS] * (instance.ticks % 2)
        mechanism = mechanism_of(instance)
        _, estimates = mechanism.steps(EMPTY_STATE, np.array(counts), np.zeros(draws_of(mechanism, instance.ticks)))
        np.testing.assert_allclose(estimates, counts, rtol=0, atol=1e-3)

    def test_no_difference_of_the_class_costs_more_than_the_sensitivity(self, instance):
        made = design_of(instance)
        differences = random_differences(instance.arguments, instance.ticks)
        assert len(differences) >= 20
        changes = differences @ strategy_matrix_of(instance).T
        norm_order = 1 if made.noise == "laplace" else 2
        assert np.linalg.norm(changes, ord=norm_order, axis=1).max() <= made.sensitivity * (1 + 1e-12)
        assert np.count_nonzero(np.abs(changes) > 1e-15, axis=1).max() <= made.touched

    def test_intervals_widen_with_the_level_and_have_the_right_quantile_at_the_first_tick(self, instance):
        mechanism, ticks = mechanism_of(instance), instance.ticks
        narrow, usual, wide = (mechanism.half_width(level, ticks) for level in (0.5, 0.95, 0.99))
        assert narrow.shape == (ticks,)
        assert np.all(narrow < usual)
        assert np.all(usual < wide)
        scale = mechanism.noise.scale / GRID * math.sqrt(mechanism.strategy.decoder_energy(1)[0])
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
    assert {*MECHANISM_NAMES, *DATA_DEPENDENT_NAMES} == set(MECHANISMS)
    assert {name for name, family in MECHANISMS.items() if family.strategy is None} == set(DATA_DEPENDENT_NAMES)
    assert {instance.name for instance in INSTANCES} == set(MECHANISM_NAMES)


def test_the_instances_without_an_end_are_all_there_are():
    for name in MECHANISM_NAMES:
        runs_without_end = True
        try:
            linear_design(name, protected_class(*ENDLESS_CLASSES[1]))
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
    broken = LinearMechanism("broken", ToeplitzStrategy(mechanism.strategy.weights[:1]), mechanism.noise, 1.0, 1)
    noise = np.random.default_rng(5).normal(0, mechanism.noise.scale, (1, instance.ticks))
    stepped = run_one_by_one(mechanism, np.zeros(instance.ticks), noise.T).T
    assert np.abs(stepped - broken.errors(noise)).max() > 0.05 * mechanism.noise.scale / GRID


def test_trees_keep_a_logarithmic_path():
    assert [TreeStrategy().memory(2**level - 1) for level in range(12)] == [1] * 12
    assert max(TreeStrategy().memory(tick) for tick in range(100_000)) <= 17


def test_an_endless_stream_keeps_a_bounded_state():
    mechanism = mechanism_of(Instance("damped-square-root", ENDLESS_CLASSES[1]))
    weights = len(mechanism.strategy.weights)
    assert 10 < weights < 100
    generator = np.random.default_rng(6)
    counts = generator.integers(0, 1000, 400)
    noise = mechanism.noise.seeded(generator, (400,))
    end, estimates = mechanism.steps(EMPTY_STATE, counts, noise)
    assert end.secret.shape == (weights,)
    np.testing.assert_allclose(estimates, counts + mechanism.errors(noise[np.newaxis])[0], atol=1e-8)


def test_a_year_of_monthly_counts_has_a_standard_deviation_of_about_eleven_users():
    # The design's headline: user-day, ε = 1, δ = 1e-6; it does not grow with the horizon.
    deviations = []
    for horizon in (365, 1000, None):
        made = linear_design("damped-square-root", protected_class("user-day", 30, 2, horizon))
        mechanism = calibrate_linear([made], Guarantee(1.0, 1e-6), [1.0])[0]
        deviations.append(float(mechanism.standard_deviation(horizon or 5000)[-1]))
    assert deviations == pytest.approx([10.8] * 3, abs=0.05)
    assert deviations == pytest.approx([deviations[0]] * 3, rel=1e-4)


def test_the_square_root_of_the_same_series_does_grow():
    # The power of the test above: without damping the same comparison fails.
    deviations = []
    for horizon in (365, 1000):
        made = linear_design("square-root", protected_class("user-day", 30, 2, horizon))
        deviations.append(float(made.sensitivity * np.sqrt(made.strategy.decoder_energy(horizon)[-1])))
    assert deviations[1] > 1.04 * deviations[0]


FAR_AWAY = 99_999_999


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Fails a test that takes a byte a tick of FAR_AWAY."""
    tracemalloc.start()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < FAR_AWAY


@pytest.mark.slow
@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", [name for name, family in MECHANISMS.items() if family.strategy is not None])
@pytest.mark.parametrize("unit", ["user-day", "user"])
def test_a_horizon_far_away_is_served_or_refused_without_writing_it_out(name, unit):
    protected = protected_class(unit, 30, 2, FAR_AWAY)
    if "tree" in name or name == "smooth-binary" or (unit == "user" and name not in ("laplace", "gaussian")):
        with pytest.raises(ValueError, match=f"{FAR_AWAY} ticks"):
            linear_design(name, protected)
        return
    far = linear_design(name, protected)
    if unit == "user-day" and name != "square-root":
        # What the hull changes has settled long before: as much noise as without an end, but for the buffers' rounding.
        endless = linear_design(name, protected_class(unit, 30, 2, None))
        assert far.strategy == endless.strategy
        assert far.sensitivity == pytest.approx(endless.sensitivity, rel=2e-3 if name in ROUNDED_NAMES else 1e-12)
