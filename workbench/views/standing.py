"""The one line on every page: who is protected, by which mechanism, and what is spent so far."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dp.ledger import Budget
from dp.presence.daily import EPOCH
from experiments.engine.numbers import power_of_ten
from workbench.service import Service, Settings
from workbench.service.promise import spelt
from workbench.views.text import literal

WHOM = {"user": "everything that a user ever does", "user-day": "what one user does on one day"}


def draw_standing(service: Service) -> None:
    """Draw the line; it is read anew with every drawing of a page."""
    st.markdown(standing(service.settings, service.budgets()))


def standing(settings: Settings, budgets: Sequence[Budget]) -> str:
    """The line in words. Series that run alike are named together.

    Args:
        budgets: that of the service and, where it is another one, that of fresh releases.
    """
    groups: dict[str, dict[str, list[str]]] = {}
    for name, one in settings.requests(EPOCH).items():
        groups.setdefault(WHOM[one.unit], {}).setdefault(one.mechanism, []).append(literal(spelt(name)))
    parts = []
    for whom, mechanisms in groups.items():
        series = ", ".join(f"{_listed(names)} by {name}" for name, names in mechanisms.items())
        parts.append(f"**{whom}** ({series})")
    return f":material/verified_user: Protected: {'; '.join(parts)}. {spent_words(budgets)}"


def _listed(names: Sequence[str]) -> str:
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def spent_words(budgets: Sequence[Budget]) -> str:
    """What is spent so far, and what is left."""
    if len(budgets) == 1:
        return f"Spent so far: {_spent(budgets[0])}."
    parts = [f"{_spent(budget)} (budget {literal(budget.name)})" for budget in budgets]
    return f"Spent so far: {'; and '.join(parts)}."


def _spent(budget: Budget) -> str:
    spent, cap, left = budget.spent, budget.cap, budget.remaining
    still = f"ε {left.epsilon:g} and δ {power_of_ten(left.delta)} left" if left.epsilon > 0 else "nothing is left"
    return (
        f"**ε {spent.epsilon:g} of {cap.epsilon:g}**, δ {power_of_ten(spent.delta)} of {power_of_ten(cap.delta)}; "
        f"{still}"
    )
