"""Sketches that are private by their secret hash: the guarantee by enumeration and by attack, the law, the error.

Exact part: distributions of tiny sketches are computed user by user and compared between n and n + 1 users; twins with
one phantom fewer, and with nobody left out, exceed ε.

Power. Laws: p < 1e-6 rejects a share of kept users 10 % off (15 % for pairs of registers) with probability > 0.99
(asserted). Errors: 300 salts and a band of probability 1 − 1e-4 for the sum of squares; a formula wrong by a
factor of 1.3 either way is out of it with probability > 0.99 (asserted); for large counts, with 100 and 30 salts, by
1.6 and 2.5.
Attacks: 2,000 salts with and 2,000 without the user reach at least 0.4 of the claim by what tells most (an empty
sketch); the twins exceed it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import binom, chi2, chi2_contingency, ncx2, norm

from dp.accounting.composition import Guarantee
from dp.accounting.registers import register_epsilon, sketch_guarantee
from dp.sketches.fm import FlajoletMartin
from dp.sketches.order_invariant import OrderInvariant
from dp.sketches.protocol import UnsupportedError, cut_error
from dp.sketches.registers import information, likeliest, raised, ranks_of
from tests.dp.test_privacy_statistics import epsilon_lower_bound
from tests.examples import examples

pytestmark = pytest.mark.slow

SALT = bytes(range(16))
LEVEL = 1e-6

Design = OrderInvariant | FlajoletMartin
Make = Callable[[bytes], Design]


def some_keys(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, count, endpoint=True)


def salts(count: int, seed: int) -> list[bytes]:
    generator = np.random.default_rng(seed)
    return [generator.bytes(16) for _ in range(count)]


# --- The exact law ---------------------------------------------------------------------------------------------------


def stochastic_averaging(registers: int, highest: int, kept: float, users: int) -> np.ndarray:
    """P(state) of HyperLogLog with down-sampling, user by user; shape (highest + 1,) * registers; ranks are cut."""
    at_least = kept * 0.5 ** np.arange(highest)
    ranks = np.append(0.0, at_least - np.append(at_least[1:], 0.0)) / registers
    states = np.zeros((highest + 1,) * registers)
    states[(0,) * registers] = 1.0
    for _ in range(users):
        after = (1 - kept) * states
        for place in range(registers):
            along = np.moveaxis(states, place, -1)
            below = np.cumsum(along, axis=-1) - along
            after = after + np.moveaxis(along * np.cumsum(ranks) + below * ranks, -1, place)
        states = after
    return states


def log_register(shares: np.ndarray, users: int) -> np.ndarray:
    """ln P(value = r) of one register, the largest of so many numbers P(number > r) = shares[r]; the end is cut."""
    not_above = np.append(np.log1p(-shares), 0.0)
    steps = np.append(np.inf, not_above[1:] - not_above[:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return users * not_above + np.log(-np.expm1(np.where(users > 0, -users * steps, [-np.inf, *0 * steps[1:]])))


def register_shares(kept: float, base: float, highest: int) -> np.ndarray:
    return kept * base ** -np.arange(highest, dtype=np.float64)


def worst_ratio(logs: list[np.ndarray]) -> float:
    """The largest |ln P − ln P′| over states, of neighbouring numbers of users."""
    return max(float(np.abs(one - other).max()) for one, other in itertools.pairwise(logs))


def order_invariant_ratio(registers: int, kept: float, phantoms: int, highest: int) -> tuple[float, float]:
    """The worst ln of P(without)/P(with), and of P(with)/P(without), for 0 to 25 users."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [np.log(stochastic_averaging(registers, highest, kept, phantoms + users)) for users in range(26)]
        steps = [other - one for one, other in itertools.pairwise(logs)]
    # A state that nobody can bring about with or without the user tells nothing.
    return max(float(np.nanmax(-step)) for step in steps), max(float(np.nanmax(step)) for step in steps)


