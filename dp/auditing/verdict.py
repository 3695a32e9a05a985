"""From a case to results: draw releases without and with the change, test them, and say what that proves.

The first fifth of the trials chooses thresholds, the others are counted, so that the confidence holds whatever was
chosen (docs/guarantees.md, section 17).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from dp.accounting import gaussian
from dp.accounting.composition import Guarantee
from dp.arrays import Floats
from dp.auditing.bounds import (
    THRESHOLD_CONFIDENCE,
    Evidence,
    best_thresholds,
    count_alarms,
    epsilon_evidence,
    mu_evidence,
    rates_of,
)
from dp.auditing.case import Case, as_observed
from dp.auditing.histogram import learn_histogram
from dp.auditing.options import DEFAULT_OPTIONS, AuditOptions
from dp.auditing.result import Audit
from dp.auditing.sampling import Sampler, in_chunks

THRESHOLD_SHARE = 0.2
"""Share of the trials that choose thresholds. They choose one number, the others measure."""

MIN_TRIALS, MIN_HISTOGRAM_TRIALS = 20, 50


def audit_cases(
    cases: Sequence[Case], trials: int, generator: np.random.Generator, options: AuditOptions = DEFAULT_OPTIONS
) -> list[Audit]:
    """All tests of several cases, which share one flag level; see `audit_case`."""
    return [audit for case, share in options.share(cases) for audit in audit_case(case, trials, generator, share)]


def audit_case(
    case: Case, trials: int, generator: np.random.Generator, options: AuditOptions = DEFAULT_OPTIONS
) -> list[Audit]:
    """The likelihood-ratio test, where the case has a score, and the histogram test, where it has features.

    Args:
        trials: in all, half of them with the change; both tests look at the same ones.

    Raises:
        ValueError: there are fewer than 20 trials, or 50 for a histogram.
    """
    least = MIN_TRIALS if case.features is None else MIN_HISTOGRAM_TRIALS
    if trials < least:
        raise ValueError(f"trials is {trials}; at least {least} are needed")
    unchanged, changed = _draw(case, trials, generator, options)
    each = replace(options, flag_level=options.flag_level / ((case.score is not None) + (case.features is not None)))
    audits = []
    if case.score is not None:
        audits.append(_verdict(case, unchanged[:, 0], changed[:, 0], each))
        unchanged, changed = unchanged[:, 1:], changed[:, 1:]
    if case.features is not None:
        audits.append(_histogram_verdict(case, unchanged, changed, each))
    return audits


def audit_samplers(
    subject: str, claim: Guarantee, unchanged: Sampler, changed: Sampler, trials: int, generator: np.random.Generator
) -> Audit:
    """What the histogram test proves of a claim about any two samplers.

    Args:
        subject: name in the result.
        unchanged: features of releases without the change, shape (trials, features); see `release_features`.
        changed: features with the change.
        trials: releases in all, half of them with the change; a fifth fills the bins.

    Raises:
        ValueError: there are fewer than 50 trials.
    """
    case = Case(subject, "histogram", claim, unchanged, changed, width=1, score=None, features=as_observed)
    return audit_case(case, trials, generator)[0]


def _draw(case: Case, trials: int, generator: np.random.Generator, options: AuditOptions) -> tuple[Floats, Floats]:
    """Statistics of half of the trials without, and half with the change; a score comes first, features follow."""

    def statistics(sampler: Sampler, number: int, source: np.random.Generator) -> Floats:
        observations = sampler(number, source)
        columns = [] if case.score is None else [case.score(observations)[:, np.newaxis]]
        if case.features is not None:
            columns.append(case.features(observations))
        return np.concatenate(columns, axis=1)

    unchanged, changed = (
        in_chunks(partial(statistics, sampler), case.width, options.workers)
        for sampler in (case.unchanged, case.changed)
    )
    number = trials // 2
    without = unchanged(number, generator, lambda done: options.report(done / 2))
    return without, changed(number, generator, lambda done: options.report(0.5 + done / 2))


def _histogram_verdict(case: Case, unchanged: Floats, changed: Floats, options: AuditOptions) -> Audit:
    """What features of independent releases prove, shape (trials / 2, features); nothing is known of the noise."""
    first = int(THRESHOLD_SHARE * len(unchanged))
    table = learn_histogram(unchanged[:first], changed[:first], case.claim.delta)
    blind = replace(case, view="histogram", claimed_mu=None, worst=None, flips=())
    audit = _verdict(blind, table.score(unchanged[first:]), table.score(changed[first:]), options)
    return replace(audit, trials=2 * len(unchanged))


def _verdict(case: Case, unchanged: Floats, changed: Floats, options: AuditOptions) -> Audit:
    """What scores of independent releases without and with a change prove; both of shape (trials / 2,).

    All bounds are at `confidence` each; the flag is raised by bounds of its own, which fail together with probability ≤
    `flag_level`.
    """
    first = max(int(THRESHOLD_SHARE * len(unchanged)), 1)
    statements: list[tuple[Evidence, float]] = [(partial(epsilon_evidence, delta=case.claim.delta), case.claim.epsilon)]
    if case.claimed_mu is not None:
        statements.append((mu_evidence, case.claimed_mu))
    evidences = [evidence for evidence, _ in statements]
    choices = best_thresholds(unchanged[:first], changed[:first], evidences, THRESHOLD_CONFIDENCE)
    # Each statement, on ε and on μ, may raise the flag; each does so wrongly in its share of the runs.
    flag_confidence = 1 - options.flag_level / len(statements)
    bounds, flagged = [], False
    for (evidence, claimed), choice in zip(statements, choices, strict=True):
        alarms = count_alarms(unchanged[first:], changed[first:], choice.threshold)
        bounds.append(max(float(evidence(rates_of(alarms, options.confidence))), 0.0))
        flagged |= bool(evidence(rates_of(alarms, flag_confidence)) > claimed)
    epsilon, mu = bounds[0], None if case.claimed_mu is None else bounds[1]
    return Audit(
        subject=case.subject,
        view=case.view,
        claim=case.claim,
        claimed_mu=case.claimed_mu,
        epsilon=epsilon,
        mu=mu,
        epsilon_of_mu=_epsilon_on_curve(mu, case.claim.delta),
        confidence=options.confidence,
        trials=len(unchanged) + len(changed),
        flagged=flagged,
        flag_level=options.flag_level,
        worst=case.worst,
        flips=case.flips,
    )


def _epsilon_on_curve(mu: float | None, delta: float) -> float | None:
    """ε at δ on the Gaussian curve of μ; None where there is none."""
    if mu is None or delta == 0:
        return None
    return gaussian.epsilon_for(mu, delta) if mu > 0 else 0.0
