"""The ledger: budgets that cannot be overspent, and releases that cannot be drawn twice."""

from dp.ledger.default_budget import DEFAULT_BUDGET, DEFAULT_CAP, provide_budget
from dp.ledger.ledger import Budget, BudgetExhausted, Charge, Ledger, LedgerError, OtherParameters, open_ledger

__all__ = [
    "DEFAULT_BUDGET", "DEFAULT_CAP", "Budget", "BudgetExhausted", "Charge", "Ledger", "LedgerError", "OtherParameters",
    "open_ledger", "provide_budget",
]  # fmt: skip