def fm_ratio(kept: float, base: float, phantoms: int) -> float:
    """The worst over all users from 0 to 300, and from there on over a grid."""
    shares = register_shares(kept, base, math.ceil(35 / math.log2(base)))
    counts = [*range(301), *np.geomspace(301, 1e7, 60).astype(int)]
    pairs = [[log_register(shares, phantoms + count + more) for more in (0, 1)] for count in counts]
    return max(worst_ratio(pair) for pair in pairs)


@pytest.mark.parametrize("epsilon", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("lg_m", [0, 1])
class TestOrderInvariantByEnumeration:
    def test_no_state_tells_more_than_epsilon(self, epsilon, lg_m):
        design = OrderInvariant(epsilon, SALT, lg_m)
        leaves, joins = order_invariant_ratio(1 << lg_m, design.kept, design.phantoms, 24 if lg_m == 0 else 14)
        # An empty sketch tells ε exactly; so does, but for whole numbers of phantoms, one that all users could change.
        assert leaves == pytest.approx(epsilon, rel=1e-8)
        limit = -math.log(1 - (1 << lg_m) / (design.phantoms + 1))
        assert 0.99 * limit <= joins <= limit * (1 + 1e-9)
        assert limit <= epsilon

    def test_a_phantom_fewer_is_too_few(self, epsilon, lg_m):
        design = OrderInvariant(epsilon, SALT, lg_m)
        _, joins = order_invariant_ratio(1 << lg_m, design.kept, design.phantoms - 1, 24 if lg_m == 0 else 14)
        assert joins > epsilon

    def test_a_share_kept_that_is_larger_is_too_large(self, epsilon, lg_m):
        design = OrderInvariant(epsilon, SALT, lg_m)
        kept = 1 - math.exp(-1.01 * epsilon)
        leaves, _ = order_invariant_ratio(1 << lg_m, kept, design.phantoms, 12)
        assert leaves > 1.005 * epsilon


def test_without_down_sampling_and_without_phantoms_there_is_no_bound():
    leaves, _ = order_invariant_ratio(1, 1 - 1e-12, 2, 12)
    assert leaves > 20
    nobody, somebody = (stochastic_averaging(1, 12, 0.5, users) for users in (0, 1))
    assert nobody[3] == 0 < somebody[3]


@pytest.mark.parametrize("growth", [0.25, 1.0, 2.0])
@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5, 1.0])
class TestFlajoletMartinByEnumeration:
    def test_no_value_tells_more_than_epsilon(self, epsilon, growth):
        design = FlajoletMartin(epsilon, SALT, growth=growth)
        assert design.phantoms == math.ceil(1 / math.expm1(epsilon))
        worst = fm_ratio(design.kept, 1 + growth, design.phantoms)
        assert 0.9999 * epsilon <= worst <= epsilon * (1 + 1e-9)

    def test_a_phantom_fewer_is_too_few(self, epsilon, growth):
        design = FlajoletMartin(epsilon, SALT, growth=growth)
        if design.phantoms > 1:
            assert fm_ratio(design.kept, 1 + growth, design.phantoms - 1) > epsilon

    def test_no_floor_is_not_private(self, epsilon, growth):
        design = FlajoletMartin(epsilon, SALT, growth=growth)
        assert fm_ratio(1 - 1e-9, 1 + growth, design.phantoms) > 5 * epsilon


@pytest.mark.parametrize("registers", [1, 2, 3])
@pytest.mark.parametrize("delta", [0.0, 1e-3, 0.05])
def test_registers_compose_to_what_is_said(registers, delta):
    """δ(ε) of all states of up to three registers, with and without the user, both ways."""
    epsilon_register = 0.5
    design = FlajoletMartin(epsilon_register, SALT, growth=1.0)
    claim = sketch_guarantee(epsilon_register, registers, delta).epsilon
    shares = register_shares(design.kept, 2.0, 14)

    def product(single: np.ndarray) -> np.ndarray:
        result = single
        for _ in range(registers - 1):
            result = np.multiply.outer(result, single)
        return result

    def largest_delta(phantoms: int) -> float:
        found = 0.0
        for users in range(6):
            one, other = (product(np.exp(log_register(shares, phantoms + users + more))) for more in (0, 1))
            for first, second in ((one, other), (other, one)):
                found = max(found, float(np.maximum(first - math.exp(claim) * second, 0).sum()))
        return found

    assert largest_delta(design.phantoms) <= delta + 1e-9
    assert largest_delta(0) > delta + 0.05


