"""The histogram test, which knows nothing of a mechanism but what it releases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dp.accounting.composition import Guarantee
from dp.auditing.histogram import release_features
from dp.auditing.verdict import audit_samplers
from dp.mechanisms import sparse_vector
from dp.units import protected_class
from tests.dp.auditing.audits import PURE, WEEK, audited


def test_sparse_vector_is_not_flagged():
    (audit,) = audited("sparse-vector", WEEK, 100_000, claim=Guarantee(1.0, 0.01))
    assert audit.view == "histogram"
    assert not audit.flagged
    assert audit.ratio >= 0.4


def test_a_quarter_of_the_noise_of_sparse_vector_is_flagged():
    right = sparse_vector.design(protected_class(*WEEK), 1.0)
    broken = replace(right, noise=type(right.noise)(right.noise.scale // 4))
    without, with_change = broken.neighbours()
    series = with_change - without

    def numbers(mechanism, counts):
        return lambda trials, source: release_features(mechanism.simulate(counts, trials, source) - without, series)

    for mechanism, expected in ((broken, True), (right, False)):
        samplers = numbers(mechanism, without), numbers(mechanism, with_change)
        audit = audit_samplers("sparse-vector", PURE, *samplers, 60_000, np.random.default_rng(5))
        assert audit.flagged == expected


def test_the_black_box_finds_what_the_likelihood_ratio_does_for_one_release():
    def numbers(shift):
        return lambda trials, source: source.laplace(size=(trials, 1)) + shift

    audit = audit_samplers("laplace", PURE, numbers(0.0), numbers(1.0), 200_000, np.random.default_rng(6))
    assert 0.9 < audit.epsilon <= 1
