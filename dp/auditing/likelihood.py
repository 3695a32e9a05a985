"""The likelihood-ratio test of a linear mechanism along the worst change of a class.

Everything is public to the attacker but the noise: the counts, the mechanism and the change. Releases come from the
code under test, `Mechanism.simulate`; the statistic only decides how sharp the bound is, never whether it holds.

For Gaussian noise the log likelihood ratio is the projection on Σ⁻¹Δ, where Σ is the covariance of what is seen; for
Laplace noise it is the sum of |y| − |y − MΔ| over the measurements y, which are computed back from the release. By
Neyman and Pearson no other test with the same rate of false alarms has more true ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from dp.accounting import gaussian
from dp.accounting.composition import Guarantee
from dp.accounting.mechanism_events import laplace
from dp.arrays import Floats, Integers
from dp.auditing.case import Case
from dp.auditing.histogram import release_features
from dp.auditing.measurements import exact_measurements, simulate_measurements, strategy_matrix
from dp.auditing.result import Audit
from dp.auditing.sampling import ReleaseSampler, simulate_releases, subtract_known
from dp.auditing.verdict import audit_case
from dp.auditing.worst_pattern import Pattern, worst_pattern
from dp.mechanisms import LinearMechanism
from dp.units import ProtectedClass

View = Literal["releases", "measurements"]
"""What the attacker sees of a linear mechanism."""

SCORE_DECIMALS = 9
"""Laplace scores have atoms; with so many digits, the float error of computing measurements does not split them."""


@dataclass(frozen=True)
class LikelihoodRatio:
    """The likelihood-ratio test against one linear mechanism, before any noise is drawn.

    Attributes:
        view: what the attacker sees.
        pattern: Δ with its flips.
        ticks: length of the series.
        norm: of what it changes, in users; ℓ₂ for Gaussian noise, ℓ₁ for Laplace noise.
        back: for Laplace noise takes what is seen to the measurements that change, shape (k, seen); else None.
        shift: what the change adds there, shape (k,).
        weights: of the projection for Gaussian noise, shape (seen,); None for Laplace noise.
    """

    view: View
    pattern: Pattern
    ticks: int
    norm: float
    back: csr_array | None
    shift: Floats
    weights: Floats | None

    @property
    def series(self) -> Integers:
        """Δ, shape (ticks,)."""
        return self.pattern.series(self.ticks)

    def score(self, errors: Floats) -> Floats:
        """Log likelihood ratio of each row, up to a scale.

        Args:
            errors: what is seen less what it is without noise and change, shape (trials, seen).
        """
        if self.weights is not None:
            return np.asarray(errors @ self.weights)
        assert self.back is not None
        measured = self.back @ errors.T
        terms = np.abs(measured)
        measured -= self.shift[:, np.newaxis]
        terms -= np.abs(measured, out=measured)
        return np.asarray(np.round(terms.sum(axis=0), SCORE_DECIMALS))


def likelihood_ratio(
    mechanism: LinearMechanism, protected: ProtectedClass, ticks: int, generator: np.random.Generator, view: View
) -> LikelihoodRatio:
    """The worst pattern of a class for what is seen, and the statistic along it.

    Args:
        ticks: length of the audited series.
        generator: of the starting points of the search.

    Where releases tell less than the measurements, those under Laplace noise are tested by the measurements that they
    do tell, because their likelihood ratio has no closed form.
    """
    strategy, pure = mechanism.strategy, mechanism.noise.pure
    matrix = strategy_matrix(strategy, ticks)
    form = np.asarray(matrix.T @ matrix)
    if view == "releases" and len(matrix) != ticks:
        decoder = strategy.decode(np.eye(len(matrix)))
        if pure:
            told = (matrix @ decoder.T == np.eye(len(matrix))).all(axis=1)
            matrix = matrix[told]
            form = np.asarray(matrix.T @ matrix)
        else:
            form = np.asarray(np.linalg.inv(decoder.T @ decoder))
    pattern = worst_pattern(form, protected, generator)
    series = pattern.series(ticks)
    shift = matrix @ series
    if pure:
        # Strategies that serve Laplace noise change each measurement by −1, 0 or 1, for which ℓ₁ = ℓ₂².
        touched = shift != 0
        back = csr_array(matrix[touched] if view == "releases" else np.eye(len(matrix))[touched])
        return LikelihoodRatio(view, pattern, ticks, float(np.abs(shift).sum()), back, shift[touched], None)
    weights = form @ series if view == "releases" else shift
    return LikelihoodRatio(view, pattern, ticks, float(np.sqrt(pattern.energy)), None, shift, weights)


def views(mechanism: LinearMechanism, ticks: int) -> tuple[View, ...]:
    """What is worth auditing: releases, and measurements where there are more of them than releases."""
    return ("releases",) if mechanism.strategy.draws(0, ticks) == ticks else ("releases", "measurements")


def linear_case(
    mechanism: LinearMechanism,
    claim: Guarantee,
    test: LikelihoodRatio,
    counts: Integers,
    release_sampler: ReleaseSampler | None = None,
) -> Case:
    """A linear mechanism, which need not be the one that the test was made for.

    Args:
        counts: without the change, shape (T,), known to the attacker.
        release_sampler: what releases counts, in place of a simulation; for a test that sees releases.

    Raises:
        ValueError: counts have another length than the test.
    """
    if len(counts) != test.ticks:
        raise ValueError(f"counts have {len(counts)} ticks; the attack is for {test.ticks}")
    on_releases = test.view == "releases"
    known = counts if on_releases else exact_measurements(mechanism.strategy, counts)
    simulate = simulate_releases if on_releases else simulate_measurements
    errors = subtract_known(release_sampler or partial(simulate, mechanism), known)
    return Case(
        mechanism.name,
        test.view,
        claim,
        errors(counts),
        errors(counts + test.series),
        mechanism.strategy.draws(0, len(counts)),
        score=test.score,
        features=partial(release_features, series=test.series) if on_releases else None,
        claimed_mu=mu_of_claim(mechanism, claim),
        worst=test.norm / mechanism.sensitivity,
        flips=tuple(test.pattern.flips.tolist()),
    )


def audit_linear(
    mechanism: LinearMechanism,
    claim: Guarantee,
    test: LikelihoodRatio,
    counts: Integers,
    trials: int,
    generator: np.random.Generator,
) -> Audit:
    """A linear mechanism by the likelihood ratio alone; see `linear_case`.

    Raises:
        ValueError: there are fewer than 20 trials, or counts of another length.
    """
    case = replace(linear_case(mechanism, claim, test, counts), features=None)
    return audit_case(case, trials, generator)[0]


def mu_of_claim(mechanism: LinearMechanism, claim: Guarantee) -> float:
    """The μ that a linear mechanism has if it keeps its claim.

    Gaussian noise has the curve through ε and δ. Laplace noise divides ε among the k measurements that a change alters
    by one user each, and their μ² add up (docs/guarantees.md, section 11.2).
    """
    if not mechanism.noise.pure:
        return gaussian.mu_for(*claim)
    measurements = round(mechanism.sensitivity)
    alone = laplace(epsilon=claim.epsilon / measurements).mu
    assert alone is not None
    return math.sqrt(measurements) * alone
