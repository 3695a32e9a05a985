"""Accountants at the ends of their ranges: tiny δ, δ that is just used up, releases that tell nothing, few losses."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.accounting import advanced, loss_grid
from dp.accounting import mechanism_events as parts
from dp.accounting.accountant import slack
from dp.accounting.accountants import ACCOUNTANTS, best, compose
from dp.accounting.composition import zcdp_epsilon
from dp.accounting.gaussian import epsilon_for
from dp.accounting.mechanism_events import MechanismEvent, epsilon_at, merge
from dp.accounting.spec import CONSTRUCTORS, event_of
from tests.examples import examples
from tests.oracles.accountant_instances import ACCOUNTANT_NAMES, RELEASES

DELTA = 1e-6
TIGHTER = {"advanced": ("naive",), "rdp": ("zcdp",), "pld": ACCOUNTANT_NAMES}
"""Each accountant with those that know no more of the same releases."""


def epsilon(name: str, released: list[MechanismEvent], delta: float) -> float:
    found = ACCOUNTANTS[name].account(merge(released), delta).epsilon
    return math.inf if found is None else found


sizes = st.floats(-6, 1.5).map(math.exp)
counts = st.sampled_from([1, 1, 2, 3, 10, 100])
some_release = st.one_of(
    st.builds(lambda size, count: parts.laplace(epsilon=size, count=count), sizes, counts),
    st.builds(lambda size, count: parts.gaussian(sigma=1 / size, count=count), sizes, counts),
    st.builds(lambda size, count: parts.pure(epsilon=size, count=count), sizes, counts),
    st.builds(
        lambda size, shift, count: parts.discrete_laplace(epsilon=size, sensitivity=shift, count=count),
        sizes, st.sampled_from([1, 2, 5]), counts,
    ),
    st.builds(
        lambda size, shift, count: parts.discrete_gaussian(sigma=max(0.2, 1 / size), sensitivity=shift, count=count),
        sizes, st.sampled_from([1, 2]), counts,
    ),
    st.builds(
        lambda size, own, count: parts.approximate(epsilon=size, delta=own, count=count),
        st.one_of(st.just(0.0), sizes), st.floats(-20, -3).map(math.exp), st.integers(1, 3),
    ),
    st.builds(lambda size, count: parts.zcdp(rho=size**2 / 2, count=count), sizes, counts),
)  # fmt: skip


def deltas_around(released: list[MechanismEvent]) -> list[float]:
    """From 0 to near 1, and close to where the releases' own δ are used up."""
    added = math.fsum(part.count * part.delta for part in released)
    composed = -math.expm1(math.fsum(part.count * math.log1p(-part.delta) for part in released))
    near = [own * factor for own in (added, composed) for factor in (1 - 1e-9, 1, 1 + 1e-14, 1 + 1e-9)]
    ends = [0.0, 1e-300, 1e-100, 1e-20, 1e-13, 1e-12, 1e-11, 1e-9, DELTA, 1e-3, 0.1, 0.5]
    return sorted({delta for delta in [*ends, *near, added + 1e-13, added + 2e-12] if delta < 1})


# --- Monotone, up to the grid, and no looser than who knows less ------------------------------------------------------


def assert_falls_and_is_no_looser(released: list[MechanismEvent]) -> None:
    known = merge(released)
    before = dict.fromkeys(ACCOUNTANT_NAMES, math.inf)
    for delta in deltas_around(known):
        found = {name: epsilon(name, known, delta) for name in ACCOUNTANT_NAMES}
        for name in ACCOUNTANT_NAMES:
            assert found[name] <= before[name] * (1 + 1e-6), (name, delta)
        for tight, looser in TIGHTER.items():
            # `pld` needs a dominating pair, which ρ alone does not give.
            if tight != "pld" or all(part.loss for part in known):
                assert all(found[tight] <= found[other] for other in looser), (tight, delta)
        before = found


