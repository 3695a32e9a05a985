"""Linear mechanisms: kept promises are found and not flagged, half the noise is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from dp.accounting.composition import Guarantee
from dp.auditing.case import Case
from dp.auditing.likelihood import audit_linear, likelihood_ratio, mu_of_claim, views
from dp.auditing.sampling import CHUNK_FLOATS, in_chunks, simulate_releases
from dp.auditing.verdict import audit_case
from dp.mechanisms import MECHANISMS
from dp.units import protected_class
from tests.dp.auditing.audits import WEEK, audited, calibrated
from tests.oracles.mechanism_instances import MECHANISM_NAMES, ClassArguments


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISM_NAMES)
@pytest.mark.parametrize("arguments", [WEEK, ClassArguments("user", 7, 3, 20)], ids=str)
def test_no_mechanism_is_flagged_and_most_of_its_promise_is_found(name, arguments):
    audits = audited(name, arguments, 200_000, claim=Guarantee(3.0, 1e-6))
    assert not any(audit.flagged for audit in audits)
    # √k·2z(e^(−ε/2k)/2) is a quarter more than k Laplace draws together can tell, k being large.
    reached = 0.9 if MECHANISMS[name].noise == "gaussian" else 0.65
    assert max(audit.ratio for audit in audits) > reached
    assert all(audit.measured <= audit.claim.epsilon for audit in audits)


def test_releases_that_tell_less_than_measurements_are_audited_both_ways():
    seen = {audit.view: audit for audit in audited("smooth-binary", WEEK, 100_000)}
    assert list(seen) == ["releases", "histogram", "measurements"]
    assert seen["measurements"].worst == pytest.approx(1.0)
    assert seen["releases"].worst < 0.9
    assert seen["releases"].ratio < seen["measurements"].ratio
    assert [audit.view for audit in audited("binary-tree", WEEK, 1000)] == ["releases", "histogram"]


@pytest.mark.parametrize("name", MECHANISM_NAMES)
def test_half_the_noise_is_flagged(name):
    right, claim = calibrated(name, WEEK)
    broken = replace(right, noise=type(right.noise)(right.noise.scale // 2))
    generator = np.random.default_rng(8)
    seen = views(broken, 20)[-1]
    test = likelihood_ratio(broken, protected_class(*WEEK), 20, generator, seen)
    assert audit_linear(broken, claim, test, np.full(20, 100), 30_000, generator).flagged


def test_shifting_the_noise_alone_says_the_same_as_simulating_with_the_change():
    """Estimates are counts plus an error that does not depend on them, so that scores with the change are shifted."""
    for name in MECHANISM_NAMES:
        mechanism, _ = calibrated(name, WEEK)
        seen = views(mechanism, 20)[-1]
        test = likelihood_ratio(mechanism, protected_class(*WEEK), 20, np.random.default_rng(0), seen)
        if seen == "releases":
            counts, series = np.full(20, 50), test.series
            with_change = simulate_releases(mechanism, counts + series)(50, np.random.default_rng(1)) - counts
            shifted = simulate_releases(mechanism, counts)(50, np.random.default_rng(1)) - counts + series
            assert np.allclose(test.score(with_change), test.score(shifted))


def test_the_likelihood_ratio_tells_more_than_any_single_release():
    mechanism, claim = calibrated("gaussian", WEEK)
    test = likelihood_ratio(mechanism, protected_class(*WEEK), 20, np.random.default_rng(0), "releases")
    all_of_them = audit_linear(mechanism, claim, test, np.full(20, 100), 200_000, np.random.default_rng(1))
    series = test.series

    def first_release(counts):
        draw = simulate_releases(mechanism, counts)
        return lambda number, source: draw(number, source)[:, series.argmax()]

    counts = np.full(20, 100)
    case = Case(
        "gaussian", "one release", claim, first_release(counts), first_release(counts + series), width=20,
        claimed_mu=mu_of_claim(mechanism, claim),
    )  # fmt: skip
    (one,) = audit_case(case, 200_000, np.random.default_rng(1))
    assert one.mu < 0.5 * all_of_them.mu


def test_the_claimed_mu_of_laplace_noise_is_kept_and_reached_by_one_release():
    audit, histogram = audited("laplace", ClassArguments("user-day", 1, 2, 3), 400_000)
    assert audit.claimed_mu == pytest.approx(2 * norm.isf(math.exp(-0.5) / 2))
    assert 0.97 < audit.ratio <= 1
    assert 0.95 < audit.epsilon <= 1
    assert 0.95 < histogram.epsilon <= 1
    assert (audit.trials, histogram.trials) == (400_000, 400_000)


def test_a_series_without_an_end_is_audited_over_some_hulls():
    audit, _ = audited("damped-square-root", ClassArguments("user-day", 7, 2, None), 200_000)
    assert audit.ratio > 0.85
    assert audit.flips[-1] <= 28


def test_a_series_too_long_to_measure_is_refused():
    with pytest.raises(ValueError, match="the audit would take 2000 ticks"):
        audited("gaussian", ClassArguments("user-day", 7, 2, 2000), 1000)


def test_memory_is_bounded_and_trials_are_fresh():
    widths = []

    def scores(number, source):
        widths.append(number)
        return source.standard_normal(number)

    reported = []
    found = in_chunks(scores, 2**10)(2000, np.random.default_rng(0), reported.append)
    assert max(widths) * 2**10 <= CHUNK_FLOATS
    assert len(np.unique(found)) == 2000
    assert reported == sorted(reported)
    assert reported[-1] == 1
    by_threads = in_chunks(scores, 2**10, workers=3)(2000, np.random.default_rng(0), lambda done: None)
    assert np.array_equal(found, by_threads)


def test_counts_and_trials_that_do_not_fit_are_refused():
    mechanism, claim = calibrated("gaussian", WEEK)
    test = likelihood_ratio(mechanism, protected_class(*WEEK), 20, np.random.default_rng(0), "releases")
    with pytest.raises(ValueError, match="counts have 3 ticks"):
        audit_linear(mechanism, claim, test, np.zeros(3, dtype=np.int64), 100, np.random.default_rng(0))
    with pytest.raises(ValueError, match="trials is 8"):
        audit_linear(mechanism, claim, test, np.zeros(20, dtype=np.int64), 8, np.random.default_rng(0))
