"""The values of a ledger: budgets, charges, errors, and amounts in whole units.

Amounts are whole nano-units of ε and atto-units of δ, rounded up, so that a tiny charge is never lost and sums are
exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any

from dp.accounting.composition import Guarantee

EPSILON_UNITS = 10**9
DELTA_UNITS = 10**18


class LedgerError(Exception):
    """The ledger refuses a request; nothing was changed."""


class LedgerUnavailable(LedgerError):  # noqa: N818 - the name says what is so
    """The database that the ledger lies in cannot be used now; a commit that was under way may have succeeded."""


class OtherParameters(LedgerError):  # noqa: N818 - the name says what happened
    """A stream exists that was opened with other parameters.

    Attributes:
        differences: the parameters that differ, with both values, in words.
    """

    def __init__(self, stream: str, opened: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        self.differences = "; ".join(
            f"{key} is {asked.get(key, 'missing')!r} now and was {opened.get(key, 'missing')!r}"
            for key in sorted({*opened, *asked})
            if opened.get(key, "missing") != asked.get(key, "missing")
        )
        super().__init__(
            f"stream {stream!r} was opened with other parameters ({self.differences}); "
            "ask for the same again, or open another --stream, which is charged again"
        )


class BudgetExhausted(LedgerError):  # noqa: N818 - the name says what happened
    """A charge does not fit into what is left of its budget.

    Attributes:
        budget: the budget as it stands.
        requested: what was asked for.
        reason: "exhausted", or "too small" where the cap would not do even if nothing were spent.
    """

    def __init__(self, budget: Budget, requested: Guarantee) -> None:
        self.budget = budget
        self.requested = requested
        fits = requested.epsilon <= budget.cap.epsilon and requested.delta <= budget.cap.delta
        self.reason = "exhausted" if fits else "too small"
        super().__init__(
            f"budget {budget.name!r} is {self.reason}: "
            f"requested epsilon {requested.epsilon:g}, delta {requested.delta:g}; "
            f"spent epsilon {budget.spent.epsilon:g} of {budget.cap.epsilon:g}, "
            f"delta {budget.spent.delta:g} of {budget.cap.delta:g}; "
            f"remaining epsilon {budget.remaining.epsilon:g}, delta {budget.remaining.delta:g}"
        )


@dataclass(frozen=True)
class Budget:
    """A budget as it stands.

    Attributes:
        name: unique in the ledger.
        starts: the first day on which it may be spent.
        ends: the last such day; None: it never ends.
        cap: what may be spent in all.
        spent: what has been spent.
        remaining: what is left.
    """

    name: str
    starts: date
    ends: date | None
    cap: Guarantee
    spent: Guarantee
    remaining: Guarantee

    @property
    def period(self) -> str:
        """The period in words."""
        return f"from {self.starts} on, never reset" if self.ends is None else f"{self.starts} to {self.ends}"


@dataclass(frozen=True)
class Charge:
    """One entry of the ledger.

    Attributes:
        sequence: the number of the entry, ascending in time.
        stream: the stream that was charged, once.
        budget: the name of the budget that it was charged to.
        guarantee: the amount.
        specification: what was paid for.
        charged_at: ISO 8601, to the second.
    """

    sequence: int
    stream: str
    budget: str
    guarantee: Guarantee
    specification: dict[str, Any]
    charged_at: str

    @property
    def last_day(self) -> date | None:
        """The last day that the charge covers; None: it covers all days from the first on."""
        horizon = self.specification["horizon"]
        first = date.fromisoformat(self.specification["first"])
        return None if horizon is None else first + timedelta(days=horizon - 1)

    def outlives(self, budget: Budget) -> bool:
        """Whether days are covered that come after the period of the budget that was charged."""
        return budget.ends is not None and (self.last_day is None or self.last_day > budget.ends)


def whole_units(amount: float, units: int) -> int:
    """Whole units, rounded up from the shortest decimal that means this float: ten charges of 0.1 are exactly 1."""
    return int((Decimal(repr(float(amount))) * units).to_integral_value(ROUND_CEILING))


def guarantee_of(epsilon: int, delta: int) -> Guarantee:
    """The guarantee that these units mean."""
    return Guarantee(float(Decimal(epsilon) / EPSILON_UNITS), float(Decimal(delta) / DELTA_UNITS))