@pytest.mark.slow
@given(released=st.lists(some_release, min_size=1, max_size=3))
@examples(3)
def test_every_epsilon_falls_with_delta_and_knowing_more_never_costs(released):
    assert_falls_and_is_no_looser(released)


@pytest.mark.slow
@pytest.mark.parametrize("releases", RELEASES)
def test_the_listed_releases_are_as_lawful(releases):
    assert_falls_and_is_no_looser(RELEASES[releases])


@pytest.mark.parametrize("delta", [0.0, 1e-300, 1e-100, 1e-13, 9e-13, 1e-12, 2e-12])
def test_pure_releases_have_the_sum_of_their_epsilons_at_every_delta(delta):
    released = [parts.laplace(scale=1.0, count=3), parts.laplace(scale=2.0, count=2)]
    assert 3.999 < epsilon("pld", released, delta) <= 4.0


@pytest.mark.parametrize("delta", [1e-30, 1e-13])
def test_below_what_a_grid_resolves_the_least_of_the_others_is_the_answer(delta):
    released = [parts.laplace(epsilon=0.05, count=365), parts.gaussian(sigma=20.0)]
    assert loss_grid.grid_epsilon(merge(released), delta) == math.inf
    assert epsilon("pld", released, delta) == min(epsilon(name, released, delta) for name in ACCOUNTANT_NAMES[:-1])


# --- δ that is just used up ------------------------------------------------------------------------------------------

tenths = st.lists(st.integers(1, 99), min_size=1, max_size=8).flatmap(
    lambda numbers: st.tuples(st.just(numbers), st.integers(3, 12))
)


@given(tenths)
@examples(60)
def test_decimals_that_add_up_to_delta_are_not_more_than_it(drawn):
    numbers, places = drawn
    written = [Decimal(number).scaleb(-places) for number in numbers]
    released = [parts.approximate(epsilon=1.0 + place, delta=float(one)) for place, one in enumerate(written)]
    total = math.fsum(1.0 + place for place in range(len(numbers)))
    whole = float(sum(written))
    assert epsilon("naive", released, whole) == total
    assert epsilon("naive", released, whole * (1 + 1e-9)) == total
    assert epsilon("naive", released, whole * (1 - 1e-9)) == math.inf


@pytest.mark.parametrize("count", [1, 3, 7, 49, 365, 10**6])
def test_shares_of_delta_add_up_to_it(count):
    released = [parts.approximate(epsilon=0.5, delta=DELTA / count, count=count)]
    assert epsilon("naive", released, DELTA) == 0.5 * count
    assert "more than" in compose(released, DELTA * (1 - 1e-9))["naive"].reason


def test_nothing_is_left_of_a_delta_that_is_used_up():
    released = [parts.approximate(epsilon=0.5, delta=0.1, count=3), parts.gaussian(sigma=5.0)]
    assert "no δ is left for gaussian" in compose(released, 0.3)["naive"].reason
    assert epsilon("naive", released, 0.3001) < math.inf


@pytest.mark.parametrize(
    "released",
    [
        [parts.approximate(epsilon=1.0, delta=0.1, count=3)],
        [parts.approximate(epsilon=1.0, delta=0.1), parts.approximate(epsilon=2.0, delta=0.2)],
        [parts.approximate(epsilon=2.5, delta=0.25), parts.pure(epsilon=0.5)],
        [parts.approximate(epsilon=0.003, delta=1e-7, count=1000)],
        [parts.approximate(epsilon=1.5, delta=1e-13), parts.discrete_laplace(epsilon=1.5, sensitivity=3)],
    ],
    ids=lambda released: f"{len(released)}, {released[0].name}",
)
def test_at_the_probability_of_an_infinite_loss_the_largest_finite_ones_add_up(released):
    own = -math.expm1(math.fsum(part.count * math.log1p(-part.delta) for part in released))
    total = math.fsum(part.count * part.epsilon for part in released)
    for name in ("advanced", "pld"):
        assert epsilon(name, released, own) == pytest.approx(total, rel=1e-12)
        assert epsilon(name, released, own * (1 - 1e-9)) == math.inf
        assert epsilon(name, released, own * (1 + 1e-6)) <= total
        assert epsilon(name, released, math.sqrt(own)) < total