# --- The code has that law -------------------------------------------------------------------------------------------


def cells(amounts: np.ndarray, probabilities: np.ndarray, draws: int) -> np.ndarray:
    """The amounts summed over cells: one for all that expect fewer than ten draws, and for so many that it has ten."""
    order = np.argsort(probabilities)
    expected = probabilities[order] * draws
    rare = max(int(np.count_nonzero(expected < 10)), int(np.searchsorted(np.cumsum(expected), 10)) + 1)
    return np.append(amounts[order][:rare].sum(), amounts[order][rare:])


def p_value(observed: np.ndarray, probabilities: np.ndarray) -> float:
    """Pearson's test."""
    draws = int(observed.sum())
    counts, expected = (cells(amounts, probabilities, draws) for amounts in (observed, draws * probabilities))
    return float(chi2.sf(np.sum((counts - expected) ** 2 / expected), len(expected) - 1))


def power(wrong: np.ndarray, right: np.ndarray, draws: int) -> float:
    """Probability that `p_value` is below LEVEL for draws of the wrong distribution."""
    wrong, right = (cells(probabilities, right, draws) for probabilities in (wrong, right))
    noncentrality = draws * float(np.sum((wrong - right) ** 2 / right))
    return float(ncx2.sf(chi2.isf(LEVEL, len(right) - 1), len(right) - 1, noncentrality))


LAW_SALTS, LAW_USERS = 6000, 6


@cache
def tiny_states() -> np.ndarray:
    """How often each state of an order-invariant sketch of two registers was seen, over salts."""
    counts, users = np.zeros((15, 15)), some_keys(LAW_USERS)
    for salt in salts(LAW_SALTS, 1):
        sketch = OrderInvariant(1.0, salt, 1).empty().add(users)
        counts[tuple(np.minimum(sketch.registers, 14))] += 1
    return counts


def test_order_invariant_states_have_their_exact_law():
    design = OrderInvariant(1.0, SALT, 1)
    right = stochastic_averaging(2, 14, design.kept, design.phantoms + LAW_USERS)
    assert p_value(tiny_states().ravel(), right.ravel()) > LEVEL
    for kept, phantoms in ((1.1 * design.kept, design.phantoms), (design.kept, 0)):
        wrong = stochastic_averaging(2, 14, kept, phantoms + LAW_USERS)
        assert p_value(tiny_states().ravel(), wrong.ravel()) < LEVEL
    wrong = stochastic_averaging(2, 14, 1.15 * design.kept, design.phantoms + LAW_USERS)
    assert power(wrong.ravel(), right.ravel(), LAW_SALTS) > 0.99


@cache
def fm_values(growth: float) -> np.ndarray:
    """Register values of 16 sketches of 200 users, shape (16 · 1024,)."""
    designs = [FlajoletMartin(0.05, salt, 1024, growth) for salt in salts(16, 2)]
    return np.concatenate([design.empty().add(some_keys(200)).registers for design in designs])


def all_geometrics(design: FlajoletMartin, users: int, generator: np.random.Generator) -> np.ndarray:
    """The slow oracle: every user draws for every register; those at or below the floor count 0."""
    uniform = generator.random((users + design.phantoms, design.registers))
    above = np.floor(np.log(uniform / design.kept) / -math.log(1 + design.growth)) + 1
    return np.maximum(above, 0).max(axis=0).astype(np.int64)


