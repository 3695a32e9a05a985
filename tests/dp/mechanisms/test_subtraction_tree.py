"""The tree with subtraction against the digits of every prefix, and its privacy against adaptive streams."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.arrays import Floats
from dp.auditing.bounds import Alarms, epsilon_bound
from dp.mechanisms import EMPTY_STATE, GRID, LinearMechanism, independent, linear_design
from dp.mechanisms.subtraction_tree import BRANCHINGS, SubtractionTreeStrategy, most_odd_nodes, strategy
from dp.noise import LaplaceNoise
from dp.units import ProtectedClass, protected_class
from tests.laws import each
from tests.oracles import subtraction

HORIZONS = [1, 2, 3, 5, 13, 14, 41, 63]


@pytest.mark.parametrize("branching", [3, 5, 7, 11, 29])
@each("horizon", HORIZONS)
def test_releases_and_measurements_are_those_of_the_digits(branching, horizon):
    made = SubtractionTreeStrategy(branching)
    decoder, encoder = subtraction.decoder(branching, horizon), subtraction.encoder(branching, horizon)
    assert made.draws(0, horizon) == decoder.shape[1]
    assert np.array_equal(made.decode(np.eye(decoder.shape[1])).T, decoder)
    measured = [made.measurements(only) for only in np.eye(horizon, dtype=np.int64)]
    assert np.array_equal(np.column_stack(measured), GRID * encoder)
    assert np.array_equal(decoder @ encoder, np.eye(horizon))


@pytest.mark.parametrize("branching", [3, 5, 9])
@each("horizon", [30, 41, 60])
def test_the_most_odd_nodes_are_those_of_every_run(branching, horizon):
    series = np.array([
        [start <= tick < stop for tick in range(horizon)]
        for start, stop in itertools.combinations(range(horizon + 1), 2)
    ])  # fmt: skip
    odd = np.abs(series @ subtraction.encoder(branching, horizon).T).sum(axis=1)
    for hull in (1, 2, 7, 30, horizon):
        for ends_alone in (False, True):
            protected = ProtectedClass(1, hull, horizon, ends_alone)
            allowed = (series.sum(axis=1) <= hull) & (series[:, -1] if ends_alone else True)
            assert most_odd_nodes(branching, horizon, protected) == odd[allowed].max()


def test_a_node_that_is_not_yet_in_use_does_not_count():
    # Up to their middle, the nodes of a level are not in any release.
    for horizon, levels in [(13, 1), (14, 2), (364, 2), (365, 3)]:
        assert most_odd_nodes(27, horizon, protected_class("user", 1, 1, horizon)) == levels, horizon


@pytest.mark.parametrize(
    ("arguments", "deviation", "branching"),
    [(("user", 1, 1, 365), 10.43, 29), (("user", 1, 2, 365), 17.80, 19), (("user-day", 30, 2, 365), 17.80, 19)],
)
def test_the_errors_of_a_year_are_those_computed_elsewhere(arguments, deviation, branching):
    """From explicit matrices, with exact ℓ₁ over all runs; Andersson, Pagh, Steiner, Torkamani 2025."""
    made = linear_design("subtraction-tree", protected_class(*arguments))
    (mechanism,) = calibrate_linear([made], Guarantee(1.0, 0.0), [1.0])
    assert math.sqrt((mechanism.standard_deviation(365) ** 2).mean()) == pytest.approx(deviation, abs=0.005)
    assert made.strategy == SubtractionTreeStrategy(branching)


@pytest.mark.parametrize("arguments", [("user", 1, 1, 60), ("user", 1, 8, 60), ("user-day", 7, 2, 60)])
def test_the_branching_is_the_best_of_all_and_no_tree_is_taken_where_that_is_better(arguments):
    protected = protected_class(*arguments)
    horizon = protected.horizon

    def error(branching: int) -> float:
        used = [len(subtraction.nodes_in_use(prefix, branching)) for prefix in range(1, horizon + 1)]
        return most_odd_nodes(branching, horizon, protected) ** 2 * float(np.mean(used))

    best = min(BRANCHINGS, key=error)
    alone = error(best) >= protected.hull**2
    assert strategy(protected) == (independent.strategy(protected) if alone else SubtractionTreeStrategy(best))
    assert alone == (arguments[0] == "user-day")


@pytest.mark.parametrize("branching", [3, 5, 29])
def test_memory_is_the_branching_times_the_levels(branching):
    made = SubtractionTreeStrategy(branching)
    for tick in [*range(2000), 10**6]:
        levels = len(subtraction.balanced_digits(tick + 1, branching))
        assert 1 <= made.memory(tick) <= (branching - 1) * levels


@pytest.mark.parametrize("branching", [-3, 0, 1, 2, 28])
def test_digits_need_both_signs(branching):
    with pytest.raises(ValueError, match=rf"branching is {branching}; .* an odd one, at least 3"):
        SubtractionTreeStrategy(branching)


@pytest.mark.parametrize("branching", [3, 5])
@each("tick", range(14))
def test_a_state_without_its_noise_and_draws_of_another_tick_are_refused(branching, tick):
    made = SubtractionTreeStrategy(branching)
    state = EMPTY_STATE
    for earlier in range(tick):
        state, _ = made.advance(state, 1, np.ones(made.draws(earlier, earlier + 1), dtype=np.int64))
    drawn = made.draws(tick, tick + 1)
    kept = state.secret
    for secret, noise in [(kept[:-1], drawn), (np.append(kept, 1), drawn), (kept, drawn + 1), (kept, drawn - 1)]:
        if len(secret) != len(kept) or noise != drawn:
            with pytest.raises(
                ValueError, match=f"at tick {tick} the state has .*; {len(kept)} and {drawn} are needed"
            ):
                made.advance(state._replace(secret=secret), 1, np.ones(noise, dtype=np.int64))
    made.advance(state, 1, np.ones(drawn, dtype=np.int64))


# --- Adaptive streams -------------------------------------------------------------------------------------------------

SCALE, REACH = 1.5, 15


def law_of_releases(branching: int, ticks: int) -> dict[tuple[int, ...], float]:
    """Probability of every series of released noise, summed over all noise in [−REACH, REACH] that makes it."""
    decoder = subtraction.decoder(branching, ticks)
    decoder = decoder[:, np.any(decoder != 0, axis=0)].astype(np.int64)
    noise = np.array(list(itertools.product(range(-REACH, REACH + 1), repeat=decoder.shape[1])))
    probabilities = np.exp(-np.abs(noise).sum(axis=1) / SCALE) * math.tanh(0.5 / SCALE) ** decoder.shape[1]
    series, places = np.unique(noise @ decoder.T, axis=0, return_inverse=True)
    return dict(zip(map(tuple, series.tolist()), np.bincount(places.ravel(), probabilities).tolist(), strict=True))


@pytest.mark.parametrize("ticks", [2, 3])
def test_every_transcript_is_as_likely_with_the_change_but_for_what_its_nodes_cost(ticks):
    """With base 3 the second tick takes a leaf away that lies after it, and the law is a sum over its noise.

    The ratio holds for every transcript and every change, so also where the change is chosen by the transcript.
    """
    law, encoder = law_of_releases(3, ticks), subtraction.encoder(3, ticks)
    for change in itertools.product((0, 1), repeat=ticks):
        cost = float(np.abs(encoder @ change).sum()) / SCALE
        largest = 0.0
        for noise, probability in law.items():
            if max(map(abs, noise)) <= REACH // 3:
                moved = tuple(np.subtract(noise, change).tolist())
                largest = max(largest, abs(math.log(law[moved] / probability)))
        assert largest <= cost + 1e-3
        if ticks == 3:
            assert largest == pytest.approx(cost, abs=1e-3)  # as many nodes as ticks: each release says what they hold


@pytest.mark.parametrize("sees_the_present", [False, True])
def test_probabilities_of_an_adaptive_stream_sum_to_one_only_if_counts_come_before_releases(sees_the_present):
    """The change at a tick is chosen by the sign of a release: of an earlier one, as in a stream, or of its own."""
    law = law_of_releases(3, 2)

    def change(first: int, second: int) -> tuple[int, int]:
        return (int(first > 0), int(second > 0)) if sees_the_present else (0, int(first > 0))

    values = range(-REACH, REACH + 1)
    total = sum(
        law.get(tuple(np.subtract(transcript, change(*transcript)).tolist()), 0.0)
        for transcript in itertools.product(values, repeat=2)
    )
    assert (total == pytest.approx(1.0, abs=1e-3)) != sees_the_present


# --- A lower bound on ε, and what it rejects --------------------------------------------------------------------------

TICKS, TRIALS = 9, 20_000
"""As many ticks as a node of base 3 has on the third level: then every node in use is known from the releases."""


def played(errors: Floats, present: bool) -> tuple[Floats, Floats]:
    """Releases less everybody else's count, and when the user is to be there: from a tick after a low release on.

    The ticks are those that lie in a node in use on every level.
    """
    watched = np.zeros_like(errors)
    for tick in (2, 6, 8):
        low = errors[:, tick - 1] + present * watched[:, tick - 1] < 0
        watched[low | (tick == 8), tick:] = 1
    return errors + present * watched, watched


def shown_epsilon(mechanism: LinearMechanism, seed: int) -> float:
    """The ε that the likelihood ratio of whole transcripts shows, against a user who comes when releases say so."""
    encoder = subtraction.encoder(3, TICKS)
    generator = np.random.default_rng(seed)
    recognised = []
    for present in (False, True):
        noise = mechanism.noise.seeded(generator, (TRIALS, mechanism.strategy.draws(0, TICKS)))
        releases, watched = played(mechanism.errors(noise), present)
        seen, moved = releases @ encoder.T, watched @ encoder.T
        ratio = (np.abs(seen) - np.abs(seen - moved)).sum(axis=1)
        recognised.append(int(np.count_nonzero(ratio >= np.abs(moved).sum(axis=1) - 1e-6)))
    return float(epsilon_bound(Alarms(recognised[1], TRIALS, recognised[0], TRIALS), 0.0, 0.99))


def of_nine_ticks() -> LinearMechanism:
    made, protected = SubtractionTreeStrategy(3), protected_class("user", 1, 1, TICKS)
    sensitivity = made.sensitivity_squared(protected)
    return LinearMechanism("subtraction-tree", made, LaplaceNoise(math.ceil(GRID * sensitivity)), sensitivity, 3)


class FreshNoise(SubtractionTreeStrategy):
    """A node gets new noise whenever it is used; what is used is the same."""

    def decode(self, noise: Floats) -> Floats:
        later = np.random.default_rng(7).permuted(np.repeat(noise, TICKS, axis=0), axis=0)
        by_tick = later.reshape(len(noise), TICKS, -1)
        decoder = super().decode(np.eye(noise.shape[1])).T
        return np.einsum("itd,td->it", by_tick, decoder)


class ForgottenNodes(SubtractionTreeStrategy):
    """Nodes that are taken away have no noise."""

    def decode(self, noise: Floats) -> Floats:
        return noise @ np.maximum(super().decode(np.eye(noise.shape[1])), 0)


def test_an_adaptive_adversary_shows_most_of_epsilon_and_no_more():
    mechanism = of_nine_ticks()
    assert 0.8 <= shown_epsilon(mechanism, 20261130) <= 1


@pytest.mark.parametrize("twin", ["half the noise", "a node forgotten"])
def test_broken_twins_show_more(twin):
    right = of_nine_ticks()
    broken = {
        "half the noise": replace(right, noise=LaplaceNoise(right.noise.scale // 2)),
        "a node forgotten": replace(right, strategy=ForgottenNodes(3)),
    }[twin]
    assert shown_epsilon(broken, 20261201) > 1.3


@pytest.mark.parametrize("twin", [None, FreshNoise, ForgottenNodes])
def test_the_covariance_of_releases_is_that_of_nodes_used_again_and_again(twin):
    right = of_nine_ticks()
    run = right if twin is None else replace(right, strategy=twin(3))
    noise = right.noise.seeded(np.random.default_rng(5), (TRIALS, right.strategy.draws(0, TICKS)))
    errors = run.errors(noise) / math.sqrt(right.noise.variance) * GRID
    decoder = subtraction.decoder(3, TICKS)
    expected = decoder @ decoder.T
    # Of a sum of Laplace draws the fourth moment is at most twice that of a normal one.
    allowed = 5 * math.sqrt(5 / TRIALS) * np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.all(np.abs(errors.T @ errors / TRIALS - expected) <= allowed) == (twin is None)
