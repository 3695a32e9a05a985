"""The audit of what is really published: every trial is a release with OpenDP's noise and a charge in a ledger.

The attack is that of the simulated releases, along the same pattern. Nothing has a seed, so that no trial can be
repeated, and a trial takes milliseconds; a bound is as valid as with a million trials, and not as sharp.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from dp.accounting.composition import Guarantee
from dp.arrays import Floats, Integers
from dp.auditing.mechanisms import cases
from dp.auditing.options import DEFAULT_OPTIONS, AuditOptions
from dp.auditing.result import Audit
from dp.auditing.sampling import CHUNK_FLOATS, Sampler
from dp.auditing.verdict import audit_case
from dp.ledger import BudgetExhausted, Ledger
from dp.release import Plan, Request, charged, plan_release, publish, stated_counts
from dp.units import protected_class

FLOATS_A_TRIAL = CHUNK_FLOATS // 16
"""Sixteen releases at a time, so that progress is seen."""


@dataclass(frozen=True)
class LedgerBudget:
    """What pays for real releases.

    Attributes:
        budget: its name in the ledger.
        now: what the ledger's clock says.
    """

    ledger: Ledger
    budget: str
    now: datetime


def audit_live(
    request: Request,
    trials: int,
    generator: np.random.Generator,
    account: LedgerBudget,
    options: AuditOptions = DEFAULT_OPTIONS,
) -> list[Audit]:
    """Publish a series again and again, half of the times with a protected change, and say what that proves.

    Args:
        request: with one metric and a horizon.
        trials: streams, each charged in full.
        generator: of the streams' names and of the search for the worst pattern; the noise has no seed.
        options: one thread draws, however many workers there are.

    Raises:
        BudgetExhausted: the budget does not have `trials` times the guarantee; nothing was published.
        ValueError: the request has several metrics or no horizon, or its mechanism cannot serve its class.
    """
    if len(request.windows) != 1 or request.horizon is None:
        raise ValueError(
            f"the request has {len(request.windows)} metrics and the horizon {request.horizon}; "
            "one metric and a number of ticks are needed"
        )
    plan = plan_release(request)
    budget = account.ledger.budget(account.budget)
    needed = Guarantee(*(trials * part for part in charged(request)))
    if needed.epsilon > budget.remaining.epsilon or needed.delta > budget.remaining.delta:
        raise BudgetExhausted(budget, needed)
    ((metric, window),) = request.windows.items()
    protected = protected_class(request.unit, window, request.w_bound, request.horizon)
    (case,) = cases(
        plan.series[0].mechanism, protected, charged(request), generator,
        lambda counts: publish_releases(plan, metric, counts, account),
    )  # fmt: skip
    # A connection to the ledger belongs to one thread.
    return audit_case(replace(case, width=FLOATS_A_TRIAL), trials, generator, replace(options, workers=1))


def publish_releases(plan: Plan, metric: str, counts: Integers, account: LedgerBudget) -> Sampler:
    """Estimates of real releases, shape (trials, T): every trial is a stream of its own and pays for itself."""

    def sample(trials: int, generator: np.random.Generator) -> Floats:
        stated = stated_counts(plan, {metric: counts})
        names = [generator.bytes(16).hex() for _ in range(trials)]
        releases = [publish(account.ledger, name, account.budget, plan, stated, account.now) for name in names]
        return np.array([[json.loads(row)["estimate"] for row in rows] for rows in releases])

    return sample
