"""Laplace noise that spends δ: the account against plain convolution, enumerated products and adaptive opponents."""

from __future__ import annotations

import math
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.accounting import laplace
from dp.accounting.calibrate import calibrate_linear, calibrate_spending_delta
from dp.accounting.composition import Guarantee
from dp.accounting.laplace import STEPS, composed_epsilon, saving
from dp.mechanisms import GRID, MECHANISMS, LinearDesign, linear_design
from dp.mechanisms.question_design import question_design
from dp.units import PresenceChange, ProtectedClass, protected_class
from tests.examples import examples
from tests.oracles.accountant_instances import Pair, discrete_laplace_pair, hockey_stick
from tests.oracles.accountant_instances import product as joint_pair

DELTA = 1e-6
LAPLACE = tuple(
    name
    for name, family in MECHANISMS.items()
    if family.noise == "laplace" and family.strategy and linear_design(name, protected_class("user", 1, 2, 64)).in_turn
)


def loss_masses(epsilon: float, steps: int) -> np.ndarray:
    """Probabilities of the losses (−steps … steps)·ε/steps of discrete Laplace noise that moves by `steps`."""
    first, second = discrete_laplace_pair(steps / epsilon, steps)
    places = np.rint(np.log(first / second) * steps / epsilon).astype(int) + steps
    return np.bincount(places, weights=first, minlength=2 * steps + 1)


def convolved_delta(epsilon0: float, count: int, epsilon: float, steps: int = 256, doubled: bool = False) -> float:
    """δ(ε) of `count` shifted measurements, and of one that moves by two users; by plain convolution."""
    one = loss_masses(epsilon0, steps)
    total = loss_masses(2 * epsilon0, 2 * steps) if doubled else np.ones(1)
    for _ in range(count):
        total = np.convolve(total, one)
    losses = (np.arange(len(total)) - len(total) // 2) * epsilon0 / steps
    above = losses > epsilon
    return float(total[above] @ -np.expm1(epsilon - losses[above]))


# --- The account -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "guarantee"),
    [(18, Guarantee(1.0, DELTA)), (30, Guarantee(1.0, DELTA)), (30, Guarantee(0.2, 1e-9)), (30, Guarantee(6.0, 1e-4))],
)
def test_all_of_delta_is_spent_and_no_more(count, guarantee):
    factor = saving(((count, guarantee.epsilon / count),), guarantee)
    spent = convolved_delta(factor * guarantee.epsilon / count, count, guarantee.epsilon)
    assert 0.999 * guarantee.delta < spent <= guarantee.delta
    assert factor > 1


def test_accounts_that_forget_something_are_caught():
    guarantee, count = Guarantee(1.0, DELTA), 30
    right, fewer = (saving(((shifts, 1 / count),), guarantee) / count for shifts in (count, count - 1))
    assert convolved_delta(fewer, count, 1.0, STEPS) > 1.2 * DELTA
    # Two shifts by one user, taken for one measurement that moves by two: it tells more.
    assert convolved_delta(right, count, 1.0, STEPS) <= DELTA
    assert convolved_delta(right, count - 2, 1.0, STEPS, doubled=True) > 1.2 * DELTA


def test_a_month_of_releases_needs_27_per_cent_less_noise():
    assert 1 - 1 / saving(((30, 1 / 30),), Guarantee(1.0, DELTA)) == pytest.approx(0.274, abs=5e-4)


@pytest.mark.parametrize("count", [1, 2, 4, 9, 12])
def test_where_few_numbers_change_delta_saves_nothing(count):
    assert saving(((count, 1 / count),), Guarantee(1.0, DELTA)) == 1.0


@pytest.mark.parametrize("delta", [1e-13, 1e-30])
def test_a_delta_too_small_for_a_grid_saves_nothing(delta):
    assert saving(((30, 1 / 30),), Guarantee(1.0, delta)) == 1.0


