"""The search for the worst change: against all series, for arbitrary matrices, and within every certificate."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from dp.auditing.measurements import strategy_matrix
from dp.auditing.worst_pattern import MAX_ENUMERATED, worst_pattern
from dp.mechanisms import MECHANISMS, linear_design
from dp.units import ProtectedClass, protected_class
from tests.dp.auditing.audits import WEEK
from tests.laws import each
from tests.oracles import mechanism_instances
from tests.oracles.mechanism_instances import MECHANISM_NAMES, ClassArguments, allowed_series

LINEAR_GAUSSIAN = [name for name in MECHANISM_NAMES if MECHANISMS[name].noise == "gaussian"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ClassArguments("user", 1, 4, 9),
        ClassArguments("user", 1, 3, 9),
        ClassArguments("user", 1, 1, 9),
        ClassArguments("user-day", 5, 4, 9),
        ClassArguments("user-day", 3, 2, 9),
    ],
    ids=str,
)
@pytest.mark.parametrize("enumerated", [True, False])
def test_the_worst_pattern_is_that_of_all_series(arguments, enumerated, monkeypatch):
    """For arbitrary matrices, whether all sets of flips are tried or the search has to find it."""
    if not enumerated:
        monkeypatch.setattr("dp.auditing.worst_pattern.MAX_ENUMERATED", 0)
    generator = np.random.default_rng(3)
    every = np.array(list(product((0, 1), repeat=9)), dtype=np.int8)
    every = every[allowed_series(arguments, every) & every.any(axis=1)]
    for _ in range(10):
        matrix = np.tril(generator.normal(size=(9, 9))) + 2 * np.eye(9)
        expected = np.square(every @ matrix.T).sum(axis=1).max()
        found = worst_pattern(matrix.T @ matrix, protected_class(*arguments), generator)
        series = found.series(9)
        assert (every == series).all(axis=1).any()
        assert np.square(matrix @ series).sum() == pytest.approx(found.energy)
        assert found.energy == pytest.approx(expected) if enumerated else found.energy >= 0.97 * expected


def test_a_series_shorter_than_the_hull_is_refused():
    with pytest.raises(ValueError, match="5 ticks are measured"):
        worst_pattern(np.eye(5), ProtectedClass(1, 7, None), np.random.default_rng(0))


def test_few_patterns_are_all_tried():
    small, large = ProtectedClass(2, 9, 9), ProtectedClass(4, 60, 60)
    assert worst_pattern(np.eye(9), small, np.random.default_rng(0)).exact
    assert not worst_pattern(np.eye(60), large, np.random.default_rng(0)).exact
    assert math.comb(61, 8) > MAX_ENUMERATED


@each("name", MECHANISM_NAMES)
def test_the_matrix_is_that_of_the_slow_definition(name):
    strategy = linear_design(name, protected_class(*WEEK)).strategy
    assert np.abs(strategy_matrix(strategy, 20) - mechanism_instances.strategy_matrix(strategy, 20)).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", LINEAR_GAUSSIAN)
@pytest.mark.parametrize(
    ("arguments", "room"),
    [
        (ClassArguments("user-day", 30, 2, 120), 1e-6),
        (ClassArguments("user-day", 30, 8, 120), 0.02),
        (ClassArguments("user", 30, 24, 120), 0.03),
    ],
    ids=str,
)
def test_the_worst_pattern_found_is_within_the_certificate_and_near_it(name, arguments, room):
    design = linear_design(name, protected_class(*arguments))
    matrix = strategy_matrix(design.strategy, 120)
    found = worst_pattern(matrix.T @ matrix, protected_class(*arguments), np.random.default_rng(0))
    assert 1 - room <= math.sqrt(found.energy) / design.sensitivity <= 1 + 1e-9
