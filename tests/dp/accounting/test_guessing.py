"""How often a guess is right: the bounds hold for every test of small cases, and are attained."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from dp.accounting.calibrate import calibrate_designs
from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import mu_for
from dp.accounting.guessing import BLIND, guess_under, guess_under_all, guess_under_mu
from dp.arrays import Floats
from dp.mechanisms import design
from dp.mechanisms.sparse_vector import SparseVectorDesign
from dp.units import ProtectedClass
from tests.examples import examples
from tests.laws import each

DAY = ProtectedClass(1, 1, 30)
EPSILONS = st.floats(0, 6)
DELTAS = st.floats(0, 0.5)


def best_guess(without: Floats, with_: Floats) -> float:
    """The best of all guesses, each a choice of one world for every outcome; tried one by one."""
    worlds = np.array([without, with_])
    choices = itertools.product((0, 1), repeat=len(without))
    return max(float(worlds[choice, range(len(without))].sum()) / 2 for choice in choices)


def randomised_response(epsilon: float, delta: float) -> Floats:
    """Outcomes: the truth revealed (no, yes), or told rightly or wrongly; one row a world."""
    right = (1 - delta) * math.exp(epsilon) / (1 + math.exp(epsilon))
    wrong = 1 - delta - right
    return np.array([[delta, 0, right, wrong], [0, delta, wrong, right]])


@given(EPSILONS, DELTAS)
@examples(50)
def test_randomised_response_attains_the_bound(epsilon: float, delta: float) -> None:
    assert guess_under(Guarantee(epsilon, delta)) == pytest.approx(best_guess(*randomised_response(epsilon, delta)))


@given(EPSILONS, DELTAS, st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=4, max_size=4))
@examples(50)
def test_no_private_release_exceeds_the_bound(epsilon: float, delta: float, kernel: list[list[float]]) -> None:
    """Every (ε, δ)-private pair is what some post-processing makes of that randomised response."""
    rows = np.array(kernel) + 1e-3
    seen = randomised_response(epsilon, delta) @ (rows / rows.sum(axis=1, keepdims=True))
    assert best_guess(*seen) <= guess_under(Guarantee(epsilon, delta)) + 1e-12


@each("mu", [0.0, 0.05, 0.3, 1.0, 2.5])
def test_the_gaussian_attains_its_bound(mu: float) -> None:
    ends = np.concatenate([[-np.inf], np.linspace(-6, 8, 4001), [np.inf]])
    with_, without = (np.diff(scipy.special.ndtr(ends - mean)) for mean in (mu, 0.0))
    cells = float(np.maximum(with_, without).sum()) / 2
    assert guess_under_mu(mu) == pytest.approx(cells, abs=1e-6)
    assert guess_under_mu(mu) >= cells - 1e-12


def test_nothing_published_leaves_a_blind_guess() -> None:
    assert guess_under(Guarantee(0.0, 0.0)) == guess_under_mu(0.0) == guess_under_all([]) == BLIND
    with pytest.raises(ValueError, match="mu is -1"):
        guess_under_mu(-1)


def test_series_together_are_guessed_by_what_adds_up() -> None:
    one = Guarantee(0.6, 1e-7)
    pure = Guarantee(0.4, 0.0)
    (gaussian,) = calibrate_designs([design("gaussian", DAY)], one, [1.0])
    (laplace,) = calibrate_designs([design("laplace", DAY)], pure, [1.0])
    assert guess_under_all([(gaussian, one)]) == pytest.approx(guess_under_mu(mu_for(*one)), rel=1e-6)
    assert guess_under_all([(laplace, pure)]) == pytest.approx(guess_under(pure))
    both = guess_under_all([(gaussian, one), (laplace, pure)])
    assert guess_under_all([(gaussian, one)]) < both < guess_under(Guarantee(1.0, 1e-7))
    # Seen together, on a grid: noise of one day each, N(0, 1/μ²) and Laplace of scale 1/ε, moved by one user.
    ends = np.linspace(-60, 61, 2421)
    scale = 1 / pure.epsilon
    steps = [
        [np.diff(law(ends - shift)) for shift in (0.0, 1.0)]
        for law in (scipy.stats.norm(scale=1 / mu_for(*one)).cdf, scipy.stats.laplace(scale=scale).cdf)
    ]
    without, with_ = (np.outer(steps[0][world], steps[1][world]) for world in (0, 1))
    assert BLIND < float(np.maximum(without, with_).sum()) / 2 <= both


def test_what_has_no_mu_is_bounded_by_its_epsilon() -> None:
    approximate = Guarantee(1.0, 1e-6)
    (held,) = calibrate_designs([SparseVectorDesign(ProtectedClass(1, 30, 60))], approximate, [1.0])
    assert guess_under_all([(held, approximate)]) == guess_under(approximate)
