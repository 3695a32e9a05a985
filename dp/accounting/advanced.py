"""Advanced composition of (ε, δ) guarantees: the optimum where all are alike, the best known bounds where they differ.

Whatever a mechanism is, an (ε, δ)-DP one is at worst randomised response that reveals its input with probability δ
(Kairouz, Oh and Viswanath 2015). So this accountant is exact for those, and an upper bound for others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from dp.accounting import loss_grid, naive
from dp.accounting.accountant import Answer, found, not_applicable, slack
from dp.accounting.loss_table import table_epsilon
from dp.accounting.mechanism_events import LARGEST, SMALLEST, MechanismEvent, epsilon_at, pure, releases
from dp.arrays import Floats

Guarantees = Sequence[tuple[float, int]]
"""(ε₀ > 0, how many releases are ε₀-DP), each ε₀ once."""

SHARES = (0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)
"""Of δ that releases without an ε of their own may get; the best is taken. They do not depend on data."""


def account(parts: Sequence[MechanismEvent], delta: float) -> Answer:
    """The least of basic composition, the optimum for equal ε, and the bounds for different ε."""
    basic = naive.account(parts, delta)
    flexible = releases([part for part in parts if part.epsilon is None])
    left = slack(delta, math.fsum(part.count * math.log1p(-part.delta) for part in parts))
    if left is None or (flexible and left <= 0):
        return not_applicable(basic.reason or f"the releases' own δ compose to more than {delta:.3g}")
    choices = []
    for share in SHARES if flexible else (0.0,):
        each = share * left / flexible if flexible else 0.0
        if not flexible or each >= 1e-300:
            guarantees = _grouped((epsilon_at(part, each), part.count) for part in parts)
            rest = slack(left, flexible * math.log1p(-each)) or 0.0
            choices.append((closed_epsilon(guarantees, rest), guarantees, rest))
    # The optimum takes longer, and is sought where the closed form is small.
    choices = sorted(choices)[:2]
    bounds = [] if basic.epsilon is None else [basic.epsilon]
    bounds += [closed for closed, _, _ in choices]
    bounds += [optimal_epsilon(guarantees, rest) for _, guarantees, rest in choices]
    if not bounds:
        return not_applicable(basic.reason or "")
    alike = len(parts) == 1 and parts[0].two_point
    return found(min(bounds), exact=alike or basic.exact)


def closed_epsilon(guarantees: Guarantees, delta: float) -> float:
    """An ε at `delta` ≥ 0 in closed form: the optimum where all ε₀ are equal, else the best known bound."""
    if not guarantees:
        return 0.0
    if len(guarantees) == 1:
        return homogeneous_epsilon(*guarantees[0], delta)
    return min(math.fsum(epsilon * count for epsilon, count in guarantees), heterogeneous_epsilon(guarantees, delta))


def optimal_epsilon(guarantees: Guarantees, delta: float) -> float:
    """The optimum for different ε₀ on a grid that dominates it; exactly it is #P-hard (Murtagh and Vadhan 2016).

    Infinite where `delta` or an ε₀ is too small or too large for the grid, or where the closed form is the optimum.
    """
    if len(guarantees) <= 1 or any(not SMALLEST <= epsilon <= LARGEST for epsilon, _ in guarantees):
        return math.inf
    return loss_grid.grid_epsilon([pure(epsilon=epsilon, count=count) for epsilon, count in guarantees], delta)


def homogeneous_epsilon(epsilon: float, count: int, delta: float) -> float:
    """The smallest ε at `delta` of `count` ε₀-DP releases (Kairouz, Oh and Viswanath 2015, theorem 3.3).

    The worst is randomised response, whose loss is (2X − k)ε₀ with X binomial: δ(ε) = Σ P(x)(1 − e^(ε − (2x − k)ε₀))
    over the losses above ε.
    """
    if delta == 0:
        return epsilon * count
    wins, logs = _log_binomial(count, epsilon)
    losses: Floats = (2 * wins - count).astype(np.float64) * epsilon
    return table_epsilon(losses, logs, delta)


def heterogeneous_epsilon(guarantees: Guarantees, delta: float) -> float:
    """An ε at `delta` of (ε₀, count) releases (Kairouz, Oh and Viswanath 2015, theorem 3.5, without its Σε)."""
    if delta == 0:
        return math.inf
    mean = math.fsum(count * epsilon * math.tanh(epsilon / 2) for epsilon, count in guarantees)
    squares = math.fsum(count * epsilon**2 for epsilon, count in guarantees)
    log_ratio = math.log(math.e + math.sqrt(squares) / delta)
    return mean + min(math.sqrt(2 * squares * log_ratio), math.sqrt(2 * squares * -math.log(delta)))


def _grouped(guarantees: Iterable[tuple[float, int]]) -> Guarantees:
    counts: dict[float, int] = {}
    for epsilon, count in guarantees:
        counts[epsilon] = counts.get(epsilon, 0) + count
    # A release may have ε₀ = 0 at the δ it was given.
    return sorted((epsilon, count) for epsilon, count in counts.items() if epsilon > 0)


def _log_binomial(count: int, epsilon: float) -> tuple[NDArray[np.int64], Floats]:
    """x and ln P(X = x), X binomial of `count` trials with odds e^ε, wherever P is above e^(−700).

    By ratios of neighbours and not by ln Γ, whose error grows with its value: 3e-9 at 10⁶.
    """
    win = 1 / (1 + math.exp(-epsilon))
    mean, deviation = count * win, math.sqrt(count * win * math.exp(-epsilon) * win)
    reach = 40 * deviation + 2000
    first, last = max(0, math.floor(mean - reach)), min(count, math.ceil(mean + reach))
    wins = np.arange(first, last + 1)
    ratios = np.log((count - wins[:-1]) / (wins[:-1] + 1)) + epsilon
    logs = np.concatenate([[0.0], np.cumsum(ratios)])
    return wins, logs - scipy.special.logsumexp(logs)