@pytest.mark.slow
@given(
    series=st.lists(st.tuples(st.integers(1, 3), st.floats(0.2, 1.0)), min_size=1, max_size=2),
    delta=st.sampled_from([0.2, 0.05, 0.01]),
)
@examples(15)
def test_no_series_falls_below_the_enumerated_product(series, delta):
    whole = sum(count * epsilon for count, epsilon in series)
    factor = saving(tuple(series), Guarantee(whole, delta))
    pairs: list[Pair] = []
    for count, epsilon in series:
        masses = loss_masses(factor * epsilon, STEPS)
        losses = np.arange(-STEPS, STEPS + 1) * factor * epsilon / STEPS
        pairs += [(masses[masses > 0], (masses * np.exp(-losses))[masses > 0])] * count
    # A loss has 65 values, so that up to three are enumerated.
    if len(pairs) <= 3:
        assert hockey_stick(joint_pair(pairs), whole) <= delta * (1 + 1e-9)
    assert composed_epsilon([(count, factor * epsilon) for count, epsilon in series], delta) <= whole


@pytest.mark.slow
@pytest.mark.parametrize("count", [9, 30, 100])
def test_more_changed_numbers_save_more_and_more_epsilon_saves_less(count):
    factors = [saving(((many, 1 / many),), Guarantee(1.0, DELTA)) for many in (count, 2 * count)]
    assert 1 <= factors[0] < factors[1]
    assert saving(((count, 2 / count),), Guarantee(2.0, DELTA)) <= factors[0]


# --- Finer steps tell less -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "shift"), [(0.7, 1), (2.0, 3), (5.0, 4)])
@pytest.mark.parametrize("finer", [2, 3, 8])
def test_noise_with_finer_steps_is_coarser_noise_and_something_independent(scale, shift, finer):
    """m·(coarse noise) + (difference of two geometric draws below m) is the fine noise, so it tells no more."""
    coarse, _ = discrete_laplace_pair(scale, 0)
    spread = np.zeros((len(coarse) - 1) * finer + 1)
    spread[::finer] = coarse
    rest = np.exp(-np.arange(finer) / (scale * finer))
    rest /= rest.sum()
    found = np.convolve(spread, np.convolve(rest, rest[::-1]))
    middle = len(found) // 2
    places = np.arange(-20 * finer, 20 * finer + 1)
    exact = np.exp(-np.abs(places) / (scale * finer)) * math.tanh(0.5 / (scale * finer))
    assert found[middle + places] == pytest.approx(exact, rel=1e-9)
    for epsilon in np.linspace(0, shift / scale, 13):
        fine = hockey_stick(discrete_laplace_pair(scale * finer, shift * finer), epsilon)
        assert fine <= hockey_stick(discrete_laplace_pair(scale, shift), epsilon) + 1e-14


def test_the_noise_has_finer_steps_than_the_account():
    assert GRID % STEPS == 0
    assert GRID > STEPS


# --- Shifts of one user, chosen adaptively ---------------------------------------------------------------------------


@pytest.mark.parametrize(("shifts", "measurements"), [(1, 4), (2, 5), (3, 6)])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("epsilon", [0.0, 0.4, 1.1])
def test_no_opponent_who_chooses_by_what_is_seen_gets_beyond_the_product(shifts, measurements, steps, epsilon):
    """The best choice at every loss so far, by dynamic programming; signs do not matter, the noise is symmetric."""
    epsilon0 = 0.6
    masses = loss_masses(epsilon0, steps)

    @cache
    def most(left: int, may: int, place: int) -> float:
        if not left:
            return max(0.0, -math.expm1(epsilon - place * epsilon0 / steps))
        still = most(left - 1, may, place)
        if not may:
            return still
        moved = sum(
            mass * most(left - 1, may - 1, place + step - steps) for step, mass in enumerate(masses.tolist()) if mass
        )
        return max(still, moved)

    assert most(measurements, shifts, 0) == pytest.approx(convolved_delta(epsilon0, shifts, epsilon, steps), rel=1e-9)


def differences(protected: ProtectedClass) -> list[tuple[int, ...]]:
    """All Δ of a small class."""
    ticks = protected.horizon
    assert ticks is not None
    found = []
    for delta in product((0, 1), repeat=ticks):
        ones = [tick for tick in range(ticks) if delta[tick]]
        runs = sum(1 for tick in ones if not tick or not delta[tick - 1])
        if ones and runs <= protected.runs and ones[-1] - ones[0] < protected.hull:
            found.append(delta)
    return found


