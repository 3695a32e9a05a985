"""The privacy curve of a loss that has finitely many values, and its inverse."""

from __future__ import annotations

import math

import numpy as np
import scipy

from dp.arrays import Floats


def table_epsilon(losses: Floats, logs: Floats, delta: float) -> float:
    """The smallest ε ≥ 0 with Σ p(1 − e^(ε − ℓ)) ≤ `delta`, the sum over the losses ℓ above ε.

    It is solved on the whole line, and not only where ε is itself a loss. All sums are of positive terms, in
    logarithms.

    Args:
        losses: values of the loss, in rising order.
        logs: ln p of each, shape of `losses`; together the p may be less than 1.
        delta: positive.
    """
    losses, logs = losses[losses > 0], logs[losses > 0]

    def log_delta(at: float) -> float:
        above = losses > at
        if not above.any():
            return -math.inf
        return float(scipy.special.logsumexp(logs[above] + np.log(-np.expm1(at - losses[above]))))

    target = math.log(delta)
    if log_delta(0.0) <= target:
        return 0.0
    # Between two losses the set of terms is fixed; find the two by bisection, then ε between them.
    low, high = -1, len(losses) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if log_delta(losses[middle]) > target:
            low = middle
        else:
            high = middle
    begin = float(losses[low]) if low >= 0 else 0.0
    end = float(losses[high])
    above = slice(high, None)
    top = float(scipy.special.logsumexp(logs[above]))
    if top <= target:
        return begin
    # At `end` the formula without its first term is continuous, so the root lies in (begin, end].
    bottom = float(scipy.special.logsumexp(logs[above] - losses[above]))
    return min(max(top + math.log(-math.expm1(target - top)) - bottom, begin), end)
