"""What a linear mechanism takes for a question with several series: one strategy, and the sensitivity of all together.

Every series of a question gets independent noise of one scale. What one protected change can do to all of them is a
`dp.units.PresenceChange` or `FlowChange`; proofs in docs/guarantees.md, section 18.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

from dp.mechanisms import family_of
from dp.mechanisms.design_cache import choice, is_ours, number
from dp.mechanisms.linear import LinearDesign, Strategy
from dp.mechanisms.linear_design import design_of
from dp.mechanisms.protocol import NoiseName
from dp.mechanisms.toeplitz import ToeplitzStrategy
from dp.units import FlowChange, PresenceChange, ProtectedClass

MIXED: Mapping[NoiseName, int] = {"gaussian": 2, "laplace": 1}
"""What it costs that a series may gain in some runs and lose in others: ‖a − b‖₂² ≤ 2‖a‖₂² + 2‖b‖₂², and ‖a − b‖₁ ≤
‖a‖₁ + ‖b‖₁."""


@lru_cache(maxsize=128)
def question_design(name: str, change: PresenceChange | FlowChange) -> LinearDesign:
    """The design of each series of a question, with the sensitivity of all of them.

    Flows are measured with independent noise by every mechanism, because one change moves few of their numbers.

    Args:
        name: of a linear mechanism.

    Raises:
        ValueError: the mechanism is not linear, or cannot serve the class.
    """
    family = family_of(name)
    if family.strategy is None:
        raise ValueError(f"mechanism is {name!r}, whose error depends on the data; questions need a linear mechanism")
    if isinstance(change, FlowChange):
        # Entries change by one each, so that they are both ℓ₁ and ℓ₂².
        return design_of(name, family.noise, ToeplitzStrategy(()), float(change.entries), change.entries)
    strategy, squared = _chosen(name, family.strategy, change)
    if change.mixed:
        squared *= MIXED[family.noise]
    touched = sum(strategy.touched(protected) for protected in change.series)
    return replace(design_of(name, family.noise, strategy, squared, touched), doubled=change.mixed)


def _chosen(
    name: str, strategy_for: Callable[[ProtectedClass], Strategy], change: PresenceChange
) -> tuple[Strategy, float]:
    """The strategy for what the worst case shows in one series, and the sensitivity² of all series together.

    The worst case spreads the runs over as many series as it may.
    """
    widest = change.series[0]
    spread = replace(widest, runs=-(-change.runs // len(change.series)))
    try:
        return _with_sensitivity(name, strategy_for, spread, change)
    except ValueError:
        # Some strategies serve only the class that they were made for.
        return _with_sensitivity(name, strategy_for, widest, change)


def _with_sensitivity(
    name: str, strategy_for: Callable[[ProtectedClass], Strategy], protected: ProtectedClass, change: PresenceChange
) -> tuple[Strategy, float]:
    """The strategy for a class, and its sensitivity² for a change of several series; both from disk if they are there.

    Raises:
        ValueError: the strategy cannot serve the change.
    """
    strategy, squared, _ = choice(name, protected, strategy_for)
    if change.series == (protected,):
        return strategy, squared
    if not is_ours(strategy_for):
        return strategy, several_series_squared(strategy, change)
    runs = f"{name}-for-{protected.runs}-runs"
    return strategy, number(runs, change, lambda change: several_series_squared(strategy, change))


def several_series_squared(strategy: Strategy, change: PresenceChange) -> float:
    """The largest Σ ‖B⁻¹Δ‖² over the series of a question, Δ being what a protected change does to each.

    It maximises over how the runs divide among the series. Runs of opposite sign in one series count as those of two;
    what that costs besides is `MIXED`.
    """
    if len(change.series) == 1:
        return strategy.sensitivity_squared(change.series[0])
    energies = {protected: _energies(strategy, protected) for protected in set(change.series)}
    best = [0.0] * (change.runs + 1)
    for protected in change.series:
        one = energies[protected]
        best = [
            max(best[runs - own] + one[own] for own in range(min(runs, protected.runs) + 1))
            for runs in range(change.runs + 1)
        ]
    return best[-1]


def _energies(strategy: Strategy, protected: ProtectedClass) -> list[float]:
    """The sensitivity² for every number of runs from 0 to that of the class."""
    some = (strategy.sensitivity_squared(replace(protected, runs=runs)) for runs in range(1, protected.runs + 1))
    return [0.0, *some]