@pytest.mark.parametrize("name", LAPLACE)
@pytest.mark.parametrize(("runs", "hull"), [(1, 1), (1, 3), (2, 5), (3, 9), (1, 9)])
def test_a_change_shifts_as_many_measurements_by_one_user_as_the_sensitivity_says(name, runs, hull):
    protected = ProtectedClass(runs, hull, 9)
    design = linear_design(name, protected)
    most = 0
    for delta in differences(protected):
        shifts: list[int] = []
        secret = np.empty(0, dtype=np.int64)
        for tick, count in enumerate(delta):
            exact, secret = design.strategy.measure(tick, secret, count)
            shifts += exact.tolist()
        assert set(shifts) <= {-GRID, 0, GRID}
        most = max(most, sum(shift != 0 for shift in shifts))
    assert most == design.sensitivity


# --- Calibrated mechanisms -------------------------------------------------------------------------------------------


def month(name: str = "laplace", window: int = 30) -> LinearDesign:
    return linear_design(name, protected_class("user-day", window, 2, 365))


@pytest.mark.parametrize("name", LAPLACE)
def test_a_calibrated_mechanism_keeps_its_guarantee(name):
    guarantee = Guarantee(1.0, DELTA)
    design = month(name)
    ((mechanism, alone),) = calibrate_spending_delta([design], guarantee, [1.0])
    (pure,) = calibrate_linear([design], guarantee, [1.0])
    assert mechanism.noise.scale <= pure.noise.scale
    # Twelve measurements of the tree would save 0.4 %, for which the noise stays pure.
    assert (1 - 1e-5 if name == "laplace" else 0.99) < alone.epsilon <= guarantee.epsilon
    assert alone.delta == DELTA
    count = int(design.sensitivity)
    assert convolved_delta(GRID / mechanism.noise.scale, count, guarantee.epsilon) <= DELTA


@pytest.mark.slow
def test_several_series_divide_epsilon_and_spend_delta_together():
    guarantee = Guarantee(1.0, DELTA)
    designs = [month(window=window) for window in (7, 30)]
    mechanisms = [one for one, _ in calibrate_spending_delta(designs, guarantee, [1.0, 3.0])]
    pure = calibrate_linear(designs, guarantee, [1.0, 3.0])
    factors = [old.noise.scale / new.noise.scale for new, old in zip(mechanisms, pure, strict=True)]
    assert factors[0] == pytest.approx(factors[1], rel=1e-6)
    assert factors[0] > 1.1
    series = [(int(one.sensitivity), GRID / one.noise.scale) for one in mechanisms]
    # Scales are whole numbers, so that the grid is another one.
    assert composed_epsilon(series, DELTA) == pytest.approx(1, abs=1e-6)
    # Apart, each with its share of ε and of δ, they would need more noise.
    ((apart, _),) = calibrate_spending_delta(designs[1:], Guarantee(0.75, 0.75 * DELTA), [1.0])
    assert mechanisms[1].noise.scale < apart.noise.scale


def test_what_has_no_proof_is_refused():
    guarantee = Guarantee(1.0, DELTA)
    with pytest.raises(ValueError, match="gaussian draws Gaussian noise"):
        calibrate_spending_delta([month("gaussian")], guarantee, [1.0])
    with pytest.raises(ValueError, match="delta is 0"):
        calibrate_spending_delta([month()], Guarantee(1.0, 0.0), [1.0])
    change = PresenceChange((ProtectedClass(2, 30, 365),) * 2, 4, mixed=True)
    with pytest.raises(ValueError, match="may move a number by two users"):
        calibrate_spending_delta([question_design("binary-tree-laplace", change)], guarantee, [1.0])


def test_noise_that_is_drawn_ahead_spends_no_delta():
    with pytest.raises(ValueError, match="subtraction-tree cannot spend δ: what a change does to noise that is drawn"):
        calibrate_spending_delta([month("subtraction-tree")], Guarantee(1.0, DELTA), [1.0])
    # Where no tree is better it is independent noise.
    single = linear_design("subtraction-tree", ProtectedClass(1, 1, 365))
    assert calibrate_spending_delta([single], Guarantee(1.0, DELTA), [1.0])


def test_equal_arguments_are_searched_for_once():
    laplace.saving.cache_clear()
    for _ in range(3):
        calibrate_spending_delta([month()], Guarantee(1.0, DELTA), [1.0])
    assert laplace.saving.cache_info().misses == 1
