"""Several series at once are each of them alone, to the last digit: what is drawn, published and remembered."""

from __future__ import annotations

import numpy as np
import pytest

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.mechanisms import EMPTY_STATE, GRID, LinearMechanism, State, linear_design
from dp.mechanisms.linear import SeriesStrategy, measure_and_estimate, measure_in_turn
from dp.mechanisms.protocol import MOST_USERS, Mechanism, Released
from dp.mechanisms.sparse_vector import SparseVectorDesign
from dp.mechanisms.together import run_together
from dp.mechanisms.tree import measure_path
from dp.noise import GaussianNoise, Noise
from dp.units import protected_class
from tests.laws import each
from tests.oracles.mechanism_instances import INSTANCES, mechanism_of

SERIES = 3


def source_of(draws: np.ndarray):
    """Hands out given draws in turn."""
    left = iter(draws.reshape(-1).tolist())
    return lambda noise, size: np.array([next(left) for _ in range(size)], dtype=np.int64)


def as_bytes(state: State, released: Released) -> list[object]:
    return [state.tick, *(part.tolist() for part in state[1:]), *(part.tobytes() for part in released.arrays)]


def assert_the_same_together(mechanism: LinearMechanism, counts: np.ndarray, noise: np.ndarray, pieces: int) -> None:
    """In pieces of time, all series at once and each alone, from the same draws."""
    together = alone = [EMPTY_STATE] * len(counts)
    used = 0
    for piece in np.array_split(counts, pieces, axis=1):
        start = together[0].tick
        draws = noise[:, used : used + mechanism.strategy.draws(start, start + piece.shape[1])]
        used += draws.shape[1]
        at_once = list(run_together(mechanism, together, piece, source_of(draws), 0.9))
        in_turn = [
            mechanism.run(state, own, source_of(row), 0.9) for state, own, row in zip(alone, piece, draws, strict=True)
        ]
        assert [as_bytes(*one) for one in at_once] == [as_bytes(*one) for one in in_turn]
        together, alone = ([state for state, _ in ran] for ran in (at_once, in_turn))


@each("instance", INSTANCES, by=lambda instance: instance.name)
def test_series_that_run_together_are_each_alone(instance):
    mechanism, ticks = mechanism_of(instance), instance.ticks
    generator = np.random.default_rng(1)
    counts = generator.integers(0, 1 + np.array([[2**10], [2**20], [MOST_USERS]]), (SERIES, ticks))
    noise = mechanism.noise.seeded(generator, (SERIES, mechanism.strategy.draws(0, ticks))).astype(np.int64)
    for pieces in {1, min(3, ticks)}:
        assert_the_same_together(mechanism, counts, noise, pieces)


@each("instance", INSTANCES)
def test_every_strategy_of_ours_takes_many_series(instance):
    assert isinstance(mechanism_of(instance).strategy, SeriesStrategy)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["damped-square-root", "honaker-tree", "buffered-toeplitz"])
def test_years_are_the_same_together(name):
    """Sums as long as those of a real release: the last digits of a long sum depend on how it is added up."""
    design = linear_design(name, protected_class("user", 30, 2, 500))
    mechanism = calibrate_linear([design], Guarantee(1.0, 1e-6), [1.0])[0]
    generator = np.random.default_rng(2)
    counts = generator.integers(0, 10**6, (20, 500))
    noise = mechanism.noise.seeded(generator, (20, mechanism.strategy.draws(0, 500))).astype(np.int64)
    assert_the_same_together(mechanism, counts, noise, 3)


