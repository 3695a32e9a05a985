"""What errors of a test prove: lower bounds on ε and μ from counted true and false alarms.

Whoever must tell a release with a protected change from one without, and says "with" on an event E, is right with
probability TPR = P(E | with) and wrong with FPR = P(E | without). An (ε, δ)-private mechanism keeps
TPR ≤ e^ε·FPR + δ and 1 − FPR ≤ e^ε·(1 − TPR) + δ (Wasserman and Zhou 2010; Kairouz, Oh and Viswanath 2015, theorem
2.1), a μ-private one Φ⁻¹(TPR) − Φ⁻¹(FPR) ≤ μ (Dong, Roth and Su 2022, section 2.2). With both rates replaced by
one-sided Clopper–Pearson bounds, what breaks these inequalities disproves the promise (docs/guarantees.md, section 17).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from dp.intervals.binomial import at_least, at_most

Floats = NDArray[np.float64]

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


def epsilon_bound(alarms: Alarms, delta: float, confidence: float) -> Floats:
    """A lower bound on the ε at `delta` of whatever was tested, 0 where nothing is proved; shape of the counts.

    Raises:
        ValueError: delta or confidence is out of range, or there are no trials.
    """
    return np.maximum(epsilon_evidence(alarms, delta, confidence), 0.0)


def mu_bound(alarms: Alarms, confidence: float) -> Floats:
    """A lower bound on the μ of whatever was tested, 0 where nothing is proved; shape of the counts."""
    return np.maximum(mu_evidence(alarms, confidence), 0.0)


def epsilon_evidence(alarms: Alarms, delta: float, confidence: float) -> Floats:
    """As `epsilon_bound`, but below 0 where nothing is proved, which still tells good thresholds from poor ones."""
    true, false = _rates(alarms, confidence)
    if not 0 <= delta < 1:
        raise ValueError(f"delta is {delta}; it must lie between 0 and 1, for instance 1e-6")
    return np.maximum(_log_ratio(true - delta, false), _log_ratio(1 - false - delta, 1 - true))


def mu_evidence(alarms: Alarms, confidence: float) -> Floats:
    """As `mu_bound`, but below 0 where nothing is proved."""
    true, false = _rates(alarms, confidence)
    return np.asarray(ndtri(true) - ndtri(false))


def best_threshold(unchanged: Floats, changed: Floats, bound: Callable[[Alarms], Floats]) -> float:
    """The score from which on "with" proves most by these scores; what it proves must be counted on others.

    Args:
        unchanged: scores of releases without the change, shape (trials,).
        changed: with it.
        bound: what alarms prove, for instance `mu_evidence` at a confidence.
    """
    pooled = np.sort(np.concatenate([unchanged, changed]))
    # Dense in both tails, where few releases prove much, and of all values where there are few.
    levels = 1 / (1 + np.exp(-np.linspace(-1, 1, CANDIDATES) * np.log(len(pooled))))
    thresholds = np.unique(pooled[np.minimum((levels * len(pooled)).astype(np.int64), len(pooled) - 1)])
    return float(thresholds[np.argmax(bound(count_alarms(unchanged, changed, thresholds)))])


def count_alarms(unchanged: Floats, changed: Floats, thresholds: Floats | float) -> Alarms:
    """Alarms of the tests "score ≥ threshold"; arrays where there are several thresholds."""

    def exceeding(scores: Floats) -> NDArray[np.int64]:
        if np.ndim(thresholds) == 0:
            return np.asarray(np.count_nonzero(scores >= thresholds))
        return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")

    return Alarms(exceeding(changed), len(changed), exceeding(unchanged), len(unchanged))


def _rates(alarms: Alarms, confidence: float) -> tuple[Floats, Floats]:
    """The true rate at its lowest and the false one at its highest; both hold with probability ≥ `confidence`."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1, for instance 0.95")
    if min(alarms.changed, alarms.unchanged) < 1:
        raise ValueError(f"{alarms.changed} and {alarms.unchanged} trials were made; at least 1 is needed of each")
    miss = (1 - confidence) / 2
    return at_least(alarms.true, alarms.changed, miss), at_most(alarms.false, alarms.unchanged, miss)


def _log_ratio(upper: Floats, lower: Floats) -> Floats:
    # The rates' bounds are never 0 where they divide: "at most" is positive, and so is one less "at least".
    return np.log(np.maximum(upper, 1e-300) / np.maximum(lower, 1e-300))
