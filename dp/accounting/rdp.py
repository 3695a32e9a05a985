"""Rényi differential privacy: the divergences of each order add up (Mironov 2017, proposition 1).

Google's dp-accounting knows the curves of Gaussian, zCDP and Laplace releases. Its randomised response loses digits
for a small ε, and it has no discrete Gaussian; those are done here, the latter by its ρ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy

from dp.accounting import zcdp
from dp.accounting.accountant import Answer, found, lacking, not_applicable, pure_sum, without_delta
from dp.accounting.composition import renyi_epsilon
from dp.accounting.mechanism_events import MechanismEvent
from dp.arrays import Floats


def account(parts: Sequence[MechanismEvent], delta: float) -> Answer:
    """ε by the best order of the summed curve; order ∞ is the sum of pure ε."""
    if delta == 0:
        return without_delta(parts, "no finite divergence of order ∞: not every release is pure")
    if names := lacking(parts, "rho"):
        return not_applicable(f"no finite Rényi divergence: {names}")
    symmetric = [part for part in parts if _is_symmetric(part)]
    known = [part for part in parts if not _is_symmetric(part)]

    def curve(orders: Floats) -> Floats:
        values = _library_curve(known, orders)
        for part in symmetric:
            values = values + part.count * symmetric_divergence(part, orders)
        return values

    # Orders are searched for; `zcdp` may have found one that is better by a rounding.
    bounds = (renyi_epsilon(curve, delta), zcdp.account(parts, delta).epsilon, pure_sum(parts))
    return found(min(bound for bound in bounds if bound is not None))


def symmetric_divergence(part: MechanismEvent, orders: Floats) -> Floats:
    """D_α of a discrete loss that is finite and symmetric; shape of `orders`.

    A loss ℓ > 0 of probability p comes with −ℓ of probability pe^(−ℓ), and the two together add
    p(e^((α−1)ℓ) − 1)(1 − e^(−αℓ)) to E e^((α−1)L) − 1: no term cancels another, however small ℓ is.
    """
    losses = np.array(part.losses)
    weights = np.array(part.probabilities)
    positive = (losses > 0) & (weights > 0)
    losses, weights = losses[positive, np.newaxis], weights[positive, np.newaxis]
    rest = orders - 1
    # log(e^x − 1) = x + log(1 − e^(−x))
    logs = np.log(weights) + rest * losses + np.log(-np.expm1(-rest * losses)) + np.log(-np.expm1(-orders * losses))
    divergence: Floats = np.logaddexp(0.0, scipy.special.logsumexp(logs, axis=0)) / rest
    return divergence


def _is_symmetric(part: MechanismEvent) -> bool:
    # A discrete Gaussian's loss has no end; the table stops, and high orders need what is beyond.
    return part.loss == "discrete" and part.pure


def _library_curve(parts: Sequence[MechanismEvent], orders: Floats) -> Floats:
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(orders=orders)
    for part in parts:
        accountant.compose(_event(part), part.count)
    curve: Floats = accountant.rdp
    return curve


def _event(part: MechanismEvent) -> Any:
    from dp_accounting import GaussianDpEvent, LaplaceDpEvent, ZCDpEvent

    if part.gaussian and part.mu is not None:
        return GaussianDpEvent(1 / part.mu)
    if part.loss == "laplace" and part.epsilon is not None:
        return LaplaceDpEvent(1 / part.epsilon)
    return ZCDpEvent(rho=part.rho)