class ElsewhereStrategy:
    """A strategy of another package, which knows single series only: the count less what it was a tick before."""

    def measure(self, tick: int, secret: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(count, int)
        return measure_path(min(tick, 1), secret, count)

    def estimate(self, tick: int, public: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        estimate = measured[0] / GRID + (public[0] if tick else 0.0)
        return estimate, estimate[np.newaxis]

    advance = measure_and_estimate
    measurements = measure_in_turn

    def draws(self, start: int, stop: int) -> int:
        return stop - start

    def decoder_energy(self, horizon: int) -> np.ndarray:
        return np.arange(1.0, horizon + 1)


def test_a_strategy_that_takes_one_series_is_run_for_each():
    mechanism = LinearMechanism("elsewhere", ElsewhereStrategy(), GaussianNoise(3 * GRID), 1.0, 1)  # type: ignore[arg-type]
    generator = np.random.default_rng(3)
    counts, noise = generator.integers(0, 1000, (SERIES, 9)), generator.integers(-GRID, GRID, (SERIES, 9))
    assert_the_same_together(mechanism, counts, noise, 2)


def test_a_mechanism_whose_error_depends_on_the_data_runs_series_in_turn():
    mechanism: Mechanism = calibrate_linear(
        [SparseVectorDesign(protected_class("user-day", 7, 2, 20))],  # type: ignore[list-item]
        Guarantee(1.0, 1e-6),
        [1.0],
    )[0]
    counts = np.random.default_rng(4).integers(0, 1000, (3, 20))
    nothing = lambda noise, size: np.zeros(size, dtype=np.int64)  # noqa: E731
    together = list(run_together(mechanism, [EMPTY_STATE] * 3, counts, nothing, 0.9))
    assert [as_bytes(*one) for one in together] == [
        as_bytes(*mechanism.run(EMPTY_STATE, own, nothing, 0.9)) for own in counts
    ]


def test_noise_is_asked_for_once():
    mechanism = mechanism_of(INSTANCES[0])
    asked: list[int] = []

    def source(noise: Noise, size: int) -> np.ndarray:
        assert noise == mechanism.noise
        asked.append(size)
        return np.arange(size)

    ran = list(run_together(mechanism, [EMPTY_STATE] * 4, np.zeros((4, 6), dtype=np.int64), source, 0.9))
    assert asked == [24]
    estimates = np.array([released.estimates for _, released in ran])
    assert np.array_equal(estimates, np.arange(24).reshape(4, 6) / GRID), "draws of one series after the other"


@pytest.mark.parametrize(("count", "tick"), [(-1, 3), (MOST_USERS + 1, 0)])
@each("instance", INSTANCES, by=lambda instance: instance.name)
def test_impossible_counts_are_refused_with_their_tick(instance, count, tick):
    mechanism = mechanism_of(instance)
    counts = np.zeros((3, max(instance.ticks, tick + 1)), dtype=np.int64)
    counts[2, tick] = count
    if instance.ticks <= tick:
        pytest.skip("too short")
    with pytest.raises(ValueError, match=f"count is {count} at tick {tick}; it must lie between 0 and 2"):
        list(run_together(mechanism, [EMPTY_STATE] * 3, counts, lambda noise, size: np.zeros(size, int), 0.9))


def test_series_of_several_ticks_are_refused():
    mechanism = mechanism_of(INSTANCES[0])
    ahead = mechanism.run(EMPTY_STATE, np.zeros(2, dtype=np.int64), lambda noise, size: np.zeros(size, int), 0.9)[0]
    with pytest.raises(ValueError, match="a state is before tick 2, and others are not"):
        run_together(
            mechanism, [EMPTY_STATE, ahead], np.zeros((2, 1), dtype=np.int64), lambda *_: np.zeros(2, int), 0.9
        )


def test_no_ticks_and_no_series_publish_nothing():
    mechanism = mechanism_of(INSTANCES[0])
    for series, ticks in ((3, 0), (0, 4)):
        states = [EMPTY_STATE] * series
        ran = list(
            run_together(
                mechanism, states, np.zeros((series, ticks), int), lambda *_: pytest.fail("nothing is drawn"), 0.9
            )
        )
        assert [state for state, _ in ran] == states
        assert all(len(released.estimates) == 0 for _, released in ran)
