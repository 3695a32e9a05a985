"""Broken twins are caught, and the right way beside each is not.

Power. At the trials of results/audit.parquet each twin was caught in at least 990 of 1,000 attempts; here 40 attempts
must catch it 38 times, which a twin caught in 99 % does with probability 0.993 and one caught in 80 % with 0.008.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from dp.auditing.power import Coverage, Twin, power
from dp.auditing.twins import TWINS
from dp.auditing.twins.accounting import continuous_for_discrete
from tests.places import ROOT

RESULTS = ROOT / "results" / "audit.parquet"


@cache
def told_of_twins() -> pd.DataFrame:
    table = pd.read_parquet(RESULTS)
    return table[table["kind"] == "twin"].set_index("subject")


def test_every_twin_was_caught_and_hardly_any_right_way():
    table = told_of_twins()
    assert set(table.index) == set(TWINS)
    assert (table["attempts"] == 1000).all()
    assert (table["caught"] >= 990).all()
    assert (table["false_alarms"] <= 10).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_twins_are_caught_and_right_mechanisms_are_not(name):
    twin, generator = TWINS[name](), np.random.default_rng([1, *name.encode()])
    trials = int(told_of_twins().loc[name, "caught_at"])
    assert twin.name == name
    assert sum(twin.broken(trials, generator).flagged for _ in range(40)) >= 38
    assert sum(twin.right(trials, generator).flagged for _ in range(40)) <= 2


def test_power_doubles_until_a_twin_is_caught():
    twin = Twin("coin", "", lambda trials, source: Coverage(trials >= 256), lambda trials, source: Coverage(False))
    found = power(twin, 20, np.random.default_rng(0))
    assert (found.trials, found.caught, found.false_alarms) == (256, 20, 0)
    never = power(twin, 20, np.random.default_rng(0), most=128)
    assert never.trials is None
    assert never.caught < 20
    with pytest.raises(ValueError, match="attempts is 0"):
        power(twin, 0, np.random.default_rng(0))


def test_continuous_accounting_of_discrete_noise_shows_on_the_exact_curve_and_in_no_trials():
    account = continuous_for_discrete()
    assert account.claimed == pytest.approx(4.5689, abs=2e-4)
    assert account.exact == pytest.approx(4.6134, abs=1e-4)
    assert account.delta_of_claim > 1.2 * account.delta
    assert account.trials > 1e10
