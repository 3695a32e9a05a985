"""How often somebody who sees everything published guesses right whether the protected change was made.

Before looking, both worlds are equally likely. The best guess is right with probability (1 + TV)/2, TV being the total
variation distance of what is seen in the two worlds (docs/guarantees.md, section 11.7).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import scipy

from dp.accounting.calibrate import discretisation_slack
from dp.accounting.composition import Guarantee, basic, gaussian_mu
from dp.accounting.mechanism_events import pure
from dp.mechanisms import Mechanism

BLIND = 0.5
"""How often a guess is right that looks at nothing."""


def guess_under_mu(mu: float) -> float:
    """The most that a guess is right under μ-GDP: Φ(μ/2) (Dong, Roth and Su 2022, section 2.2); attained by a Gaussian.

    Raises:
        ValueError: μ is negative.
    """
    if mu < 0:
        raise ValueError(f"mu is {mu}; it must not be negative")
    return float(scipy.special.ndtr(mu / 2))


def guess_under(guarantee: Guarantee) -> float:
    """The most that a guess is right under (ε, δ)-DP: (e^ε + δ)/(e^ε + 1).

    It follows from Kairouz, Oh and Viswanath 2015, theorem 2.1, and is attained by revealing the truth with probability
    δ, and by randomised response otherwise.
    """
    odds = math.exp(-guarantee.epsilon)
    return (1 + guarantee.delta * odds) / (1 + odds)


def guess_under_all(parts: Sequence[tuple[Mechanism, Guarantee]]) -> float:
    """The most that a guess is right which sees all series of calibrated mechanisms.

    The smaller of two bounds: by the sum of their (ε, δ), and by √Σμ² where each has a μ, with what the discrete
    Gaussian differs from the continuous one added.

    Args:
        parts: each mechanism with what it promises on its own.
    """
    total = basic(guarantee for _, guarantee in parts)
    facts = [_mu_and_slack(mechanism, guarantee) for mechanism, guarantee in parts]
    known = [fact for fact in facts if fact is not None]
    if len(known) < len(facts):
        return guess_under(total)
    slack = math.fsum(difference for _, difference in known)
    return min(guess_under(total), guess_under_mu(gaussian_mu(mu for mu, _ in known)) + slack)


def _mu_and_slack(mechanism: Mechanism, guarantee: Guarantee) -> tuple[float, float] | None:
    """A μ that holds for continuous noise, and how much more often a guess is right because it is discrete."""
    draws = mechanism.gaussian_draws
    if not draws:
        return (pure(epsilon=guarantee.epsilon).mu or 0.0, 0.0) if guarantee.delta == 0 else None
    if mechanism.spent is None or len(draws) > 1:
        return None
    ((scale, touched),) = draws
    return mechanism.spent, math.fsum(discretisation_slack(scale, touched, guarantee.epsilon))
