"""The ledger: budgets that cannot be overspent, and releases that cannot be drawn twice."""

from dp.ledger.default_budget import DEFAULT_BUDGET, DEFAULT_CAP, provide_budget
from dp.ledger.ledger import Ledger, has_ledger, open_ledger
from dp.ledger.values import Budget, BudgetExhausted, Charge, LedgerError, LedgerUnavailable, OtherParameters

__all__ = [
    "DEFAULT_BUDGET", "DEFAULT_CAP", "Budget", "BudgetExhausted", "Charge", "Ledger", "LedgerError",
    "LedgerUnavailable", "OtherParameters", "has_ledger", "open_ledger", "provide_budget",
]  # fmt: skip