@pytest.mark.parametrize("growth", [0.25, 1.0])
class TestFlajoletMartinLaw:
    def test_values_have_their_exact_law(self, growth):
        design = FlajoletMartin(0.05, SALT, 1024, growth)
        highest = 100
        observed = np.bincount(np.minimum(fm_values(growth), highest), minlength=highest + 1)
        shares = register_shares(design.kept, 1 + growth, highest)
        right = np.exp(log_register(shares, 200 + design.phantoms))
        assert p_value(observed, right) > LEVEL
        wrong = np.exp(log_register(1.1 * shares, 200 + design.phantoms))
        assert power(wrong, right, len(fm_values(growth))) > 0.99
        assert p_value(observed, wrong) < LEVEL

    def test_values_are_like_those_of_the_slow_oracle(self, growth):
        generator = np.random.default_rng(3)
        design = FlajoletMartin(0.05, SALT, 1024, growth)
        slow = np.concatenate([all_geometrics(design, 200, generator) for _ in range(16)])
        fewer = np.concatenate([all_geometrics(design, 170, generator) for _ in range(16)])

        def p_of(oracle: np.ndarray) -> float:
            both = np.array([np.bincount(values, minlength=140) for values in (fm_values(growth), oracle)])
            return float(chi2_contingency(both[:, both.sum(axis=0) >= 20]).pvalue)

        assert p_of(slow) > LEVEL
        assert p_of(fewer) < LEVEL


