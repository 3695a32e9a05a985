"""The trees against every difference series, and their estimates against least squares."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from dp.mechanisms import EMPTY_STATE, GRID, Strategy, linear_design, smooth_binary, tree
from dp.mechanisms.binary_tree import TreeStrategy, best_strategy, digit_sum
from dp.mechanisms.honaker_tree import HonakerTreeStrategy, block_variances, block_weights
from dp.mechanisms.smooth_binary import SmoothBinaryStrategy
from dp.mechanisms.subtraction_tree import SubtractionTreeStrategy
from dp.units import ProtectedClass, protected_class
from tests.laws import each
from tests.oracles.mechanism_instances import all_series, count_runs, hull_lengths, strategy_matrix

TREES: tuple[Strategy, ...] = (
    *(TreeStrategy(branching) for branching in (2, 3, 4, 16)),
    *(SubtractionTreeStrategy(branching) for branching in (3, 5, 7, 25)),
    HonakerTreeStrategy(),
    *(SmoothBinaryStrategy(height, ones) for height, ones in ((6, 2), (64, 2), (6, 3), (6, 4), (14, 13))),
)


def classes_of(horizon: int) -> list[ProtectedClass]:
    """Every class of that horizon, also those that no unit makes."""
    runs, hulls = range(1, (horizon + 1) // 2 + 2), range(1, horizon + 1)
    return [ProtectedClass(*most, horizon, last) for *most, last in itertools.product(runs, hulls, (False, True))]


@pytest.mark.parametrize("strategy", TREES, ids=repr)
@each("horizon", [1, 2, 3, 7, 8, 11, 12])
def test_the_most_odd_blocks_are_those_of_every_difference_series(strategy, horizon):
    series = all_series(horizon)
    changes = np.abs(series @ strategy_matrix(strategy, horizon).T)
    assert set(np.unique(changes)) <= {0, 1}  # so that the sum is ℓ₁ and squared ℓ₂ at once
    costs, runs, hulls = changes.sum(axis=1), count_runs(series), hull_lengths(series)
    for protected in classes_of(horizon):
        allowed = (runs <= protected.runs) & (hulls <= protected.hull)
        if protected.open_ended:
            allowed &= (runs < protected.runs) | (series[:, -1] == 1)
        assert strategy.sensitivity_squared(protected) == costs[allowed].max(), protected
        assert strategy.touched(protected) == costs[allowed].max()


def depths_of(strategy: Strategy, horizon: int) -> tree.Depths:
    """How much of the path each block leaves, by running the strategy on counts that name their ticks."""
    secret = EMPTY_STATE.secret
    found = []
    for tick in range(horizon):
        path = secret.tolist()
        exact, secret = strategy.measure(tick, secret, tick + 1)
        begins = [tick + 1 - measured // GRID for measured in exact.tolist()]
        if isinstance(strategy, SmoothBinaryStrategy):
            begins = begins[:1]  # the others hold nothing
        found.append(tuple(path.index(begin) + 1 if begin else 0 for begin in begins))
    return tuple(found)


def most_odd_by_every_window(depths: tree.Depths, protected: ProtectedClass) -> int:
    """`most_odd_in_class` without a memory of windows."""
    flips, last = 2 * protected.runs - protected.open_ended, len(depths) - protected.hull
    windows = [
        tree.most_odd_blocks(depths, flips, start, start + protected.hull + 1, even=True) for start in range(last)
    ]
    return max([tree.most_odd_blocks(depths, flips, last, len(depths)), *windows])


@each("strategy", [TreeStrategy(2), TreeStrategy(3), HonakerTreeStrategy(), SmoothBinaryStrategy(10, 3)])
@each("horizon", [33, 64, 100])
def test_windows_that_look_alike_have_the_same_answer(strategy, horizon):
    depths = depths_of(strategy, horizon)
    for hull, runs in ((1, 1), (5, 2), (16, 1), (30, 3)):
        protected = ProtectedClass(runs, hull, horizon)
        assert tree.most_odd_in_class(depths, protected) == most_odd_by_every_window(depths, protected)
        assert strategy.sensitivity_squared(protected) == most_odd_by_every_window(depths, protected)


def test_a_cache_that_forgets_what_lies_around_a_window_is_caught():
    depths = depths_of(TreeStrategy(), 64)
    answers = [tree.most_odd_blocks(depths, 4, start, start + 4, even=True) for start in range(60)]
    by_inside: dict[tuple[tuple[int, ...], ...], set[int]] = {}
    for start, answer in enumerate(answers):
        lowest = min(depth for (depth,) in depths[start : start + 4])
        by_inside.setdefault(tuple((depth - lowest,) for (depth,) in depths[start : start + 4]), set()).add(answer)
    assert max(len(different) for different in by_inside.values()) > 1


# --- Published errors of counting one increment over a year (sensitivity² × row norm²: mean, largest) -----------------


@pytest.mark.parametrize(("name", "mean", "most"), [("binary-tree", 36.7644, 72.0), ("honaker-tree", 21.9862, 43.2125)])
def test_published_prefix_sum_errors(name, mean, most):
    made = linear_design(name, protected_class("user", 1, 1, 365))
    squares = made.sensitivity**2 * made.strategy.decoder_energy(365)
    assert squares.mean() == pytest.approx(mean, abs=5e-5)
    assert squares.max() == pytest.approx(most, abs=5e-5)


# --- Branching --------------------------------------------------------------------------------------------------------


@each("arguments", [("user", 1, 1, 365), ("user", 1, 8, 100), ("user-day", 7, 2, 100)])
def test_the_branching_is_the_best_of_all(arguments):
    protected = protected_class(*arguments)

    def error(strategy: TreeStrategy) -> float:
        return strategy.sensitivity_squared(protected) * float(strategy.decoder_energy(protected.horizon).mean())

    assert error(best_strategy(protected)) == min(error(TreeStrategy(branching)) for branching in range(2, 17))
    assert error(best_strategy(protected)) < error(TreeStrategy())


@each(("number", "base", "digits"), [(0, 2, 0), (1, 2, 1), (365, 2, 6), (365, 10, 14), (80, 3, 8)])
def test_digit_sums(number, base, digits):
    assert digit_sum(number, base) == digits


# --- Honaker ----------------------------------------------------------------------------------------------------------


@each("tick", range(16))
def test_honakers_estimate_is_generalised_least_squares_on_all_that_was_measured(tick):
    strategy = HonakerTreeStrategy()
    ticks = tick + 1
    matrix = strategy_matrix(strategy, ticks)
    best = np.linalg.pinv(matrix)[-1]  # unit variances: the row of the pseudo-inverse is the best unbiased estimate
    ours = strategy.decode(np.eye(strategy.draws(0, ticks)))[:, -1]
    np.testing.assert_allclose(ours, best, atol=1e-12)
    assert strategy.decoder_energy(ticks)[-1] == pytest.approx(float(best @ best), rel=1e-12)
    # One level's weight moved to another is still unbiased, and worse.
    if ticks % 2 == 0:
        assert float(best @ best) < TreeStrategy().decoder_energy(ticks)[-1]


def test_honakers_weights_are_positive_and_sum_to_one():
    for level in range(20):
        weights = block_weights(level)
        assert weights.shape == (level + 1,)
        assert weights.min() > 0
        assert weights.sum() == pytest.approx(1, abs=1e-14)
    variances = block_variances(40)
    assert variances[0] == 1
    assert all(0.5 < after < before for before, after in itertools.pairwise(variances[:20]))
    assert variances[-1] == pytest.approx(0.5, abs=1e-9)


# --- Smooth binary ----------------------------------------------------------------------------------------------------

HEIGHTS = [(6, 2), (5, 3), (7, 3), (8, 4), (12, 10), (64, 2)]


def every_tick(height: int, ones: int, most: int = 60) -> int:
    return min(math.comb(height, ones) - 1, most)


@each(("height", "ones"), HEIGHTS)
def test_every_release_is_the_sum_of_as_many_draws_as_there_are_ones(height, ones):
    strategy = SmoothBinaryStrategy(height, ones)
    ticks = every_tick(height, ones)
    decoder = strategy.decode(np.eye(strategy.draws(0, ticks))).T
    assert decoder.shape[0] == ticks
    assert set(np.unique(decoder)) == {0, 1}
    assert decoder.sum(axis=1).tolist() == [ones] * ticks == strategy.decoder_energy(ticks).tolist()
    empty = ~strategy_matrix(strategy, ticks).any(axis=1)
    assert empty.sum() == smooth_binary.empty_blocks(height, ones, ticks).sum() > 0
    assert decoder[:, empty].sum(axis=0).tolist() == [1] * empty.sum()  # noise of an empty block is used only once


@each(("height", "ones"), HEIGHTS)
def test_a_release_is_the_prefix_up_to_the_leaf_after_its_own(height, ones):
    """The blocks as the paper has them: nodes of the full tree that hang to the left of the way to a leaf."""
    if height > 20:
        height, ones = 16, 2
    leaves = [leaf for leaf in range(2**height) if leaf.bit_count() == ones]
    ticks = min(len(leaves) - 1, 40)
    strategy = SmoothBinaryStrategy(height, ones)
    nodes: list[tuple[int, int]] = []
    releases = []
    for after in leaves[1 : ticks + 1]:
        of_release = [(bit, (after >> bit) - 1) for bit in range(height) if after >> bit & 1]
        nodes += [node for node in of_release if node not in nodes]
        releases.append(of_release)
    counted = [[leaf >> bit == prefix for leaf in leaves[:ticks]] for bit, prefix in nodes]
    # One change a tick is what a block sums up; the order of blocks within a tick is no matter.
    ours = strategy_matrix(strategy, ticks) @ np.tri(ticks)
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, np.array(counted, dtype=float).tolist()))
    energy = [len(of_release) for of_release in releases]
    assert energy == strategy.decoder_energy(ticks).tolist()


def test_leaves_run_out():
    strategy = SmoothBinaryStrategy(4, 2)
    assert strategy.draws(0, 5) > 5
    with pytest.raises(ValueError, match="has 5 ticks; 6 are asked for"):
        strategy.draws(0, 6)


@pytest.mark.parametrize("horizon", [1, 2, 3, 365, pytest.param(5000, marks=pytest.mark.slow)])
def test_the_leaves_last_for_the_horizon(horizon):
    strategy = smooth_binary.strategy(protected_class("user-day", 7, 2, horizon))
    assert strategy.draws(0, horizon) >= horizon
    assert strategy.ones >= 2


@each("arguments", [("user-day", 30, 2, 200), ("user-day", 7, 6, 64), ("user", 1, 3, 90)])
def test_no_bound_from_below_rules_out_the_best(arguments):
    protected = protected_class(*arguments)
    candidates = [
        *((tree_depths(TreeStrategy(branching), protected.horizon), 1.0 + branching) for branching in range(2, 17)),
        *((tree_depths(SmoothBinaryStrategy(14, ones), protected.horizon), float(ones)) for ones in range(3, 12)),
    ]
    errors = [tree.most_odd_in_class(depths, protected) * variance for depths, variance in candidates]
    for depths, _ in candidates:
        assert tree.least_odd_in_class(depths, protected) <= tree.most_odd_in_class(depths, protected)
    assert tree.best_candidate(candidates, protected) == int(np.argmin(errors))


def tree_depths(strategy: TreeStrategy | SmoothBinaryStrategy, horizon: int) -> tree.Depths:
    if isinstance(strategy, SmoothBinaryStrategy):
        return strategy.depths(horizon)
    return tuple((digit_sum(tick + 1, strategy.branching) - 1,) for tick in range(horizon))
