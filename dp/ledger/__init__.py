"""The ledger: budgets that cannot be overspent, and releases that cannot be drawn twice."""

from dp.ledger.ledger import Ledger, open_ledger
from dp.ledger.values import Budget, BudgetExhausted, Charge, LedgerError, OtherParameters

__all__ = ["Budget", "BudgetExhausted", "Charge", "Ledger", "LedgerError", "OtherParameters", "open_ledger"]