def test_the_registers_of_one_user_are_independent():
    """One phantom and one user: the registers that stay empty are binomial."""
    salts_seen, registers = 600, 16
    design = FlajoletMartin(1.0, SALT, registers)
    assert design.phantoms == 1
    empty = np.zeros(registers + 1)
    for salt in salts(salts_seen, 4):
        sketch = FlajoletMartin(1.0, salt, registers).empty().add(some_keys(1))
        empty[np.count_nonzero(sketch.registers == 0)] += 1
    probabilities = binom.pmf(np.arange(registers + 1), registers, math.exp(-2.0))
    assert p_value(empty, probabilities) > LEVEL
    # If two and two of them shared their numbers, the spread would be another.
    pairs = np.zeros(registers + 1)
    pairs[::2] = binom.pmf(np.arange(registers // 2 + 1), registers // 2, math.exp(-2.0))
    assert power(pairs, probabilities, salts_seen) > 0.99


# --- Attacks ---------------------------------------------------------------------------------------------------------

RUNS = 2000
USER = some_keys(1, seed=99)
NOBODY = some_keys(0)


def measured_epsilon(make: Make, score: Callable[[np.ndarray], float], *, phantoms: bool = True) -> float:
    """A lower bound on ε from sketches of nobody and of one user, each under its own salt."""

    def scores(users: np.ndarray, seed: int) -> np.ndarray:
        found = []
        for salt in salts(RUNS, seed):
            design = make(salt)
            start = design.empty().registers if phantoms else np.zeros(design.registers, dtype=np.uint8)
            found.append(score(design.with_users(start, users)))
        return np.array(found)

    return epsilon_lower_bound(scores(NOBODY, 5), scores(USER, 6), 0.0)


def likelihood_ratio(logs_without: np.ndarray, logs_with: np.ndarray, sign: int) -> Callable[[np.ndarray], float]:
    """The most telling score there is for one register, or for independent ones; rounded, for ties are one event."""
    ratio = np.round(logs_with - logs_without, 9)
    return lambda registers: float(sign * ratio[np.minimum(registers, len(ratio) - 1)].sum())


def order_invariant_score(design: OrderInvariant, sign: int = 1) -> Callable[[np.ndarray], float]:
    logs = [np.log(stochastic_averaging(1, 20, design.kept, design.phantoms + more)) for more in (0, 1)]
    return likelihood_ratio(logs[0], logs[1], sign)


def swapped_epsilon(make: Make, score: Callable[[np.ndarray], float]) -> float:
    """As `measured_epsilon`, by events that are likelier without the user."""

    def scores(users: np.ndarray, seed: int) -> np.ndarray:
        return np.array([score(make(salt).empty().add(users).registers) for salt in salts(RUNS, seed)])

    return epsilon_lower_bound(scores(USER, 7), scores(NOBODY, 8), 0.0)


class TestAttacksOnOrderInvariant:
    EPSILON = 1.0

    def make(self, salt: bytes) -> OrderInvariant:
        return OrderInvariant(self.EPSILON, salt, 0)

    def test_the_measured_epsilon_stays_below_the_claim_and_near_it(self):
        score = order_invariant_score(self.make(SALT))
        away = order_invariant_score(self.make(SALT), -1)
        assert measured_epsilon(self.make, score) <= self.EPSILON
        assert 0.4 * self.EPSILON <= swapped_epsilon(self.make, away) <= self.EPSILON

    def test_no_phantoms_are_caught(self):
        seen = measured_epsilon(self.make, lambda registers: float(registers.max()), phantoms=False)
        assert seen > 3 * self.EPSILON

    def test_a_sketch_that_keeps_everybody_is_caught(self):
        """Two phantoms are enough for ε = 0.41; with nobody left out, half of the users would give ln 2 = 0.69."""
        claim, trials = 0.41, 2 * RUNS
        phantoms = some_keys(OrderInvariant(claim, SALT, 0).phantoms, seed=11)

        def scores(users: np.ndarray, seed: int) -> np.ndarray:
            everybody, zeros = np.append(phantoms, users), np.zeros(1, dtype=np.uint8)
            designs = (OrderInvariant(30.0, salt, 0) for salt in salts(trials, seed))
            return np.array([-float(design.with_users(zeros, everybody).max()) for design in designs])

        assert len(phantoms) == 2
        assert epsilon_lower_bound(scores(USER, 12), scores(NOBODY, 13), 0.0) > claim


class TestAttacksOnFlajoletMartin:
    EPSILON, REGISTERS = 0.5, 2

    def make(self, salt: bytes) -> FlajoletMartin:
        return FlajoletMartin(self.EPSILON, salt, self.REGISTERS)

    def score(self, sign: int) -> Callable[[np.ndarray], float]:
        design = self.make(SALT)
        shares = register_shares(design.kept, 1 + design.growth, 100)
        logs = [log_register(shares, design.phantoms + more) for more in (0, 1)]
        return likelihood_ratio(logs[0], logs[1], sign)

    def test_the_measured_epsilon_stays_below_the_claim_and_near_it(self):
        claim = sketch_guarantee(self.EPSILON, self.REGISTERS, 0.0).epsilon
        assert claim == 1.0
        assert measured_epsilon(self.make, self.score(1)) <= claim
        assert 0.4 * claim <= swapped_epsilon(self.make, self.score(-1)) <= claim

    def test_no_phantoms_are_caught(self):
        seen = measured_epsilon(self.make, lambda registers: float(registers.max()), phantoms=False)
        assert seen > 3.0


MAKES: dict[str, Make] = {
    "order-invariant": lambda salt: OrderInvariant(1.0, salt, 8),
    "fm": lambda salt: FlajoletMartin(0.05, salt, 256),
}


@pytest.mark.parametrize("name", MAKES)
class TestTheSaltIsTheGuarantee:
    def test_who_knows_the_salt_sees_the_user(self, name):
        """A salt that the attacker knows, and a user whose hash tells: every sketch gives it away."""
        design = next(
            design
            for design in map(MAKES[name], salts(100, 14))
            if (design.empty().add(USER).registers != design.empty().registers).any()
        )
        known = design.empty().add(USER).registers

        def scores(users: np.ndarray) -> np.ndarray:
            return np.full(2000, float((design.empty().add(users).registers == known).all()))

        assert epsilon_lower_bound(scores(NOBODY), scores(USER), 0.0) > 5

    def test_two_sketches_of_one_salt_are_not_private(self, name):
        """Yesterday's set and today's: where they differ by the user alone, a difference is the user, for certain."""

        def difference(users: np.ndarray, seed: int) -> np.ndarray:
            others, found = some_keys(50, seed=15), []
            for salt in salts(300, seed):
                yesterday = MAKES[name](salt).empty().add(others)
                found.append(float((yesterday.add(users).registers != yesterday.registers).any()))
            return np.array(found)

        assert not difference(NOBODY, 16).any()
        assert epsilon_lower_bound(difference(NOBODY, 16), difference(USER, 17), 0.0) > 1.5


# --- The budget of the registers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("registers", [1, 64, 1024])
@pytest.mark.parametrize("guarantee", [Guarantee(1.0, 1e-6), Guarantee(0.5, 1e-9), Guarantee(2.0, 0.0)])
def test_the_budget_of_a_register_is_the_largest_that_keeps_the_guarantee(registers, guarantee):
    found = register_epsilon(guarantee, registers)
    assert sketch_guarantee(found, registers, guarantee.delta).epsilon <= guarantee.epsilon
    assert sketch_guarantee(found * (1 + 1e-8), registers, guarantee.delta).epsilon > guarantee.epsilon
    if guarantee.delta == 0:
        assert found == pytest.approx(guarantee.epsilon / registers, rel=1e-8)


@pytest.mark.parametrize("registers", [256, 1024, 4096])
def test_the_budget_is_more_than_three_times_the_papers(registers):
    guarantee = Guarantee(1.0, 1e-6)
    papers = guarantee.epsilon / (4 * math.sqrt(registers * math.log(1 / guarantee.delta)))
    assert 3.4 < register_epsilon(guarantee, registers) / papers < 3.6


@pytest.mark.parametrize(
    ("guarantee", "registers", "message"),
    [
        (Guarantee(0.0, 1e-6), 4, "epsilon is 0.0"),
        (Guarantee(1.0, 1.0), 4, "delta is 1.0"),
        (Guarantee(1.0, -0.1), 4, "delta is -0.1"),
        (Guarantee(1.0, 0.1), 0, "registers is 0"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(guarantee, registers, message):
    with pytest.raises(ValueError, match=message):
        register_epsilon(guarantee, registers)


# --- Reading registers -----------------------------------------------------------------------------------------------

RATES = 0.8 * 1.5 ** -np.arange(12.0)


def log_likelihood(n: float, registers: np.ndarray, rates: np.ndarray) -> float:
    """From the law alone: P(value ≤ r) = e^(−n·a_r)."""
    not_above = np.append(np.exp(-n * rates), 1.0)
    probabilities = np.diff(not_above, prepend=0.0)
    return float(np.log(probabilities[registers]).sum())


@given(st.lists(st.integers(0, 12), min_size=1, max_size=30))
@examples(100)
def test_the_likeliest_number_is_where_the_likelihood_is_largest(values):
    registers = np.array(values, dtype=np.uint8)
    found = likeliest(registers, RATES)
    if set(values) == {0}:
        assert found == 0.0
    elif set(values) == {12}:
        assert found == math.inf
    else:
        searched = minimize_scalar(
            lambda log_n: -log_likelihood(math.exp(log_n), registers, RATES), bounds=(-6, 9), method="bounded"
        )
        assert log_likelihood(found, registers, RATES) >= -searched.fun - 1e-9
        assert found == pytest.approx(math.exp(searched.x), rel=1e-3)


def test_an_extreme_sketch_can_be_read():
    rates = 2.0 ** -np.arange(52.0)
    registers = np.full(4096, 50, dtype=np.uint8)
    registers[0] = 1
    assert 0 < likeliest(registers, rates) < math.inf


@pytest.mark.parametrize("count", [0.01, 1.0, 30.0, 300.0])
def test_the_information_is_the_curvature_of_the_likelihood(count):
    """Σ P(r)·(d ln P(r)/dn)², the derivative by central differences."""
    step = 1e-4 * count
    values = np.arange(13)
    logs = [
        np.array([log_likelihood(n, np.array([value]), RATES) for value in values])
        for n in (count - step, count, count + step)
    ]
    scores = (logs[2] - logs[0]) / (2 * step)
    assert information(count, RATES) == pytest.approx(float(np.exp(logs[1]) @ scores**2), rel=1e-5)


def test_ranks_and_registers_against_loops():
    generator = np.random.default_rng(18)
    thresholds = np.sort(generator.random(9))
    values = np.append(generator.random(50), thresholds)
    ranks = ranks_of(values, thresholds)
    assert ranks.tolist() == [sum(bool(threshold > value) for threshold in thresholds) for value in values]
    places = generator.integers(0, 5, len(values))
    before = np.array([0, 3, 9, 1, 0], dtype=np.uint8)
    kept = before.copy()
    after = before.tolist()
    for place, rank in zip(places, ranks.tolist(), strict=True):
        after[place] = max(after[place], rank)
    assert raised(before, places, ranks).tolist() == after
    assert (before == kept).all()


# --- What every sketch does ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKES)
class TestLaws:
    def test_bulk_is_one_by_one_in_any_order_and_however_often(self, name):
        keys = some_keys(700, seed=19)
        bulk = MAKES[name](SALT).empty().add(keys)
        single = MAKES[name](SALT).empty()
        for key in np.append(keys[::-1], keys[:50]):
            single = single.add(np.array([key]))
        assert (bulk.registers == single.registers).all()

    def test_merging_is_the_union(self, name):
        keys, empty = some_keys(3000, seed=20), MAKES[name](SALT).empty()
        merged = empty.add(keys[:2000]).merge(empty.add(keys[1000:]))
        assert (merged.registers == empty.add(keys).registers).all()
        with pytest.raises(ValueError, match="cannot be merged"):
            empty.merge(MAKES[name](bytes(16)).empty())

    def test_bytes_and_back(self, name):
        sketch = MAKES[name](SALT).empty().add(some_keys(3000, seed=21))
        data = sketch.to_bytes()
        assert len(data) == 256
        back = sketch.design.from_bytes(data)
        assert back.estimate() == sketch.estimate()
        assert back.to_bytes() == data
        with pytest.raises(ValueError, match="data has 255 bytes"):
            sketch.design.from_bytes(data[1:])
        with pytest.raises(ValueError, match="register of 255"):
            sketch.design.from_bytes(b"\xff" + data[1:])

    def test_nobody_is_removed(self, name):
        with pytest.raises(UnsupportedError, match="forgets"):
            MAKES[name](SALT).empty().remove(USER)

    def test_a_sketch_is_a_value(self, name):
        empty = MAKES[name](SALT).empty()
        before = empty.to_bytes()
        empty.add(some_keys(1000))
        assert empty.to_bytes() == before

    def test_the_salt_is_not_shown(self, name):
        design = MAKES[name](SALT)
        assert repr(SALT) not in repr(design)
        assert repr(SALT) not in repr(design.empty())
        with pytest.raises(ValueError, match="salt has 4 bytes") as raised_error:
            MAKES[name](b"abcd")
        assert "abcd" not in str(raised_error.value)

    def test_bounds_hold_the_estimate_and_are_not_below_zero(self, name):
        for salt in salts(20, 22):
            sketch = MAKES[name](salt).empty()
            low, high = sketch.bounds(2)
            assert 0 <= low <= sketch.estimate() <= high
            assert sketch.estimate() == max(sketch.design.read(sketch.registers), 0.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OrderInvariant(0.0, SALT), "epsilon is 0.0"),
        (lambda: OrderInvariant(math.inf, SALT), "epsilon is inf"),
        (lambda: OrderInvariant(1.0, SALT, 21), "lg_m is 21"),
        (lambda: FlajoletMartin(-1.0, SALT), "epsilon_register is -1.0"),
        (lambda: FlajoletMartin(0.1, SALT, 1000), "registers is 1000"),
        (lambda: FlajoletMartin(0.1, SALT, 64, 0.0), "growth is 0.0"),
    ],
)
def test_designs_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- Errors ----------------------------------------------------------------------------------------------------------


def squared_errors(make: Make, count: int, trials: int) -> float:
    """Σ ((reading − count)/deviation)² over salts, nothing cut off: about chi-square."""
    keys, total = some_keys(count, seed=23), 0.0
    for salt in salts(trials, 24):
        design = make(salt)
        total += ((design.read(design.empty().add(keys).registers) - count) / design.deviation(count)) ** 2
    return total


def band(trials: int) -> tuple[float, float]:
    return float(chi2.ppf(5e-5, trials)), float(chi2.isf(5e-5, trials))


COUNTS = [(0, 300), (10, 300), (300, 300)]
LARGE_COUNTS = [(3000, 300), (30_000, 100), (100_000, 100), (1_000_000, 30)]
SEEN_FACTOR = {300: 1.3, 100: 1.6, 30: 2.5}


def check_error(name: str, count: int, trials: int) -> None:
    low, high = band(trials)
    seen = squared_errors(MAKES[name], count, trials)
    assert low < seen < high
    # A formula so much larger or smaller than this one is rejected on the same sketches.
    assert seen / SEEN_FACTOR[trials] ** 2 < low
    assert seen * SEEN_FACTOR[trials] ** 2 > high


@pytest.mark.parametrize(("count", "trials"), COUNTS)
@pytest.mark.parametrize("name", MAKES)
def test_the_error_is_that_of_the_formula(name, count, trials):
    check_error(name, count, trials)


@pytest.mark.parametrize(("count", "trials"), LARGE_COUNTS)
@pytest.mark.parametrize("name", MAKES)
def test_the_error_of_large_counts_is_that_of_the_formula(name, count, trials):
    check_error(name, count, trials)


@pytest.mark.parametrize(("trials", "factor"), SEEN_FACTOR.items())
def test_the_power_of_the_error_test(trials, factor):
    low, high = band(trials)
    assert chi2.sf(high / factor**2, trials) > 0.99
    assert chi2.cdf(low * factor**2, trials) > 0.99


@pytest.mark.parametrize("count", [0.0, 0.5, 2.0, 30.0])
def test_the_error_of_what_is_cut_off_at_zero(count):
    def square(value: float) -> float:
        return (max(value, 0.0) - count) ** 2 * float(norm.pdf(value, count, 1.5))

    expected = math.sqrt(quad(square, -20, 0)[0] + quad(square, 0, count + 20)[0])
    assert cut_error(1.5, count) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("name", MAKES)
def test_the_error_of_the_estimate_of_nobody_is_that_of_one_cut_off_at_zero(name):
    """Half of the squares are zero; 300 salts: their sum has a relative deviation of √(5/300), 13 %."""
    designs = [MAKES[name](salt) for salt in salts(300, 29)]
    squares = sum((design.empty().estimate() / design.standard_error(0)) ** 2 for design in designs)
    assert abs(squares / 300 - 1) < 5 * math.sqrt(5 / 300)
    uncut = sum((design.empty().estimate() / (2 * design.deviation(0))) ** 2 for design in designs)
    assert abs(uncut / 300 - 1) > 5 * math.sqrt(5 / 300)


def test_a_biased_register_is_rejected():
    """Users whose place is odd fall into the register before: half of the sketch stays empty."""

    def squares(biased: bool) -> float:
        keys, total = some_keys(3000, seed=23), 0.0
        for salt in salts(100, 25):
            design = OrderInvariant(1.0, salt, 8)
            registers = design.empty().add(keys).registers.copy()
            if biased:
                registers[::2] = np.maximum(registers[::2], registers[1::2])
                registers[1::2] = 0
            total += ((design.read(registers) - 3000) / design.deviation(3000)) ** 2
        return total

    low, high = band(100)
    assert low < squares(False) < high < squares(True)


def test_an_fm_sketch_read_without_its_phantoms_is_rejected():
    total = 0.0
    for salt in salts(100, 26):
        design = FlajoletMartin(0.05, salt, 256)
        total += ((design.read(design.empty().registers) + design.phantoms) / design.deviation(0)) ** 2
    assert total > band(100)[1]


@pytest.mark.parametrize("name", MAKES)
def test_the_estimate_has_no_bias_to_speak_of(name):
    """300 users, 300 salts: the mean is within four of its standard errors; with half as many phantoms it is not."""
    keys = some_keys(300, seed=27)
    estimates, design = [], MAKES[name](SALT)
    for salt in salts(300, 28):
        estimates.append(design.read(MAKES[name](salt).empty().add(keys).registers))
    tolerance = 4 * design.deviation(300) / math.sqrt(300)
    assert abs(np.mean(estimates) - 300) < tolerance < design.phantoms / 2
