"""Privacy curves and calibration against 100-digit arithmetic, numeric integration and published values."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import log_ndtr
from scipy.stats import norm

from dp.accounting.calibrate import TAIL, calibrate_designs, discretisation_slack, series_guarantee
from dp.accounting.composition import Guarantee, basic, gaussian_mu, zcdp_epsilon, zcdp_of_gaussian
from dp.accounting.gaussian import delta_for, epsilon_for, mu_for
from dp.mechanisms import GRID, design
from dp.units import protected_class
from tests.examples import examples
from tests.laws import each
from tests.oracles.mechanism_instances import INSTANCES, design_of, mechanism_of

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")


def precise_normal(x: Decimal) -> Decimal:
    """Φ(x) = ½ + φ(x) Σ x^(2n+1)/(1·3·5···(2n+1)), to about 90 digits for |x| ≤ 14."""
    term = total = x
    odd = 1
    while abs(term) > Decimal(10) ** -110:
        odd += 2
        term = term * x * x / odd
        total += term
    return Decimal("0.5") + (-x * x / 2).exp() / (2 * PI).sqrt() * total


def precise_delta(mu: float, epsilon: float) -> float:
    """δ(ε) of a μ-GDP Gaussian mechanism in 160-digit arithmetic."""
    with localcontext() as context:
        context.prec = 160
        m, e = Decimal(mu), Decimal(epsilon)
        return float(precise_normal(-e / m + m / 2) - e.exp() * precise_normal(-e / m - m / 2))


GUARANTEES = [(epsilon, delta) for epsilon in (0.01, 1.0, 20.0) for delta in (1e-9, 1e-2)]
epsilons = st.floats(1e-4, 100.0)
deltas = st.floats(-100.0, -0.01).map(math.exp)
mus = st.floats(math.log(1e-4), math.log(30.0)).map(math.exp)
lawful = examples(60)


# --- The Gaussian curve ----------------------------------------------------------------------------------------------


@each(("epsilon", "inverse"), [(0.5, 8.058), (1.0, 4.225), (2.0, 2.230)])
def test_the_designs_check_values(epsilon, inverse):
    assert 1 / mu_for(epsilon, 1e-6) == pytest.approx(inverse, abs=5e-4)


def test_a_published_composition():
    # 365 Gaussian mechanisms with σ = 20 at δ = 1e-6: exact 4.6388289409, by zCDP 4.958356.
    mu = gaussian_mu([1 / 20] * 365)
    assert epsilon_for(mu, 1e-6) == pytest.approx(4.6388289409, abs=1e-9)
    assert zcdp_epsilon(365 * zcdp_of_gaussian(1 / 20), 1e-6) == pytest.approx(4.958356, abs=1e-6)


CURVE_POINTS = [
    (mu, epsilon)
    for mu in (1e-3, 0.01, 0.1, 0.2367, 1.0, 3.0, 8.0)
    for epsilon in (0.0, 1e-4, 0.01, 0.1, 1.0, 5.0, 20.0, 60.0)
    if epsilon / mu + mu / 2 < 13.5  # beyond, the oracle's series is too long
]


@each(("mu", "epsilon"), CURVE_POINTS)
def test_the_curve_against_high_precision(mu, epsilon):
    assert delta_for(mu, epsilon) == pytest.approx(precise_delta(mu, epsilon), rel=1e-11)


@each(("mu", "tolerance"), [(1e-4, 1e-10), (1e-5, 1e-9), (1e-7, 1e-7)])
def test_the_curve_loses_digits_only_where_no_one_works(mu, tolerance):
    for ratio in (0.0, 0.1, 1.0, 5.0):
        assert delta_for(mu, ratio * mu) == pytest.approx(precise_delta(mu, ratio * mu), rel=tolerance)


@each("mu", [0.2, 1.0, 3.0])
@each("epsilon", [0.0, 0.5, 2.0])
def test_the_curve_against_its_definition_as_an_integral(mu, epsilon):
    # δ(ε) = ∫ max(0, p(x) − e^ε q(x)) dx with p = N(μ, 1), q = N(0, 1); p > e^ε q beyond ε/μ + μ/2.
    start = epsilon / mu + mu / 2
    value, _ = quad(lambda x: norm.pdf(x - mu) - math.exp(epsilon) * norm.pdf(x), start, start + 40, epsabs=1e-13)
    assert delta_for(mu, epsilon) == pytest.approx(value, abs=1e-11)


@pytest.mark.slow
@given(epsilon=epsilons, delta=deltas)
@lawful
def test_mu_for_and_delta_for_are_inverses(epsilon, delta):
    mu = mu_for(epsilon, delta)
    assert delta_for(mu, epsilon) == pytest.approx(delta, rel=1e-6)
    assert delta_for(mu * (1 + 1e-6), epsilon) > delta_for(mu, epsilon)


@given(mu=mus, delta=deltas)
@lawful
def test_epsilon_for_and_delta_for_are_inverses(mu, delta):
    epsilon = epsilon_for(mu, delta)
    if epsilon == 0:
        assert delta_for(mu, 0.0) <= delta
    else:
        assert delta_for(mu, epsilon) == pytest.approx(delta, rel=1e-6)


@given(epsilon=epsilons, delta=deltas)
@lawful
def test_mu_for_errs_on_the_safe_side(epsilon, delta):
    mu = mu_for(epsilon, delta)
    assert epsilon_for(mu, delta) <= epsilon * (1 + 1e-8) + 1e-10


@given(mu=mus, factor=st.floats(1.01, 3.0), epsilon=st.floats(0, 5))
@lawful
def test_the_curve_is_monotone(mu, factor, epsilon):
    here = delta_for(mu, epsilon)
    assert 0 <= here <= 1
    assert delta_for(mu * factor, epsilon) >= here
    assert delta_for(mu, epsilon + factor * 0.01) <= here


@given(epsilon=st.floats(1e-3, 90.0), delta=st.floats(-60.0, -1.0).map(math.exp), factor=st.floats(1.01, 1.1))
@lawful
def test_more_budget_means_less_noise(epsilon, delta, factor):
    assert mu_for(epsilon * factor, delta) > mu_for(epsilon, delta)
    assert mu_for(epsilon, delta * factor) > mu_for(epsilon, delta)


@each("epsilon", [0.0, -1.0, 101.0, math.nan, math.inf])
def test_epsilon_out_of_range_is_named(epsilon):
    with pytest.raises(ValueError, match="epsilon is"):
        mu_for(epsilon, 1e-6)


@each("delta", [0.0, 1.0, -1e-9, 2.0, math.nan])
def test_delta_out_of_range_is_named(delta):
    with pytest.raises(ValueError, match="delta is"):
        mu_for(1.0, delta)
    with pytest.raises(ValueError, match="delta is"):
        epsilon_for(1.0, delta)
    with pytest.raises(ValueError, match="delta is"):
        zcdp_epsilon(1.0, delta)


@pytest.mark.parametrize("mu", [0.0, -1.0])
def test_mu_out_of_range_is_named(mu):
    with pytest.raises(ValueError, match="mu is"):
        delta_for(mu, 1.0)


# --- Composition -----------------------------------------------------------------------------------------------------


@given(parts=st.lists(st.tuples(st.floats(1e-6, 10), st.floats(0, 1e-3)), min_size=1, max_size=8), data=st.data())
@lawful
def test_basic_composition_adds_in_any_order(parts, data):
    guarantees = [Guarantee(*part) for part in parts]
    shuffled = data.draw(st.permutations(guarantees))
    assert basic(guarantees) == basic(shuffled)
    assert basic(guarantees).epsilon == pytest.approx(sum(epsilon for epsilon, _ in parts))
    assert basic([guarantees[0]] * 5).delta == pytest.approx(5 * guarantees[0].delta)
    assert basic([basic(guarantees[:1]), basic(guarantees[1:])]).epsilon == pytest.approx(basic(guarantees).epsilon)


@given(parts=st.lists(mus, min_size=1, max_size=8), data=st.data())
@lawful
def test_gaussian_composition_adds_squares_in_any_order(parts, data):
    mu = gaussian_mu(parts)
    assert mu == gaussian_mu(data.draw(st.permutations(parts)))
    assert mu**2 == pytest.approx(sum(part**2 for part in parts))
    assert zcdp_of_gaussian(mu) == pytest.approx(sum(zcdp_of_gaussian(part) for part in parts))
    assert gaussian_mu([parts[0]] * 9) == pytest.approx(3 * parts[0])


@given(mu=st.floats(0.01, 10), delta=st.floats(-40, -2).map(math.exp), count=st.integers(1, 50))
@lawful
def test_the_tighter_accountant_never_reports_more(mu, delta, count):
    together = gaussian_mu([mu] * count)
    exact = epsilon_for(together, delta)
    rho = count * zcdp_of_gaussian(mu)
    by_zcdp = zcdp_epsilon(rho, delta)
    assert exact <= by_zcdp * (1 + 1e-9) + 1e-12
    assert by_zcdp <= rho + 2 * math.sqrt(rho * math.log(1 / delta)) + 1e-9
    assert exact <= count * epsilon_for(mu, delta / count) * (1 + 1e-9) + 1e-9


@each("rho", [1e-6, 0.01, 0.45625, 3.0, 50.0])
@each("delta", [1e-9, 1e-6, 0.01])
def test_zcdp_takes_the_best_order(rho, delta):
    # Proposition 12 of Canonne, Kamath and Steinke by a plain scan over orders.
    orders = 1 + np.exp(np.linspace(-8, 14, 400_001))
    scan = orders * rho + (np.log(1 / delta) - np.log(orders)) / (orders - 1) + np.log1p(-1 / orders)
    assert zcdp_epsilon(rho, delta) == pytest.approx(max(0.0, float(scan.min())), rel=1e-6)


@given(rho=st.floats(1e-6, 50), factor=st.floats(1.01, 3), delta=st.floats(-40, -2).map(math.exp))
@lawful
def test_zcdp_is_monotone(rho, factor, delta):
    assert zcdp_epsilon(rho * factor, delta) >= zcdp_epsilon(rho, delta)
    assert zcdp_epsilon(rho, delta / factor) >= zcdp_epsilon(rho, delta)


def test_zcdp_edges():
    assert zcdp_epsilon(0.0, 1e-6) == 0.0
    with pytest.raises(ValueError, match="rho is -1"):
        zcdp_epsilon(-1.0, 1e-6)


# --- From the continuous Gaussian to the integers --------------------------------------------------------------------


@each("scale", [12, 13, 50, 200])
def test_the_pointwise_factor_of_the_slack(scale):
    support = np.arange(0, int(TAIL * scale) + 1)
    discrete = -(support**2) / (2 * scale**2) - math.log(
        np.exp(-(np.arange(-40 * scale, 40 * scale) ** 2) / (2 * scale**2)).sum()
    )
    upper, lower = log_ndtr((0.5 - support) / scale), log_ndtr((-0.5 - support) / scale)
    rounded = upper + np.log1p(-np.exp(lower - upper))
    epsilon_slack, _ = discretisation_slack(scale, 1, 1.0)
    assert np.abs(discrete - rounded).max() <= epsilon_slack / 2
    assert np.abs(discrete - rounded).max() >= epsilon_slack / 8


@each("scale", [50, 100, 300])
@each("sensitivity", [1, 3, 10])
@each("epsilon", [0.1, 0.5, 1.0])
def test_the_slack_covers_the_exact_discrete_gaussian(scale, sensitivity, epsilon):
    """δ of one discrete Gaussian by summation stays below the continuous curve at ε − slack, plus the slack in δ."""
    support = np.arange(-40 * scale, 40 * scale + 1)
    weights = np.exp(-(support**2) / (2 * scale**2))
    shifted = np.exp(-((support + sensitivity) ** 2) / (2 * scale**2))
    exact = float(np.maximum(weights - math.exp(epsilon) * shifted, 0).sum() / weights.sum())
    epsilon_slack, delta_slack = discretisation_slack(scale, 1, epsilon)
    assert epsilon_slack < epsilon
    assert exact <= delta_for(sensitivity / scale, epsilon - epsilon_slack) * math.exp(epsilon_slack) + delta_slack


@pytest.mark.slow
def test_the_slack_is_positive_and_tiny():
    for instance in INSTANCES:
        mechanism = mechanism_of(instance)
        epsilon_slack, delta_slack = discretisation_slack(mechanism.noise.scale, mechanism.touched, 1.0)
        # Endless buffers may differ in the rounding of a million measurements, others in a few hundred.
        million = mechanism.touched > 10**5
        assert 0 < epsilon_slack < (1e-7 if million else 1e-9), instance
        assert 0 < delta_slack < 1e-24 * (10**4 if million else 1), instance


# --- Calibration -----------------------------------------------------------------------------------------------------

WINDOWS = (1, 7, 30)


@cache
def three_designs(name: str):
    return [design(name, protected_class("user-day", window, 2, 120)) for window in WINDOWS]


@each("name", ["gaussian", "binary-tree", "square-root", "damped-square-root"])
@each(("epsilon", "delta"), GUARANTEES)
def test_joint_gaussian_series_add_up_to_the_whole(name, epsilon, delta):
    shares = (1.0, 2.0, 5.0)
    mechanisms = calibrate_designs(three_designs(name), Guarantee(epsilon, delta), shares)
    parts = [GRID * mechanism.sensitivity / mechanism.noise.scale for mechanism in mechanisms]
    whole = mu_for(epsilon, delta)
    assert math.fsum(part**2 for part in parts) < whole**2
    assert math.fsum(part**2 for part in parts) == pytest.approx(whole**2, rel=1e-5)
    for part, share in zip(parts, shares, strict=True):
        assert part**2 / whole**2 == pytest.approx(share / 8, rel=1e-5)
    # Everything paid: the exact curve at the summed μ, with the discretisation slack on top, is inside the guarantee.
    touched = sum(mechanism.touched for mechanism in mechanisms)
    slacks = discretisation_slack(min(mechanism.noise.scale for mechanism in mechanisms), touched, epsilon)
    assert delta_for(gaussian_mu(parts), epsilon - slacks[0]) * math.exp(slacks[0]) + slacks[1] <= delta * (1 + 1e-9)


@each("name", ["laplace", "binary-tree-laplace"])
@each("epsilon", [0.01, 1.0, 20.0])
def test_joint_laplace_series_add_epsilon(name, epsilon):
    shares = (1.0, 2.0, 5.0)
    mechanisms = calibrate_designs(three_designs(name), Guarantee(epsilon, 0.0), shares)
    parts = [GRID * mechanism.sensitivity / mechanism.noise.scale for mechanism in mechanisms]
    assert math.fsum(parts) <= epsilon
    assert parts == pytest.approx([epsilon / 8, epsilon / 4, epsilon * 5 / 8], rel=1e-4)


@given(
    shares=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3),
    epsilon=st.floats(0.05, 50),
    factor=st.floats(0.01, 100),
)
@examples(40)
def test_shares_are_relative(shares, epsilon, factor):
    designs = three_designs("gaussian")
    guarantee = Guarantee(epsilon, 1e-6)
    scales = [mechanism.noise.scale for mechanism in calibrate_designs(designs, guarantee, shares)]
    again = [
        mechanism.noise.scale
        for mechanism in calibrate_designs(designs, guarantee, [share * factor for share in shares])
    ]
    assert scales == pytest.approx(again, rel=1e-9)


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_a_series_alone_promises_less_than_the_whole(name):
    guarantee = Guarantee(1.0, 1e-6 if name == "gaussian" else 0.0)
    mechanisms = calibrate_designs(three_designs(name), guarantee, (1.0, 1.0, 2.0))
    alone = [
        series_guarantee(mechanism, guarantee, part)
        for mechanism, part in zip(mechanisms, (0.25, 0.25, 0.5), strict=True)
    ]
    assert all(part.epsilon < 1 and part.delta == guarantee.delta for part in alone)
    if name == "laplace":
        assert math.fsum(part.epsilon for part in alone) == pytest.approx(1.0, rel=1e-6)
    else:
        mus_alone = [mu_for(part.epsilon, part.delta) for part in alone]
        assert gaussian_mu(mus_alone) == pytest.approx(mu_for(1.0, 1e-6), rel=1e-6)


def test_a_single_series_promises_the_whole():
    for instance in INSTANCES:
        mechanism = mechanism_of(instance)
        promised = series_guarantee(mechanism, Guarantee(1.0, 1e-6), 1.0)
        assert promised.epsilon <= 1.0, instance
        assert promised.epsilon == pytest.approx(1.0, rel=1e-6), instance
        assert promised.delta == (0.0 if mechanism.noise.pure else 1e-6), instance


def test_noise_is_the_least_whole_number_that_suffices():
    for instance in INSTANCES:
        made = design_of(instance)
        scale = mechanism_of(instance).noise.scale
        least = GRID * made.sensitivity / (1.0 if made.noise == "laplace" else mu_for(1.0, 1e-6))
        assert least <= scale <= least * (1 + 1e-6) + 1, instance


def test_mixtures_are_refused():
    designs = [design(name, protected_class("user-day", 7, 2, 30)) for name in ("gaussian", "laplace")]
    with pytest.raises(ValueError, match="cannot share one budget"):
        calibrate_designs(designs, Guarantee(1.0, 1e-6), (1.0, 1.0))


@each("shares", [(), (1.0,), (1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, -1.0), (1.0, 1.0, math.nan)])
def test_shares_are_validated(shares):
    with pytest.raises(ValueError, match="one positive number is needed for each of 3 series"):
        calibrate_designs(three_designs("gaussian"), Guarantee(1.0, 1e-6), shares)


@each("name", ["gaussian", "laplace"])
@each("epsilon", [0.0, -1.0, 101.0, math.nan, math.inf])
def test_a_guarantee_out_of_range_is_refused_for_both_kinds(name, epsilon):
    with pytest.raises(ValueError, match="epsilon is"):
        calibrate_designs(three_designs(name), Guarantee(epsilon, 1e-6), (1.0, 1.0, 1.0))
