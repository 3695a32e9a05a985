"""Numbers that other libraries' tests expect of their accountants, asked of ours.

Only the numbers are taken. Their sources, at these commits:

- dp-accounting: github.com/google/differential-privacy, b5b0286e313b64a692abfc8c528d54ef47d960a0, in
  python/dp_accounting/dp_accounting: `privacy_accountant_test.py`, `pld/pld_privacy_accountant_test.py`,
  `pld/accountant_test.py`, `pld/privacy_loss_distribution_test.py`, `rdp/rdp_privacy_accountant_test.py`.
- OpenDP: github.com/opendp/opendp, bc6e18b86fb5f8cbab5a79da1a6cedea6b181f24: rust/src/combinators/measure_cast/
  zCDP_to_approxDP/test.rs and cdp_delta/test.rs there, rust/src/measurements/*/test.rs, python/test/test_comb.py.

Where ours differs by convention, the case stands under "Conventions", with the reason.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from dp.accounting import loss_grid
from dp.accounting import mechanism_events as parts
from dp.accounting.accountants import ACCOUNTANTS, best, compose
from dp.accounting.composition import zcdp_epsilon
from dp.accounting.gaussian import delta_for
from dp.accounting.mechanism_events import MechanismEvent, merge


def epsilon(name: str, released: list[MechanismEvent], delta: float) -> float:
    found = ACCOUNTANTS[name].account(merge(released), delta).epsilon
    return math.inf if found is None else found


def least(released: list[MechanismEvent], delta: float) -> float:
    """The ε of the best accountant."""
    answers = compose(released, delta)
    name = best(answers)
    found = answers[name].epsilon if name else None
    return math.inf if found is None else found


# --- dp-accounting: ε at δ -------------------------------------------------------------------------------------------

NOTHING = {
    "pure": parts.pure(epsilon=0.0), "zcdp": parts.zcdp(rho=0.0), "gdp": parts.gdp(mu=0.0),
    "laplace": parts.laplace(epsilon=0.0),
}  # fmt: skip


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("delta", [1e-12, 0.0])
def test_what_tells_nothing_has_no_epsilon(nothing, delta):
    """privacy_accountant_test: no operation, and (0, 0)."""
    assert all(epsilon(name, [NOTHING[nothing]], delta) == 0 for name in ACCOUNTANTS)


ACCOUNTED = {
    # pld_privacy_accountant_test
    "gaussian": ([parts.gaussian(sigma=math.sqrt(3), count=3)], 0.126936, 1.0, 1e-3),
    "laplace": ([parts.laplace(scale=1.0, count=3), parts.laplace(scale=2.0, count=2)], 1e-14, 4.0, 1e-6),
    "discrete laplace": (
        [parts.discrete_laplace(epsilon=1.0, count=3), parts.discrete_laplace(epsilon=0.5, count=2)], 0.0, 4.0, 1e-6,
    ),
    "pure": ([parts.pure(epsilon=1.0), parts.pure(epsilon=2.0)], 0.0, 3.0, 0.0),
    "approximate": (
        [parts.approximate(epsilon=1.0, delta=0.1), parts.approximate(epsilon=2.0, delta=0.2)], 0.28, 3.0, 0.0,
    ),
    # rdp_privacy_accountant_test
    "renyi gaussian": ([parts.zcdp(rho=1 / (2 * 4.530877117**2))], 1e-6, 1.0, 1e-7),
    # accountant_test: identical (ε, δ) releases
    "thirty pure": ([parts.pure(epsilon=1.0, count=30)], 0.0, 30.0, 0.0),
    "one δ too large": ([parts.approximate(epsilon=1.0, delta=0.2)], 0.1, math.inf, 0.0),
    "thirty δ too large": ([parts.approximate(epsilon=1.0, delta=0.01, count=30)], 0.26, math.inf, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCOUNTED)
def test_the_least_epsilon_is_the_published_one(case):
    released, delta, published, tolerance = ACCOUNTED[case]
    assert least(released, delta) == pytest.approx(published, abs=tolerance, rel=1e-15)


@pytest.mark.parametrize(
    ("other", "answers", "neighbour"),
    [
        (4 / (3 + math.e), 4, lambda other: other / 4), ((4 - math.e) / 3, 4, lambda other: 1 / 4),
        (math.exp(-1), 2, lambda other: 1 / 2),
    ],
)  # fmt: skip
def test_randomised_response_of_odds_e(other, answers, neighbour):
    """pld_privacy_accountant_test: with probability `other` any answer; a neighbour has another truth, or none."""
    odds = max((1 - other + other / answers) / neighbour(other), neighbour(other) / (other / answers))
    assert least([parts.pure(epsilon=math.log(odds))], 0.0) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("epsilon0", "count"), [(0.01, 1), (1.0, 1), (100.0, 1)])
def test_one_laplace_release_costs_its_epsilon_at_a_tiny_delta(epsilon0, count):
    released = [parts.laplace(epsilon=epsilon0, count=count)]
    assert epsilon("rdp", released, 1e-10) == pytest.approx(epsilon0 * count, abs=1e-7)
    assert released[0].rho <= min(epsilon0, epsilon0**2 / 2)


@pytest.mark.parametrize(("multiplier", "published"), [(1.13, 19.74), (8.83, 2.04)])
def test_a_tree_over_1600_steps_costs_less_than_was_published(multiplier, published):
    # One step lies in 11 nodes.
    assert epsilon("gdp", [parts.gaussian(sigma=multiplier, count=11)], 1e-6) < published


# --- dp-accounting: the least noise for ε and δ ----------------------------------------------------------------------

SCALES = [
    # sensitivity, ε, δ, releases, scale, tolerance
    (21.0, 3.0, 0.0, 10, 70.0, 0.1), (1.0, 1.0, 1e-4, 20, 13.6, 0.1), (0.5, 1.0, 1e-4, 20, 6.8, 0.1),
    pytest.param(1.0, 1.0, 1e-4, 500, 71.0, 0.1, marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize(("sensitivity", "target", "delta", "count", "scale", "off"), SCALES)
def test_the_least_scale_of_laplace_noise(sensitivity, target, delta, count, scale, off):
    less, more = (
        least([parts.laplace(scale=scale + step, sensitivity=sensitivity, count=count)], delta) for step in (off, -off)
    )
    assert less < target < more


@pytest.mark.parametrize(
    ("sensitivity", "target", "delta", "count", "rate"),
    [(2, 3.0, 0.0, 5, 0.3), (1, 1.0, 1e-4, 20, 0.073), (5, 1.0, 1e-4, 20, 0.014)],
)
def test_the_largest_rate_of_discrete_laplace_noise(sensitivity, target, delta, count, rate):
    less, more = (
        least([parts.discrete_laplace(scale=1 / (rate + step), sensitivity=sensitivity, count=count)], delta)
        for step in (-1e-3, 1e-3)
    )
    assert less < target < more


@pytest.mark.parametrize(("sensitivity", "count", "sigma"), [(1.0, 1, 1 / 3), (6.0, 25, 10.0)])
def test_the_least_deviation_of_gaussian_noise(sensitivity, count, sigma):
    assert delta_for(sensitivity * math.sqrt(count) / sigma, 1.0) == pytest.approx(0.78760074, abs=1e-8)


# --- dp-accounting: a loss on a grid ---------------------------------------------------------------------------------

TWO = {2: 0.62245933, 1: 0.14855068, 0: 0.09010054, -1: 0.05464874, -2: 0.08424071}
GRIDS = {
    "laplace 1/1": (parts.laplace(scale=1.0), 1.0, {1: 0.62245933, 0: 0.14855068, -1: 0.22898999}),
    "laplace 3/3": (parts.laplace(scale=3.0, sensitivity=3.0), 1.0, {1: 0.62245933, 0: 0.14855068, -1: 0.22898999}),
    "laplace 2/1": (parts.laplace(scale=1.0, sensitivity=2.0), 1.0, TWO),
    "laplace 4/2": (parts.laplace(scale=2.0, sensitivity=4.0), 1.0, TWO),
    "laplace by halves": (
        parts.laplace(scale=1.0), 0.5,
        {2: 0.56217650, 1: 0.09684622, 0: 0.07542391, -1: 0.05874020, -2: 0.20681318},
    ),
    "laplace beside the grid": (
        parts.laplace(scale=1.0), 0.3,
        {
            4: 0.18817131, 3: 0.37181835, 2: 0.06128993, 1: 0.05275273, 0: 0.04540470, -1: 0.03908019,
            -2: 0.03363663, -3: 0.15117006, -4: 0.05667611,
        },
    ),
    "discrete 1": (parts.discrete_laplace(epsilon=1.0), 1.0, {1: 0.731058579, -1: 0.268941421}),
    "discrete 2": (
        parts.discrete_laplace(scale=1.0, sensitivity=2), 1.0, {2: 0.731058579, 0: 0.170003402, -2: 0.098938020},
    ),
    "discrete 2 at 0.8": (
        parts.discrete_laplace(scale=1.25, sensitivity=2), 1.0,
        {2: 0.492482728, 1: 0.197491753, 0: 0.170722074, -1: 0.072653156, -2: 0.066650289},
    ),
    "discrete 3 at 0.8": (
        parts.discrete_laplace(scale=1.25, sensitivity=3), 1.0,
        {
            3: 0.359853436, 2: 0.330121045, 1: 0.148724321, 0: 0.043995505, -1: 0.054712620, -2: 0.044677025,
            -3: 0.017916048,
        },
    ),
    "discrete on the grid": (parts.discrete_laplace(epsilon=1.0), 0.1, {10: 0.731058579, -10: 0.268941421}),
    "discrete beside the grid": (
        parts.discrete_laplace(epsilon=1.0), 0.03,
        {34: 0.246127076, 33: 0.484931503, -33: 0.180189243, -34: 0.088752178},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GRIDS)
def test_losses_are_split_between_grid_points_as_published(case):
    part, interval, published = GRIDS[case]
    lowest, probabilities = loss_grid.LATTICE[part.loss](part, interval)
    found = {lowest + place: value for place, value in enumerate(probabilities.tolist()) if value > 1e-12}
    assert found == pytest.approx(published, abs=6e-9)


# --- OpenDP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rho", "delta", "published"),
    [
        (1 / 32, 1e-3, 0.6880024554878085), (0.005, 1e-6, 0.42994146883694934), (0.05, 8.17727531036957e-2, 0.25),
        (0.5, 5e-8 * 2, 11.341717670937543 / 2),
    ],
)  # fmt: skip
def test_epsilon_of_zcdp(rho, delta, published):
    assert zcdp_epsilon(rho, delta) == pytest.approx(published, rel=1e-11)
    assert epsilon("zcdp", [parts.zcdp(rho=rho)], delta) == zcdp_epsilon(rho, delta)


@pytest.mark.parametrize(("rho", "delta"), [(1 / 32, 0.1508457845622862), (0.5, 0.5588356393474351)])
def test_where_zcdp_leaves_no_epsilon(rho, delta):
    assert zcdp_epsilon(rho, delta * (1 + 1e-9)) == pytest.approx(0, abs=1e-7)
    assert zcdp_epsilon(rho, delta * (1 - 1e-3)) > 0


def test_two_releases_of_a_half_at_a_share_of_delta_each():
    assert epsilon("naive", [parts.zcdp(rho=0.5, count=2)], 2e-7) == pytest.approx(11.341717670937543, rel=1e-11)


@pytest.mark.parametrize(("sensitivity", "rho"), [(1, 0.5), (2, 2.0), (3, 4.5)])
def test_rho_of_gaussian_noise(sensitivity, rho):
    assert parts.gaussian(sigma=1.0, sensitivity=sensitivity).rho == rho
    assert parts.discrete_gaussian(sigma=1.0, sensitivity=sensitivity).rho == rho


@pytest.mark.parametrize("sensitivity", [1, 2, 3])
def test_epsilon_of_laplace_noise(sensitivity):
    assert parts.laplace(scale=1.0, sensitivity=sensitivity).epsilon == sensitivity
    assert parts.discrete_laplace(scale=1.0, sensitivity=sensitivity).epsilon == sensitivity


def test_pure_answers():
    assert least([parts.laplace(scale=1.0, count=2)], 0.0) == 2.0
    assert epsilon("naive", [parts.laplace(scale=10.0)], 1e-7) == 0.1
    assert least([parts.pure(epsilon=math.log(0.75 / 0.25))], 0.0) == math.log(3)
    # A coin that says the truth half of the time tells nothing.
    assert least([parts.pure(epsilon=math.log(0.5 / 0.5))], 0.0) == 0.0


# --- Conventions -----------------------------------------------------------------------------------------------------


def test_delta_is_below_one_and_there_is_something_to_compose():
    """They answer 0 for no release, and at δ = 1 also for what is not private at all; ours takes these for mistakes."""
    with pytest.raises(ValueError, match="no releases"):
        compose([], 1e-12)
    with pytest.raises(ValueError, match="delta is 1"):
        compose([parts.pure(epsilon=1.0)], 1.0)
    with pytest.raises(ValueError, match="sigma is 0"):
        parts.gaussian(sigma=0.0)


@pytest.mark.parametrize(("delta", "published"), [(0.06, 22), (0.1, 20)])
def test_ours_composes_on_the_whole_line(delta, published):
    """accountant_test: their composition of 30 (1, 0.001) stops at ε = 30 − 2i; ours goes on to the smallest ε."""
    found = epsilon("advanced", [parts.approximate(epsilon=1.0, delta=0.001, count=30)], delta)
    assert published - 2 < found <= published


def test_ours_composes_fifty_pure_releases_on_the_whole_line():
    """accountant_test: 0.25 is their largest ε of 50 releases that together cost 5 at δ = 0.01."""
    assert 4.5 < epsilon("advanced", [parts.pure(epsilon=0.25, count=50)], 0.01) <= 5.0


def test_a_hundred_laplace_releases_cost_less_than_their_sum():
    """rdp_privacy_accountant_test fixes the order at 10¹⁰, and so reports 100; ours takes the best order."""
    assert epsilon("rdp", [parts.laplace(epsilon=1.0, count=100)], 1e-10) < 99


def test_rho_of_laplace_noise_is_the_smallest():
    """OpenDP charges ε²/2 for any pure release: 0.01 for Laplace and Gaussian noise of scale 10 together."""
    both = [parts.laplace(scale=10.0), parts.gaussian(sigma=10.0)]
    assert 0.0098 < math.fsum(part.rho for part in both) < 0.01


def test_a_rho_too_small_to_be_stated_is_bounded_from_above():
    """OpenDP: δ = 2.62e-234 at ε = 1e-13 and ρ = 5e-30, by an order above 2⁵³; our orders end at e²⁵."""
    assert zcdp_epsilon(5e-30, 2.619676329730346e-234) >= 1e-13
    with pytest.raises(ValueError, match="rho is 5e-30"):
        parts.zcdp(rho=5e-30)


def test_a_discrete_gaussian_is_not_cut_off():
    """privacy_loss_distribution_test cuts the noise at 2σ or 3σ and counts the rest as infinite; ours goes to 16σ."""
    one = parts.discrete_gaussian(sigma=1.0)
    weights = dict(zip(np.round(one.losses, 9).tolist(), one.probabilities, strict=True))
    cut = {1.5: 0.24420134, 0.5: 0.40261995, -0.5: 0.24420134, -1.5: 0.05448868}
    whole = sum(weights[loss] for loss in (2.5, *cut))
    assert {loss: weights[loss] / whole for loss in cut} == pytest.approx(cut, abs=1e-8)
    assert one.infinite < 1e-55
