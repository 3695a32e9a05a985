"""Budgets and charges as rows, one shape for the command line and for HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dp.ledger import Budget, Charge
from dp.questions import question_from
from workbench.service.periods import Period


def budget_row(budget: Budget) -> dict[str, Any]:
    """A budget as it stands."""
    return {
        "budget": budget.name,
        "period": budget.period,
        "epsilon_cap": budget.cap.epsilon,
        "epsilon_spent": budget.spent.epsilon,
        "epsilon_remaining": budget.remaining.epsilon,
        "delta_cap": budget.cap.delta,
        "delta_spent": budget.spent.delta,
        "delta_remaining": budget.remaining.delta,
    }


def period_row(period: Period) -> dict[str, Any]:
    """A period: its days, and what it is charged to which budget."""
    charge = period.charge
    return {
        "period": period.number,
        "first_day": period.first.isoformat(),
        "last_day": period.last and period.last.isoformat(),
        "budget": period.budget,
        "epsilon": charge.epsilon,
        "delta": charge.delta,
    }


def _asked(specification: Mapping[str, Any]) -> list[str]:
    """The names of the metrics and of all other questions."""
    others = map(question_from, specification.get("questions", ()))
    return [*specification["windows"], *(question.name for question in others)]


def charge_row(charge: Charge) -> dict[str, Any]:
    """A charge: when, to what, how much and what for."""
    return {
        "stream": charge.stream,
        "budget": charge.budget,
        "charged_at": charge.charged_at,
        "epsilon": charge.guarantee.epsilon,
        "delta": charge.guarantee.delta,
        "metrics": "+".join(_asked(charge.specification)),
        "unit": charge.specification["unit"],
        "mechanism": charge.specification["mechanism"],
        "first_day": charge.specification["first"],
        "last_day": charge.last_day and charge.last_day.isoformat(),
    }
