"""Releases of one ε each, one after the other: what they compose to, and what each may have (optimal composition)."""

from __future__ import annotations

import math

import numpy as np
import scipy


def segment_epsilon(segments: int, epsilon: float, delta: float) -> float:
    """The largest ε of one segment with which `segments` of them are (epsilon, delta)-DP.

    With delta = 0 that is epsilon/segments; otherwise by optimal composition (`composed_delta`).

    Raises:
        ValueError: segments, epsilon or delta is out of range.
    """
    if segments < 1:
        raise ValueError(f"segments is {segments}; at least 1 is needed")
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon is {epsilon}; it must be positive, for instance 1")
    if not 0 <= delta < 1:
        raise ValueError(f"delta is {delta}; it must be at least 0 and less than 1")
    smallest = epsilon / segments
    if delta == 0:
        return smallest
    largest = epsilon + 2 * math.log(2 / delta)
    if composed_delta(segments, largest, epsilon) <= delta:
        return largest
    root = float(
        scipy.optimize.brentq(
            lambda each: composed_delta(segments, each, epsilon) - delta, smallest, largest, xtol=1e-14
        )
    )
    return max(smallest, root * (1 - 1e-9))


def composed_delta(segments: int, each: float, epsilon: float) -> float:
    """The δ at `epsilon` of `segments` adaptively composed mechanisms, each `each`-DP; no smaller one is true of all.

    Kairouz, Oh, Viswanath, "The composition theorem for differential privacy", 2015, theorem 3.3: that of as many
    randomised responses.
    """
    index = np.arange(segments + 1)
    loss = (segments - 2 * index) * each
    index, loss = index[loss > epsilon], loss[loss > epsilon]
    gammaln = scipy.special.gammaln
    choose = gammaln(segments + 1) - gammaln(index + 1) - gammaln(segments - index + 1)
    log_probability = choose + (segments - index) * each - segments * np.logaddexp(0.0, each)
    return float(np.sum(-np.exp(log_probability) * np.expm1(epsilon - loss)))
