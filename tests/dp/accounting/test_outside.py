"""The ε of changes that a class leaves out, against their energy under the strategy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dp.accounting import gaussian
from dp.accounting.composition import Guarantee
from dp.accounting.outside import epsilon_outside
from dp.mechanisms import MECHANISMS, family_of, linear_design
from dp.units import protected_class
from tests.laws import each
from tests.oracles.mechanism_instances import ClassArguments, all_series, allowed_series, strategy_matrix

PROMISED = Guarantee(1.0, 1e-6)
LINEAR = [name for name, family in MECHANISMS.items() if not family.data_dependent]
HORIZON = 11


@pytest.mark.parametrize("w_bound", [2, 4])
@pytest.mark.parametrize("name", LINEAR)
def test_no_change_with_so_many_runs_costs_more(name: str, w_bound: int) -> None:
    """Every change of the wider class, measured by the strategy of the narrow one."""
    protected = protected_class("user-day", 7, w_bound, HORIZON)
    design = linear_design(name, protected)
    series = all_series(HORIZON)
    matrix = strategy_matrix(design.strategy, HORIZON)
    for runs in (1, 2, 3, 4):
        found = epsilon_outside(name, protected, PROMISED, runs)
        wide = series[allowed_series(ClassArguments("user-day", 7, 2 * runs, HORIZON), series)]
        moved = wide @ matrix.T
        if design.noise == "laplace":
            needed = float(np.abs(moved).sum(axis=1).max()) / design.sensitivity * PROMISED.epsilon
        else:
            mu = math.sqrt(float((moved**2).sum(axis=1).max())) / design.sensitivity * gaussian.mu_for(*PROMISED)
            needed = gaussian.epsilon_for(mu, PROMISED.delta)
        assert found >= min(needed, PROMISED.epsilon) - 1e-9
        assert found >= needed - 1e-6 or runs <= protected.runs
        pieces = math.ceil(runs / protected.runs)
        cap = pieces * 1.0 if design.noise == "laplace" else gaussian.epsilon_for(
            gaussian.mu_for(*PROMISED) * pieces, PROMISED.delta
        )  # fmt: skip
        assert found <= cap + 1e-9


@each("name", MECHANISMS)
def test_what_is_inside_has_the_promised_epsilon(name: str) -> None:
    protected = protected_class("user-day", 7, 4, HORIZON)
    assert epsilon_outside(name, protected, PROMISED, 2) == 1.0
    # The tree with subtraction takes independent noise for so short a series.
    if not family_of(name).needs_w_bound or name in ("laplace", "gaussian", "subtraction-tree"):
        assert epsilon_outside(name, protected, PROMISED, 4) == pytest.approx(1.0)
    else:
        assert epsilon_outside(name, protected, PROMISED, 4) > 1.0
