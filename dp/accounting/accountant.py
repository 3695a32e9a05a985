"""What every accountant returns, and the one way to ask it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dp.accounting.mechanism_events import MechanismEvent


@dataclass(frozen=True)
class Answer:
    """An ε at which all releases together are (ε, δ)-DP, or why there is none.

    Attributes:
        epsilon: None where the accountant does not apply.
        exact: nothing smaller holds for these releases.
        reason: None, or why the accountant does not apply.
    """

    epsilon: float | None
    exact: bool
    reason: str | None = None


ROUNDING = 2.0**-50
"""Relative error of a δ that was rounded, or computed in a few steps."""


class Accountant(Protocol):
    """Adds up releases, which may be chosen adaptively."""

    def __call__(self, parts: Sequence[MechanismEvent], delta: float) -> Answer:
        """The answer at 0 ≤ `delta` < 1; `parts` are merged."""


def found(epsilon: float, *, exact: bool = False) -> Answer:
    """An answer; ε = 0 is always exact, because less is nothing."""
    return Answer(max(0.0, epsilon), exact or epsilon <= 0)


def not_applicable(reason: str) -> Answer:
    """No answer, with the reason."""
    return Answer(None, False, reason)


def lacking(parts: Sequence[MechanismEvent], fact: str) -> str | None:
    """Names the releases of which `fact`, an attribute of `MechanismEvent`, is not known; None if there are none."""
    names = [part.name for part in parts if getattr(part, fact) is None]
    return "; ".join(names) or None


def log_kept(parts: Sequence[MechanismEvent]) -> float:
    """Logarithm of the probability that no release has an infinite loss."""
    return math.fsum(part.count * math.log1p(-part.infinite) for part in parts)


def slack(delta: float, log_kept: float) -> float | None:
    """δ̃ with 1 − (1 − δ̃)·e^`log_kept` = `delta`, rounded down; None where even δ̃ = 0 needs a larger δ.

    Where the two are equal but for rounding, δ̃ is 0: a positive rest would let a smaller ε through.

    Args:
        log_kept: logarithm of the probability that no release reveals everything.
    """
    if not log_kept:
        return delta
    log_asked = math.log1p(-delta)
    log_rest, rounding = log_asked - log_kept, -ROUNDING * (log_asked + log_kept)
    return None if log_rest > rounding else max(0.0, -math.expm1(log_rest + rounding))


def pure_sum(parts: Sequence[MechanismEvent]) -> float | None:
    """Σε where every release is pure, else None; no accountant need report more."""
    if not all(part.pure for part in parts):
        return None
    return math.fsum(part.count * part.epsilon for part in parts if part.epsilon is not None)


def without_delta(parts: Sequence[MechanismEvent], reason: str) -> Answer:
    """The answer at δ = 0: Σε exactly where every release is pure, else `reason`."""
    total = pure_sum(parts)
    return not_applicable(reason) if total is None else found(total, exact=True)
