"""The estimate of a sketch with the noise of a release, and the user who moves it most."""

from __future__ import annotations

import math
from datetime import date
from typing import cast

import numpy as np

from dp.accounting.composition import Guarantee
from dp.arrays import Floats
from dp.auditing.case import Case
from dp.auditing.likelihood import SCORE_DECIMALS, mu_of_claim
from dp.auditing.sampling import Sampler
from dp.mechanisms import LinearMechanism
from dp.release import Request, Sample, plan_release
from dp.sketches import family_of
from dp.sketches.table import some_keys

USERS = 2000
"""Users in an estimate besides the one who is attacked."""

CANDIDATE_USERS = 200
"""The attacker takes the one of them who moves a sketch most."""

ANY_DAY = date(2026, 1, 1)


def estimate_cases(name: str, claim: Guarantee, trials: int, generator: np.random.Generator) -> list[Case]:
    """The estimate of a sketch with the noise of a release, and the user who moves it most."""
    family = family_of(name)
    rate = float(family.example.get("rate", 1.0))  # type: ignore[arg-type]
    request = Request(
        {"dau": 1},
        "user-day",
        2,
        claim,
        "gaussian" if claim.delta else "laplace",
        ANY_DAY,
        1,
        {"dau": 1.0},
        sketch=name,
        sample=Sample(rate, "audited") if rate < 1 else None,
    )
    mechanism = cast(LinearMechanism, plan_release(request).series[0].mechanism)
    keys = some_keys(family, USERS + CANDIDATE_USERS, generator.bytes(16))
    users = family.make(**family.example).empty().add(keys[:USERS])
    without = users.estimate()
    joined = [users.add(keys[place : place + 1]).estimate() for place in range(USERS, len(keys))]
    with_user = max(joined, key=lambda estimate: abs(estimate - without))
    return [estimate_case(name, mechanism, claim, without, with_user, rate)]


def estimate_case(
    name: str, mechanism: LinearMechanism, claim: Guarantee, without: float, with_user: float, rate: float
) -> Case:
    """The likelihood ratio of one noisy number, published over the rate.

    Args:
        without: estimate without the user, in users.
        with_user: estimate with the user, in users.
        rate: share of the users whom the sketch counts.
    """
    moved = with_user - without

    def score(errors: Floats) -> Floats:
        if not mechanism.noise.pure:
            return np.asarray(errors * math.copysign(1.0, moved))
        return np.asarray(np.round(np.abs(errors) - np.abs(errors - moved), SCORE_DECIMALS))

    def errors(estimate: float) -> Sampler:
        counted = np.array([round(estimate * rate)])
        return lambda trials, source: mechanism.simulate(counted, trials, source)[:, 0] / rate - without

    return Case(
        name, "estimate", claim, errors(without), errors(with_user), 1, score,
        claimed_mu=mu_of_claim(mechanism, claim), worst=abs(moved) * rate / mechanism.sensitivity,
    )  # fmt: skip
