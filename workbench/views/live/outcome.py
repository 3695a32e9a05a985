"""What a button does, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import streamlit as st

from dp.ledger import BudgetExhausted, LedgerError
from workbench.service import Refused, StoreError, budget_advice

Area = Literal["days", "fresh", "events"]
OUTCOMES = "outcomes"


@dataclass(frozen=True)
class Notice:
    """What came of the last thing that was done in an area of the page."""

    kind: Literal["success", "warning", "error"]
    text: str


def do(area: Area, action: Callable[[], str]) -> None:
    """Do something and remember what came of it, for the drawing that follows."""
    try:
        outcome = Notice("success", action())
    except BudgetExhausted as error:
        outcome = Notice("error", exhausted(error))
    except (Refused, LedgerError, StoreError, ValueError) as error:
        outcome = Notice("error", str(error))
    st.session_state[OUTCOMES] = {area: outcome}


def show_later(area: Area, outcome: Notice) -> None:
    """Show an outcome in the drawing that follows, beside what came of other things."""
    st.session_state[OUTCOMES] = {**st.session_state.get(OUTCOMES, {}), area: outcome}


def exhausted(error: BudgetExhausted) -> str:
    """What was asked, spent and is left, and what to do, in words."""
    budget, asked = error.budget, error.requested
    return (
        f"The budget “{budget.name}” is {error.reason}, so nothing was released and nothing charged. "
        f"Asked: ε {asked.epsilon:g}, δ {asked.delta:g}. "
        f"Spent: ε {budget.spent.epsilon:g} of {budget.cap.epsilon:g}, δ {budget.spent.delta:g} of "
        f"{budget.cap.delta:g}. Left: ε {budget.remaining.epsilon:g}, δ {budget.remaining.delta:g}. "
        f"{budget_advice(error)}"
    )


def show_outcome(area: Area) -> None:
    """Draw what came of the last thing that was done in an area, if it was done there."""
    outcome = st.session_state.get(OUTCOMES, {}).get(area)
    if outcome is not None:
        icons = {"success": ":material/check_circle:", "warning": ":material/info:", "error": ":material/error:"}
        {"success": st.success, "warning": st.warning, "error": st.error}[outcome.kind](
            outcome.text, icon=icons[outcome.kind]
        )
