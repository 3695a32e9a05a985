"""The ledger: budgets that cannot be overspent, and releases that cannot be drawn twice."""

from dp.ledger.ledger import Budget, BudgetExhausted, Charge, Ledger, LedgerError, OtherParameters, open_ledger

__all__ = ["Budget", "BudgetExhausted", "Charge", "Ledger", "LedgerError", "OtherParameters", "open_ledger"]
