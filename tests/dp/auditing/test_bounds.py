"""Bounds on ε and μ from alarms: known values, and their confidence over many seeds.

Power. A bound at 95 % is too high in at most 5 % of runs: 400 runs are asked for at most `binom.ppf(0.999, 400, 0.05)`.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import epsilon_for, mu_for
from dp.auditing.bounds import Alarms, best_thresholds, count_alarms, epsilon_bound, mu_bound, mu_evidence
from dp.auditing.case import Case
from dp.auditing.verdict import audit_case
from dp.intervals.binomial import at_least, at_most
from tests.laws import each


def test_one_sided_bounds_are_the_halves_of_clopper_and_pearsons_interval():
    for successes, trials in ((0, 5), (3, 10), (10, 10), (499, 1000)):
        low, high = binomtest(successes, trials).proportion_ci(0.95, method="exact")
        assert at_least(successes, trials, 0.025) == pytest.approx(low, abs=1e-12)
        assert at_most(successes, trials, 0.025) == pytest.approx(high, abs=1e-12)
    assert binom.sf(6, 50, at_least(7, 50, 0.01)) == pytest.approx(0.01)
    assert binom.cdf(7, 50, at_most(7, 50, 0.01)) == pytest.approx(0.01)


def test_bounds_of_many_trials_are_the_curves():
    """A normal shifted by μ, with so many trials that the rates are exact."""
    mu, delta, trials = 0.8, 1e-3, 10**15
    threshold = epsilon_for(mu, delta) / mu + mu / 2
    alarms = Alarms(round(trials * norm.sf(threshold - mu)), trials, round(trials * norm.sf(threshold)), trials)
    assert epsilon_bound(alarms, delta, 0.95) == pytest.approx(epsilon_for(mu, delta), rel=1e-4)
    assert mu_bound(alarms, 0.95) == pytest.approx(mu, rel=1e-4)


def test_either_side_of_a_test_may_prove_more():
    rarely_missed = Alarms(1_000_000, 1_000_000, 900_000, 1_000_000)
    rarely_alarmed = Alarms(100_000, 1_000_000, 0, 1_000_000)
    assert epsilon_bound(rarely_missed, 0.0, 0.95) == pytest.approx(epsilon_bound(rarely_alarmed, 0.0, 0.95), rel=1e-9)
    assert epsilon_bound(rarely_missed, 0.0, 0.95) > 9


def test_a_test_that_knows_nothing_proves_nothing():
    assert epsilon_bound(Alarms(50, 100, 50, 100), 0.0, 0.95) == 0
    assert mu_bound(Alarms(40, 100, 60, 100), 0.95) == 0


@each(
    ("alarms", "delta", "confidence", "message"),
    [
        (Alarms(1, 10, 1, 10), 0.0, 1.0, "confidence is 1"),
        (Alarms(1, 10, 1, 10), -0.1, 0.95, "delta is -0.1"),
        (Alarms(0, 0, 0, 10), 0.0, 0.95, "at least 1 is needed"),
    ],
)
def test_bounds_out_of_range_are_refused(alarms, delta, confidence, message):
    with pytest.raises(ValueError, match=message):
        epsilon_bound(alarms, delta, confidence)


def normal_audit(mu: float, seed: int, trials: int = 4000):
    def scores(shift: float):
        return lambda number, source: source.standard_normal(number) + shift

    claim = Guarantee(epsilon_for(0.8, 0.05), 0.05)
    case = Case("normal", "it", claim, scores(0.0), scores(mu), width=1, claimed_mu=mu_for(*claim))
    return audit_case(case, trials, np.random.default_rng(seed))[0]


@pytest.mark.slow
def test_bounds_keep_their_confidence_and_flags_their_level():
    audits = [normal_audit(0.8, seed) for seed in range(400)]
    assert sum(audit.epsilon > audit.claim.epsilon for audit in audits) <= binom.ppf(0.999, 400, 0.05)
    assert sum(audit.mu > 0.8 for audit in audits) <= binom.ppf(0.999, 400, 0.05)
    assert sum(audit.flagged for audit in audits) <= binom.ppf(0.999, 400, 0.01)
    assert np.median([audit.mu for audit in audits]) > 0.6
    assert sum(normal_audit(1.2, seed).flagged for seed in range(100)) >= 99


def test_without_a_held_out_threshold_the_confidence_is_lost():
    """Bounds at 80 % exceed the truth in half of the runs where the scores that chose the threshold are counted."""
    reused = held_out = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        chosen, fresh = ((generator.standard_normal(4000), generator.standard_normal(4000) + 0.8) for _ in range(2))
        ((threshold, seeming),) = best_thresholds(*chosen, [mu_evidence], 0.8)
        assert seeming == mu_bound(count_alarms(*chosen, threshold), 0.8)
        reused += seeming > 0.8
        held_out += mu_bound(count_alarms(*fresh, threshold), 0.8) > 0.8
    assert reused > binom.ppf(0.999, 200, 0.2)
    assert held_out <= binom.ppf(0.999, 200, 0.2)
