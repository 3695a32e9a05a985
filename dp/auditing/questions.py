"""A question with several series: all that one change does to them is told apart at once.

The series have independent noise, so that the log likelihood ratio of all is the sum of each one's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.arrays import Floats
from dp.auditing.case import Case
from dp.auditing.likelihood import LikelihoodRatio, likelihood_ratio, mu_of_claim, views
from dp.auditing.measurements import simulate_measurements
from dp.auditing.mechanisms import audited_ticks, claim_of
from dp.auditing.options import DEFAULT_OPTIONS, AuditOptions
from dp.auditing.result import Audit
from dp.auditing.sampling import Sampler, simulate_releases
from dp.auditing.verdict import audit_cases
from dp.mechanisms import LinearMechanism
from dp.mechanisms.question_design import question_design
from dp.questions import Question
from dp.units import FlowChange, PresenceChange, ProtectedClass, question_class


def audit_question(
    mechanism: str,
    question: Question,
    unit: str,
    w_bound: int,
    horizon: int | None,
    promised: Guarantee,
    trials: int,
    generator: np.random.Generator,
    options: AuditOptions = DEFAULT_OPTIONS,
) -> list[Audit]:
    """Calibrate a mechanism for a question alone, attack all of its series together and say what was proved.

    Args:
        horizon: ticks of the question's series, None for no end.
        promised: ε and δ of the whole answer; pure mechanisms ignore δ.
        trials: releases in all, half of them with the change.

    Returns:
        By the likelihood ratio of what is released; of mechanisms whose measurements tell more, of these as well.

    Raises:
        ValueError: the mechanism cannot serve the class, or a number is out of range.
    """
    claim = claim_of(mechanism, promised)
    change = question_class(question, unit, w_bound, horizon)
    calibrated = calibrate_linear([question_design(mechanism, change)], claim, [1.0])[0]
    return audit_cases(question_cases(calibrated, question.name, change, claim, generator), trials, generator, options)


def question_cases(
    mechanism: LinearMechanism,
    subject: str,
    change: PresenceChange | FlowChange,
    claim: Guarantee,
    generator: np.random.Generator,
) -> list[Case]:
    """What is worth telling apart of a mechanism that was calibrated for the class of a question.

    Raises:
        ValueError: the series is too long.
    """
    classes = _spread(change)
    ticks = audited_ticks(classes[0])
    return [
        _case(mechanism, subject, claim, [likelihood_ratio(mechanism, one, ticks, generator, view) for one in classes])
        for view in views(mechanism, ticks)
    ]


def _spread(change: PresenceChange | FlowChange) -> list[ProtectedClass]:
    """The class of what each series shows in a bad case: the runs spread over as many series as they may be."""
    if isinstance(change, FlowChange):
        # Where the entries lie makes no difference to independent noise; so each may have a series of its own.
        return [ProtectedClass(1, 1, change.entries)] * change.entries
    runs = max(1, change.runs // len(change.series))
    return [one if one.runs == runs else replace(one, runs=runs) for one in change.series]


def _case(mechanism: LinearMechanism, subject: str, claim: Guarantee, tests: Sequence[LikelihoodRatio]) -> Case:
    ticks = tests[0].ticks
    on_releases = tests[0].view == "releases"
    width = mechanism.strategy.draws(0, ticks)
    seen = ticks if on_releases else width

    def score(errors: Floats) -> Floats:
        parts = [test.score(errors[:, place * seen : (place + 1) * seen]) for place, test in enumerate(tests)]
        return np.asarray(np.sum(parts, axis=0))

    together = sum(test.norm for test in tests) if mechanism.noise.pure else math.hypot(*(test.norm for test in tests))
    return Case(
        subject,
        tests[0].view,
        claim,
        partial(_errors, mechanism, tests, 0),
        partial(_errors, mechanism, tests, 1),
        width * len(tests),
        score=score,
        claimed_mu=mu_of_claim(mechanism, claim),
        worst=together / mechanism.sensitivity,
        flips=tuple(tests[0].pattern.flips.tolist()),
    )


def _errors(
    mechanism: LinearMechanism,
    tests: Sequence[LikelihoodRatio],
    times: int,
    trials: int,
    source: np.random.Generator,
) -> Floats:
    """What is seen of all series side by side, with so many times the change; shape (trials, series · seen)."""
    simulate = simulate_releases if tests[0].view == "releases" else simulate_measurements
    samplers: list[Sampler] = [simulate(mechanism, times * test.series) for test in tests]
    return np.concatenate([sampler(trials, source) for sampler in samplers], axis=1)
