"""The budget that a new ledger gets, so that a first release needs no preparation."""

from __future__ import annotations

from datetime import date

from dp.accounting.composition import Guarantee
from dp.ledger.ledger import Ledger
from dp.ledger.values import Budget, LedgerError

DEFAULT_BUDGET = "default"
DEFAULT_CAP = Guarantee(10.0, 1e-5)


def provide_budget(ledger: Ledger, today: date) -> Budget | None:
    """Give a ledger without any budget the default one, from today on, with no end.

    Returns:
        The budget that was made, by this process or by another at the same moment; None where there were budgets.
    """
    if ledger.budgets():
        return None
    try:
        return ledger.create_budget(DEFAULT_BUDGET, DEFAULT_CAP, today, None)
    except LedgerError:  # another process was first
        return ledger.budget(DEFAULT_BUDGET)
