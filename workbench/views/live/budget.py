"""The budget, and fresh releases that are charged to it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

import streamlit as st

from dp.ledger import Budget, Charge
from workbench.service import Service, Status
from workbench.views import charts
from workbench.views.live.ledger import is_fresh
from workbench.views.live.outcome import do, show_outcome
from workbench.views.live.watch import Snapshot
from workbench.views.text import day_name


def draw_budget(service: Service, snapshot: Snapshot, charges: Sequence[Charge]) -> None:
    """Draw what is spent and what is left, and the form for a fresh release once a day is closed."""
    with st.container(border=True):
        st.subheader("Budget", anchor=False)
        st.altair_chart(
            charts.budget_chart(_budget_parts(snapshot.budget, charges)),
            width="stretch",
            key="budget",
            alt="Budget spent",
        )
        cap, spent, left = snapshot.budget.cap, snapshot.budget.spent, snapshot.budget.remaining
        st.markdown(
            f"ε **{spent.epsilon:g}** of {cap.epsilon:g} spent, **{left.epsilon:g}** left  \n"
            f"δ **{spent.delta:g}** of {cap.delta:g} spent, **{left.delta:g}** left"
        )
        if snapshot.status.last is not None:
            _fresh(service, snapshot.status)


def _budget_parts(budget: Budget, charges: Sequence[Charge]) -> list[tuple[str, str, float, str]]:
    fresh = [charge for charge in charges if is_fresh(charge) and charge.budget == budget.name]
    parts = []
    for letter, index in (("ε", 0), ("δ", 1)):
        cap, spent, left = budget.cap[index], budget.spent[index], budget.remaining[index]
        for_fresh = sum(charge.guarantee[index] for charge in fresh)
        for kind, amount in (("series", spent - for_fresh), ("fresh releases", for_fresh), ("left", left)):
            # A cap of 0 leaves nothing to show.
            parts.append((letter, kind, max(amount, 0.0) / cap if cap else 0.0, f"{letter} {amount:.6g} of {cap:g}"))
    return parts


def _fresh(service: Service, status: Status) -> None:
    assert status.first is not None
    assert status.last is not None
    with st.form("fresh-release", border=False):
        st.markdown("**Fresh release** of a past day, from the log as it stands now")
        metric_column, day_column = st.columns([1, 2])
        metrics = list(service.settings.series)
        metric_column.selectbox("Metric", metrics, format_func=str.upper, key="fresh-metric")
        day_column.date_input("Day", value=status.last, min_value=status.first, max_value=status.last, key="fresh-day")
        st.form_submit_button(
            "Fresh release",
            icon=":material/refresh:",
            width="stretch",
            on_click=do,
            args=("fresh", lambda: _release_again(service)),
        )
    prices = ", ".join(f"{name.upper()} {one.fresh:g}" for name, one in service.settings.series.items())
    st.caption(f"Charged on its own, on top of the series: ε {prices}. The published day stays as it is.")
    show_outcome("fresh")


def _release_again(service: Service) -> str:
    metric, day = st.session_state["fresh-metric"], st.session_state["fresh-day"]
    row = json.loads(service.fresh(metric, day, str(uuid.uuid4())))
    published = json.loads(service.release(metric, day))
    return (
        f"Fresh {metric.upper()} of {day_name(day)}: {round(row['estimate']):,} "
        f"({row['ci_level']:.0%} interval {charts.interval_ends(row)}); "
        f"published then: {round(published['estimate']):,}. It cost ε {row['epsilon_total']:g}."
    )
