"""What a button does, and what came of it, in the words of the page."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Literal

import streamlit as st

from dp.accounting.composition import Guarantee
from dp.ledger import BudgetExhausted, LedgerError
from experiments.engine.numbers import power_of_ten
from workbench.service import Refused, StoreError, budget_advice, unavailable
from workbench.views.text import literal

Area = Literal["days", "fresh", "events", "feed"]
OUTCOMES = "outcomes"


class FormError(Exception):
    """A form cannot be sent as it is; the message says what is needed, and may hold Markdown."""


@dataclass(frozen=True)
class Notice:
    """What came of the last thing that was done in an area of the page; the text is Markdown."""

    kind: Literal["success", "warning", "error"]
    text: str


def do(area: Area, action: Callable[[], str]) -> None:
    """Do something and remember what came of it, for the drawing that follows.

    Args:
        action: returns what came of it, as Markdown.
    """
    try:
        outcome = Notice("success", action())
    except (FormError, Refused, LedgerError, StoreError, ValueError, sqlite3.DatabaseError) as error:
        outcome = Notice("error", in_words(error))
    st.session_state[OUTCOMES] = {area: outcome}


def follow(field: str, day: date) -> None:
    """A day field shows `day` anew whenever that has changed; only possible before the field is drawn."""
    if field not in st.session_state or st.session_state.get(f"{field}-follows") != day:
        st.session_state[f"{field}-follows"] = st.session_state[field] = day


def show_later(area: Area, outcome: Notice) -> None:
    """Show an outcome in the drawing that follows, beside what came of other things."""
    st.session_state[OUTCOMES] = {**st.session_state.get(OUTCOMES, {}), area: outcome}


def in_words(error: Exception) -> str:
    """What is refused, as Markdown."""
    if isinstance(error, FormError):
        return str(error)
    if isinstance(error, BudgetExhausted):
        return exhausted(error)
    refused = unavailable(error) if isinstance(error, sqlite3.Error) else None
    return literal(str(refused or error))


def exhausted(error: BudgetExhausted) -> str:
    """What was asked, spent and is left, and what to do, in words."""
    budget, asked = error.budget, error.requested
    return (
        f"The budget “{literal(budget.name)}” is {error.reason}, so nothing was released and nothing charged. "
        f"Asked: {_amounts(asked)}. Spent: ε {budget.spent.epsilon:g} of {budget.cap.epsilon:g}, "
        f"δ {power_of_ten(budget.spent.delta)} of {power_of_ten(budget.cap.delta)}. "
        f"Left: {_amounts(budget.remaining)}. {budget_advice(error)}"
    )


def _amounts(guarantee: Guarantee) -> str:
    return f"ε {guarantee.epsilon:g}, δ {power_of_ten(guarantee.delta)}"


def show_outcome(area: Area) -> None:
    """Draw what came of the last thing that was done in an area, if it was done there."""
    outcome = st.session_state.get(OUTCOMES, {}).get(area)
    if outcome is not None:
        icons = {"success": ":material/check_circle:", "warning": ":material/info:", "error": ":material/error:"}
        {"success": st.success, "warning": st.warning, "error": st.error}[outcome.kind](
            outcome.text, icon=icons[outcome.kind]
        )
