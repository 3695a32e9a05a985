"""The one line on every page: who is protected, by which mechanism, and what is spent so far."""

from __future__ import annotations

import streamlit as st

from dp.ledger import Budget
from experiments.engine.numbers import power_of_ten
from workbench.service import Service, Settings

WHOM = {"user": "everything that a user ever does", "user-day": "what one user does on one day"}


def draw_standing(service: Service) -> None:
    """Draw the line; it is read anew with every drawing of a page."""
    st.markdown(standing(service.settings, service.budget()))


def standing(settings: Settings, budget: Budget) -> str:
    """The line in words. Series that run alike are named together."""
    groups: dict[str, list[str]] = {}
    for metric, one in settings.series.items():
        groups.setdefault(WHOM[one.unit], []).append(f"{metric.upper()} by {one.mechanism}")
    parts = [f"**{whom}** ({', '.join(series)})" for whom, series in groups.items()]
    spent, cap = budget.spent, budget.cap
    left = "nothing is left" if budget.remaining.epsilon <= 0 else f"ε {budget.remaining.epsilon:g} left"
    return (
        f":material/verified_user: Protected: {'; '.join(parts)}. Spent so far: **ε {spent.epsilon:g} of "
        f"{cap.epsilon:g}**, δ {power_of_ten(spent.delta)} of {power_of_ten(cap.delta)}; {left}."
    )
