"""A twin of accounting: discrete Laplace noise that is accounted for as continuous."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dp.accounting import advanced, pld
from dp.accounting.composition import Guarantee
from dp.accounting.mechanism_events import discrete_laplace, laplace
from dp.arrays import Floats
from dp.auditing.case import Case
from dp.auditing.power import Attempt, Twin, attempts_on
from dp.auditing.sampling import Sampler
from dp.noise import LaplaceNoise


class Accounting(NamedTuple):
    """What a series of releases is said to cost, and what it costs.

    Attributes:
        claimed: ε by the account of continuous Laplace noise.
        exact: the smallest ε that holds for the discrete noise that is drawn.
        delta: of both.
        delta_of_claim: the δ that the discrete noise has at the claimed ε.
        trials: about how many releases of each kind a test needs to see it.
    """

    claimed: float
    exact: float
    delta: float
    delta_of_claim: float
    trials: float


def continuous_for_discrete(epsilon: float = 0.05, releases: int = 365, delta: float = 1e-6) -> Accounting:
    """Discrete Laplace noise accounted for as continuous: over a year of small ε only the exact curve shows it.

    The best test says "with" where the likelihood ratio exceeds e^claimed. Its true alarms less e^claimed times its
    false ones are `delta_of_claim` on average and may be δ; their standard error is √(TPR + e^(2·claimed)·FPR) over the
    root of the trials, and the flag needs about 2·2.6 of them.
    """
    claimed = pld.account([laplace(epsilon=epsilon, count=releases)], delta).epsilon
    exact = advanced.account([discrete_laplace(epsilon=epsilon, count=releases)], delta).epsilon
    assert claimed is not None
    assert exact is not None
    # Of randomised responses, the loss of `ones` right ones is (2·ones − releases)·ε.
    ones = np.arange(releases + 1)
    losses = (2 * ones - releases) * epsilon
    log_choose = np.array(
        [math.lgamma(releases + 1) - math.lgamma(k + 1) - math.lgamma(releases - k + 1) for k in ones]
    )
    log_changed = log_choose + ones * epsilon - releases * math.log1p(math.exp(epsilon))
    changed, unchanged = np.exp(log_changed), np.exp(log_changed - losses)
    alarm = losses > claimed
    true, false = float(changed[alarm].sum()), float(unchanged[alarm].sum())
    excess = true - math.exp(claimed) * false
    spread = true + math.exp(2 * claimed) * false
    return Accounting(claimed, exact, delta, excess, (5.2 / (excess - delta)) ** 2 * spread)


def continuous_accounting() -> Twin:
    """Four releases, each of so large an ε that trials show the difference."""
    releases, epsilon, delta = 4, 1.0, 0.1
    cost = continuous_for_discrete(epsilon, releases, delta)

    def scores(shift: int) -> Sampler:
        def sample(trials: int, generator: np.random.Generator) -> Floats:
            noise = LaplaceNoise(round(1 / epsilon)).seeded(generator, (trials, releases)) + shift
            return np.asarray((np.abs(noise) - np.abs(noise - 1)).sum(axis=1))

        return sample

    def attempt(claimed: float) -> Attempt:
        return attempts_on(Case("laplace", "releases", Guarantee(claimed, delta), scores(0), scores(1), width=releases))

    return Twin(
        "continuous-accounting",
        "Four releases of discrete Laplace noise of ε = 1, accounted for as continuous: at δ = 0.1 they are said to "
        f"cost {cost.claimed:.3f} and cost {cost.exact:.3f}.",
        attempt(cost.claimed),
        attempt(cost.exact),
    )