@given(
    count=st.integers(1, 2000), own=st.floats(-16, -7).map(math.exp), ulps=st.integers(-3, 40), share=sizes,
)  # fmt: skip
@examples(60)
def test_rounding_around_the_infinite_mass_errs_on_the_safe_side(count, own, ulps, share):
    """δ̃ by 60 digits: a positive one that is only rounding would let a much smaller ε through."""
    delta = -math.expm1(count * math.log1p(-own))
    for _ in range(abs(ulps)):
        delta = math.nextafter(delta, math.inf if ulps > 0 else 0.0)
    with localcontext() as context:
        context.prec = 60
        rest = float(1 - (1 - Decimal(delta)) / (1 - Decimal(own)) ** count)
    left = slack(delta, count * math.log1p(-own))
    assert left is None or left <= max(rest, 0.0)
    if rest > 1e-14 * delta:
        assert left is not None
        assert left >= rest - 4e-15 * delta
    got = epsilon("advanced", [parts.approximate(epsilon=share, delta=own, count=count)], delta)
    assert got >= advanced.homogeneous_epsilon(share, count, max(rest, 0.0)) * (1 - 1e-12)


def test_the_own_deltas_are_summed_as_the_numbers_they_are():
    # One in 10¹² above is no rounding: exact fractions tell the two apart.
    own, count = 1e-9, 1000
    below = float(Fraction(own) * count * (1 - Fraction(1, 10**12)))
    assert epsilon("naive", [parts.approximate(epsilon=1.0, delta=own, count=count)], below) == math.inf


# --- Releases that tell nothing --------------------------------------------------------------------------------------

NOTHING = {
    "laplace": {"epsilon": 0},
    "discrete-laplace": {"epsilon": 0.0, "sensitivity": 3},
    "pure": {"epsilon": 0.0},
    "zcdp": {"rho": 0},
    "gdp": {"mu": 0.0},
}


@pytest.mark.parametrize("mechanism", NOTHING)
def test_a_release_that_tells_nothing_can_be_stated_and_costs_nothing(mechanism):
    nothing = event_of("spec", {"mechanism": mechanism, "count": 3, **NOTHING[mechanism]})
    for delta in (0.0, DELTA):
        answers = compose([nothing], delta)
        assert all(answer.epsilon == 0 and answer.exact for answer in answers.values())
    for released in RELEASES.values():
        assert merge([*released, nothing]) == merge(released)


def test_every_mechanism_that_is_stated_by_its_cost_may_cost_nothing():
    stated = {name for name, kind in CONSTRUCTORS.items() if {"epsilon", "rho", "mu"} & {*kind.needed, *kind.either}}
    assert stated == {*NOTHING, "approximate"}


@pytest.mark.parametrize("count", [1, 5])
def test_a_release_may_reveal_everything_or_nothing(count):
    own = 1e-3
    released = [parts.approximate(epsilon=0.0, delta=own, count=count)]
    composed = -math.expm1(count * math.log1p(-own))
    for delta, names in ((composed, ("advanced", "pld")), (count * own, ("naive", "advanced", "pld"))):
        assert [epsilon(name, released, delta) for name in names] == [0.0] * len(names)
    assert best(compose(released, composed * (1 - 1e-9))) is None
    # Beside others it takes its δ and nothing else.
    rest = 1 - (1 - 0.1) / (1 - own) ** count
    released.append(parts.pure(epsilon=0.4, count=6))
    assert epsilon("advanced", released, 0.1) == pytest.approx(advanced.homogeneous_epsilon(0.4, 6, rest), rel=1e-12)


