"""What another package may add to dpdau: a mechanism, a sketch and an accountant, each a value and an entry point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dp.accounting import naive
from dp.accounting.accountant import Answer
from dp.accounting.accountants import AccountantFamily
from dp.accounting.mechanism_events import MechanismEvent
from dp.mechanisms import MechanismFamily, Strategy, independent
from dp.sketches import SKETCHES
from dp.units import ProtectedClass


def strategy(protected: ProtectedClass) -> Strategy:
    """Any linear strategy whose bound on the sensitivity is proved; here the identity."""
    return independent.strategy(protected)


WEEKLY = MechanismFamily(
    "gaussian", "needed", "independent Gaussian noise, from another package",
    "2.1", "this example", strategy=strategy,
)  # fmt: skip

SORTED_SET = replace(SKETCHES["exact"], summary="the set of all keys, from another package", source="this example")


def account(parts: Sequence[MechanismEvent], delta: float) -> Answer:
    """Twice what basic composition says: sound, and of no use."""
    answer = naive.account(parts, delta)
    return answer if answer.epsilon is None else replace(answer, epsilon=2 * answer.epsilon, exact=False)


TWICE = AccountantFamily(account, "twice the sum")
