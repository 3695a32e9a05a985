"""How soon an audit catches what is broken.

An attempt is one audit with a given number of trials, and says whether the promise was disproved. Two numbers say what
the audit is worth: the smallest number of trials at which a twin is caught in 99 of 100 attempts, and how often the
right way is flagged at the same number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from dp.auditing.case import Case
from dp.auditing.verdict import audit_case
from dp.intervals.binomial import at_least, at_most


class Flag(Protocol):
    """What an attempt says."""

    @property
    def flagged(self) -> bool:
        """Whether the promise is disproved."""


@dataclass(frozen=True)
class Coverage:
    """What a test of an interval says: whether it covers less than it promises, which no ε measures."""

    flagged: bool


Attempt = Callable[[int, np.random.Generator], Flag]
"""An audit with that many trials."""

CAUGHT_SHARE = 0.99
"""Share of the attempts in which a twin must be caught."""


@dataclass(frozen=True)
class Twin:
    """A mistake and the right way, both under the same claim.

    Attributes:
        mistake: in one sentence.
        broken: an audit of the mistake.
        right: the same audit of the right way.
    """

    name: str
    mistake: str
    broken: Attempt
    right: Attempt


class Power(NamedTuple):
    """How soon a twin is caught.

    Attributes:
        trials: the smallest number on the grid that suffices; None where the largest did not.
        caught: attempts at that number, or the largest, that flagged the twin.
        at_least: lower end of the share of attempts that do, at 95 % confidence for all tried numbers together.
        false_alarms: attempts at that number that flagged the right mechanism.
        at_most: upper end of their share, at 95 % confidence.
        attempts: of each.
    """

    trials: int | None
    caught: int
    at_least: float
    false_alarms: int
    at_most: float
    attempts: int


def attempts_on(case: Case) -> Attempt:
    """Audits of one case, by its first test."""
    return lambda trials, generator: audit_case(case, trials, generator)[0]


def power(twin: Twin, attempts: int, generator: np.random.Generator, *, fewest: int = 64, most: int = 2**18) -> Power:
    """Double the trials until a twin is caught in 99 of 100 attempts, and count false alarms there.

    Raises:
        ValueError: attempts is less than 1, or the grid is empty.
    """
    if attempts < 1 or not 0 < fewest <= most:
        raise ValueError(f"attempts is {attempts}, trials from {fewest} to {most}; at least one of each is needed")
    trials, caught = fewest, 0
    while True:
        caught = _flagged(twin.broken, trials, attempts, generator, allowed=math.floor((1 - CAUGHT_SHARE) * attempts))
        if caught >= CAUGHT_SHARE * attempts or 2 * trials > most:
            break
        trials *= 2
    enough = caught >= CAUGHT_SHARE * attempts
    # The numbers of trials that were tried.
    looks = (trials // fewest).bit_length()
    false_alarms = _flagged(twin.right, trials, attempts, generator)
    return Power(
        trials if enough else None,
        caught,
        float(at_least(caught, attempts, 0.05 / looks)),
        false_alarms,
        float(at_most(false_alarms, attempts, 0.05)),
        attempts,
    )


def _flagged(
    attempt: Attempt, trials: int, attempts: int, generator: np.random.Generator, allowed: int | None = None
) -> int:
    """How many attempts flag; stops once more than `allowed` did not."""
    flagged = 0
    for number in range(1, attempts + 1):
        flagged += attempt(trials, generator).flagged
        if allowed is not None and number - flagged > allowed:
            break
    return flagged
