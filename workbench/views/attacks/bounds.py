"""Lower bounds on ε that grow with the trials of an audit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dp.accounting.calibrate import calibrate_designs, calibrate_linear
from dp.accounting.composition import Guarantee
from dp.auditing.mechanisms import cases
from dp.auditing.power import Attempt, attempts_on
from dp.auditing.result import Audit
from dp.auditing.twins import TWINS
from dp.auditing.twins.mechanisms import with_scale
from dp.mechanisms import GRID, LinearMechanism, design, family_of, linear_design
from dp.names import METRICS
from dp.units import ProtectedClass, protected_class
from workbench.rows import TableRow
from workbench.views.attacks.wording import MISTAKE_TITLES, STRIP_MISTAKE
from workbench.views.jobs.job import Job, Tables

if TYPE_CHECKING:
    from workbench.views.attacks.research import AttackQuestion, Audited

SEED = 20260114
TRIALS = tuple(2**power for power in range(7, 20))
"""Releases of each audit, half of them with the user: 128 to 524,288."""


def grow(question: AttackQuestion, job: Job, committed: Tables) -> Tables:
    """The tables of an answer: "bounds", a row an audit, each of fresh releases, beside what is committed.

    Raises:
        ValueError: there is no such mistake, or the audit cannot be made.
        Superseded: see `Job`.
    """
    job.tell("searching for the change that shows most", 0.0, committed)
    attempt, mistake = _attempt(question)
    rows: list[TableRow] = []
    for trials in TRIALS:
        found = attempt(trials, np.random.default_rng([SEED, trials]))
        assert isinstance(found, Audit)
        rows.append(_row(found, mistake))
        share = len(rows) / len(TRIALS)
        job.tell(f"attacking {2 * trials:,} releases", share, {"bounds": list(rows), **committed})
    return {"bounds": rows, **committed}


def _attempt(question: AttackQuestion) -> tuple[Attempt, str]:
    """What attacks, and the mistake in a sentence."""
    name = question.mistake or STRIP_MISTAKE
    if name == STRIP_MISTAKE:
        return _attack_on(question.audited, broken=question.broken), "Half the noise that the sensitivity asks for."
    if name not in MISTAKE_TITLES:
        raise ValueError(f"mistake is {name!r}; choose one of {', '.join(MISTAKE_TITLES)}")
    twin = TWINS[name]()
    return (twin.broken if question.broken else twin.right), twin.mistake


def _attack_on(audited: Audited, *, broken: bool) -> Attempt:
    """Audits of a mechanism by the attack that should be the strongest, which no measurement chooses."""
    protected = protected_class(audited.unit, METRICS[audited.metric], audited.w_bound, audited.days)
    pure = family_of(audited.mechanism).delta == "none"
    claim = Guarantee(audited.epsilon, 0.0 if pure else audited.delta)
    mechanism = (
        _half_the_noise(audited.mechanism, protected, claim)
        if broken
        else (calibrate_designs([design(audited.mechanism, protected)], claim, [1.0])[0])
    )
    offered = cases(mechanism, protected, claim, np.random.default_rng(SEED))
    # What is measured reveals more than what is released from it, and a likelihood ratio more than a histogram.
    case = next((one for one in offered if one.view == "measurements"), offered[0])
    return attempts_on(case if case.score is None else replace(case, features=None))


def _half_the_noise(name: str, protected: ProtectedClass, claim: Guarantee) -> LinearMechanism:
    right = calibrate_linear([linear_design(name, protected)], claim, [1.0])[0]
    return with_scale(right, right.noise.scale / GRID / 2)


def _row(found: Audit, mistake: str) -> dict[str, Any]:
    return {
        "subject": found.subject,
        "mistake": mistake,
        "test": found.view,
        "trials": found.trials,
        "measured": found.measured,
        "claimed": found.claim.epsilon,
        "delta": found.claim.delta,
        "mu": found.mu,
        "claimed_mu": found.claimed_mu,
        "confidence": found.confidence,
        "broken": found.flagged,
    }
