"""What errors of a test prove: lower bounds on ε and μ from counted true and false alarms.

Whoever must tell a release with a protected change from one without, and says "with" on an event E, is right with
probability TPR = P(E | with) and wrong with FPR = P(E | without). An (ε, δ)-private mechanism keeps
TPR ≤ e^ε·FPR + δ and 1 − FPR ≤ e^ε·(1 − TPR) + δ (Wasserman and Zhou 2010; Kairouz, Oh and Viswanath 2015, theorem
2.1), a μ-private one Φ⁻¹(TPR) − Φ⁻¹(FPR) ≤ μ (Dong, Roth and Su 2022, section 2.2). With both rates replaced by
one-sided Clopper–Pearson bounds, what breaks these inequalities disproves the promise (docs/guarantees.md, section 17).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from dp.arrays import Floats
from dp.intervals.binomial import at_least, at_most

CANDIDATES = 400
"""Thresholds that are tried."""

THRESHOLD_CONFIDENCE = 1 - 1e-4
"""Confidence at which thresholds are chosen: the few releases of a far tail must not win by luck."""


class Alarms(NamedTuple):
    """How often a test said "with"; counts, or arrays of them with one entry a threshold.

    Attributes:
        true: of `changed` releases with the change.
        false: of `unchanged` releases without it.
    """

    true: NDArray[np.int64] | int
    changed: int
    false: NDArray[np.int64] | int
    unchanged: int


class Rates(NamedTuple):
    """Rates of a test at their ends of a confidence interval; numbers, or one entry a threshold.

    Attributes:
        true: of true alarms, at its lowest.
        false: of false alarms, at its highest.
    """

    true: Floats
    false: Floats


Evidence = Callable[[Rates], Floats]
"""A lower bound on ε or μ from rates; below 0 where nothing is proved, which still tells good thresholds from poor."""


class BestThreshold(NamedTuple):
    """The threshold from which on "with" proves most, and what it seems to prove."""

    threshold: float
    evidence: float


def epsilon_bound(alarms: Alarms, delta: float, confidence: float) -> Floats:
    """A lower bound on the ε at `delta` of whatever was tested, 0 where nothing is proved; shape of the counts.

    Raises:
        ValueError: delta or confidence is out of range, or there are no trials.
    """
    return np.maximum(epsilon_evidence(rates_of(alarms, confidence), delta), 0.0)


def mu_bound(alarms: Alarms, confidence: float) -> Floats:
    """A lower bound on the μ of whatever was tested, 0 where nothing is proved; shape of the counts.

    Raises:
        ValueError: the confidence is out of range, or there are no trials.
    """
    return np.maximum(mu_evidence(rates_of(alarms, confidence)), 0.0)


def rates_of(alarms: Alarms, confidence: float) -> Rates:
    """Rates which both bound those of the test with probability ≥ `confidence`.

    Raises:
        ValueError: the confidence is out of range, or there are no trials.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1, for instance 0.95")
    if min(alarms.changed, alarms.unchanged) < 1:
        raise ValueError(f"{alarms.changed} and {alarms.unchanged} trials were made; at least 1 is needed of each")
    miss = (1 - confidence) / 2
    return Rates(at_least(alarms.true, alarms.changed, miss), at_most(alarms.false, alarms.unchanged, miss))


def epsilon_evidence(rates: Rates, delta: float) -> Floats:
    """The `Evidence` for ε at `delta`.

    Raises:
        ValueError: delta is out of range.
    """
    if not 0 <= delta < 1:
        raise ValueError(f"delta is {delta}; it must lie between 0 and 1, for instance 1e-6")
    true, false = rates
    return np.maximum(_log_ratio(true - delta, false), _log_ratio(1 - false - delta, 1 - true))


def mu_evidence(rates: Rates) -> Floats:
    """The `Evidence` for μ."""
    return np.asarray(ndtri(rates.true) - ndtri(rates.false))


def best_thresholds(
    unchanged: Floats, changed: Floats, evidences: Sequence[Evidence], confidence: float
) -> list[BestThreshold]:
    """For each kind of evidence the best threshold by these scores; what it proves must be counted on others.

    Args:
        unchanged: scores of releases without the change, shape (trials,).
        changed: scores with the change.
        evidences: what rates prove, for instance `mu_evidence`.
        confidence: of the rates.
    """
    pooled = np.sort(np.concatenate([unchanged, changed]))
    # Dense in both tails, where few releases prove much, and of all values where there are few.
    levels = 1 / (1 + np.exp(-np.linspace(-1, 1, CANDIDATES) * np.log(len(pooled))))
    thresholds = np.unique(pooled[np.minimum((levels * len(pooled)).astype(np.int64), len(pooled) - 1)])
    rates = rates_of(count_alarms(unchanged, changed, thresholds), confidence)
    found = [evidence(rates) for evidence in evidences]
    return [BestThreshold(float(thresholds[values.argmax()]), float(values.max())) for values in found]


def count_alarms(unchanged: Floats, changed: Floats, thresholds: Floats | float) -> Alarms:
    """Alarms of the tests "score ≥ threshold"; arrays where there are several thresholds."""

    def exceeding(scores: Floats) -> NDArray[np.int64]:
        if np.ndim(thresholds) == 0:
            return np.asarray(np.count_nonzero(scores >= thresholds))
        return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")

    return Alarms(exceeding(changed), len(changed), exceeding(unchanged), len(unchanged))


def _log_ratio(upper: Floats, lower: Floats) -> Floats:
    # The rates' bounds are never 0 where they divide: "at most" is positive, and so is one less "at least".
    return np.log(np.maximum(upper, 1e-300) / np.maximum(lower, 1e-300))