# --- A lone discrete Gaussian ----------------------------------------------------------------------------------------


def precise_epsilon(sigma: str, shift: int, delta: str) -> float:
    """The smallest ε of one discrete Gaussian on a whole number, in 50 digits from its definition, by bisection."""
    with localcontext() as context:
        context.prec = 50
        variance, reach = Decimal(sigma) ** 2, math.ceil(20 * float(sigma)) + shift
        support = range(-reach, reach + 1)
        weights = {z: (-Decimal(z * z) / (2 * variance)).exp() for z in support}
        whole = sum(weights.values())
        losses = {z: Decimal(shift * shift - 2 * z * shift) / (2 * variance) for z in support}
        low, high = Decimal(0), max(losses.values())
        for _ in range(70):
            middle = (low + high) / 2
            over = sum(weights[z] * (1 - (middle - loss).exp()) for z, loss in losses.items() if loss > middle)
            low, high = (middle, high) if over > Decimal(delta) * whole else (low, middle)
        return float(high)


@pytest.mark.parametrize(("sigma", "shift"), [("0.3", 1), ("0.5", 1), ("0.75", 2), ("2", 1), ("4.5", 3)])
@pytest.mark.parametrize("delta", ["1e-9", "1e-6", "1e-3", "0.05"])
def test_one_discrete_gaussian_costs_what_its_definition_says(sigma, shift, delta):
    exact = precise_epsilon(sigma, shift, delta)
    released = [parts.discrete_gaussian(sigma=float(sigma), sensitivity=shift)]
    answers = compose(released, float(delta))
    for name in ("naive", "advanced", "pld"):
        assert answers[name].epsilon == pytest.approx(exact, rel=1e-10, abs=1e-12)
    assert answers["naive"].exact
    assert loss_grid.grid_epsilon(released, float(delta)) == pytest.approx(exact, rel=1e-6, abs=1e-9)
    assert all(answer.epsilon >= exact * (1 - 1e-10) for answer in answers.values())


def test_a_narrow_discrete_gaussian_costs_less_than_its_mu_and_its_rho_say():
    one = parts.discrete_gaussian(sigma=0.5)
    assert epsilon_for(one.mu, 1e-3) == pytest.approx(10.14, abs=0.005)
    assert zcdp_epsilon(one.rho, 1e-3) == pytest.approx(8.42, abs=0.005)
    assert epsilon_at(one, 1e-3) == pytest.approx(5.99, abs=0.005)


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0, 10.0, 70.0, 1000.0])
@pytest.mark.parametrize("delta", [1e-290, 1e-80, 1e-12, 1e-3])
def test_the_least_known_epsilon_of_a_release_is_taken(sigma, delta):
    one = parts.discrete_gaussian(sigma=sigma)
    assert epsilon_at(one, delta) <= min(epsilon_for(one.mu, delta), zcdp_epsilon(one.rho, delta))
    for count in (2, 30):
        several = [parts.discrete_gaussian(sigma=sigma, count=count)]
        assert epsilon("naive", several, delta) == pytest.approx(count * epsilon_at(one, delta / count), rel=1e-12)
        assert epsilon("advanced", several, delta) <= epsilon("naive", several, delta)


def test_what_the_table_of_losses_does_not_tell_is_not_called_exact():
    one = [parts.discrete_gaussian(sigma=0.5)]
    assert compose(one, 1e-30)["naive"].exact
    assert not compose(one, 1e-60)["naive"].exact


def test_epsilon_of_one_release_falls_as_delta_grows():
    for one in (parts.discrete_gaussian(sigma=0.4), parts.discrete_gaussian(sigma=90.0), parts.zcdp(rho=0.3)):
        found = [epsilon_at(one, math.exp(-place)) for place in range(1, 150, 3)]
        assert all(before <= after for before, after in pairwise(found))
