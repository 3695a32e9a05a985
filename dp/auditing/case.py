"""A case: two distributions to tell apart, and what is claimed of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dp.accounting.composition import Guarantee
from dp.arrays import Floats
from dp.auditing.sampling import Sampler

TestStatistic = Callable[[Floats], Floats]
"""From observations, one trial a row, to a number or several of each trial."""


def as_observed(observations: Floats) -> Floats:
    """The observations themselves."""
    return observations


@dataclass(frozen=True)
class Case:
    """One distinguishing problem, before anything is drawn.

    Attributes:
        subject: see `Audit`.
        view: see `Audit`.
        claim: the promised ε and δ.
        unchanged: observations without the change, one trial a row.
        changed: observations with the change.
        width: floats that a trial takes while it is made.
        score: log likelihood ratio of each trial, up to an increasing function; None where it has no closed form.
        features: numbers of each trial that a histogram test chooses from, shape (trials, features); None for no such
            test.
        claimed_mu: see `Audit`; so for `worst` and `flips`.
    """

    subject: str
    view: str
    claim: Guarantee
    unchanged: Sampler
    changed: Sampler
    width: int
    score: TestStatistic | None = as_observed
    features: TestStatistic | None = None
    claimed_mu: float | None = None
    worst: float | None = None
    flips: tuple[int, ...] = ()
