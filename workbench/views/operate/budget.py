"""The budget, how many releases it still has room for, and fresh releases that are charged to it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import date

import streamlit as st

from dp.accounting.composition import Guarantee, basic
from dp.ledger import Budget, Charge
from dp.ledger.values import DELTA_UNITS, EPSILON_UNITS, whole_units
from dp.presence.daily import EPOCH
from dp.release import charged
from experiments.engine.numbers import power_of_ten, signed
from workbench.service import Service, Settings, Status
from workbench.service.promise import spelt
from workbench.views import charts
from workbench.views.operate.ledger import is_fresh
from workbench.views.operate.outcome import FormError, do, follow, show_outcome
from workbench.views.text import day_name, literal


def draw_budget(service: Service, status: Status, budgets: Sequence[Budget], charges: Sequence[Charge]) -> None:
    """Draw what is spent and what is left, and the form for a fresh release once a day is closed.

    Args:
        budgets: that of the service and, where it is another one, that of fresh releases.
        charges: all that were made, oldest first.
    """
    with st.container(border=True):
        st.header("Budget", anchor=False)
        for budget in budgets:
            _draw_one(budget, charges, named=len(budgets) > 1)
        st.markdown(releases_left(service.settings, budgets))
        if status.last is not None:
            _fresh(service, status)


def _draw_one(budget: Budget, charges: Sequence[Charge], *, named: bool) -> None:
    if named:
        st.markdown(f"**{literal(budget.name)}**")
    st.vega_lite_chart(
        charts.budget_table(_budget_parts(budget, charges)),
        json.loads(charts.budget_specification()),
        width="stretch",
        key=f"budget-{budget.name}",
        alt="Budget spent",
    )
    cap, spent, left = budget.cap, budget.spent, budget.remaining
    st.markdown(
        f"ε **{spent.epsilon:g}** of {cap.epsilon:g} spent, **{left.epsilon:g}** left  \n"
        f"δ **{power_of_ten(spent.delta)}** of {power_of_ten(cap.delta)} spent, **{power_of_ten(left.delta)}** left"
    )


def _budget_parts(budget: Budget, charges: Sequence[Charge]) -> list[charts.BudgetPart]:
    fresh = [charge for charge in charges if is_fresh(charge) and charge.budget == budget.name]
    parts = []
    for letter, index in (("ε", 0), ("δ", 1)):
        cap, spent, left = budget.cap[index], budget.spent[index], budget.remaining[index]
        for_fresh = sum(charge.guarantee[index] for charge in fresh)
        for kind, amount in (("series", spent - for_fresh), ("fresh releases", for_fresh), ("left", left)):
            # A cap of 0 leaves nothing to show.
            parts.append((letter, kind, max(amount, 0.0) / cap if cap else 0.0, f"{letter} {amount:.6g} of {cap:g}"))
    return parts


def releases_left(settings: Settings, budgets: Sequence[Budget]) -> str:
    """A Markdown table: how many more fresh releases and whole series of each question the budgets have room for.

    Args:
        budgets: that of the service and, where it is another one, that of fresh releases.
    """
    series = {name: charged(request) for name, request in settings.requests(EPOCH).items()}
    fresh = {metric: charged(settings.fresh_request(metric, EPOCH)) for metric in settings.series}
    left, left_for_fresh = budgets[0].remaining, budgets[-1].remaining
    lines = ["| What still fits | fresh releases | ε each | whole series | ε each |", "|---|---:|---:|---:|---:|"]
    for name, cost in series.items():
        # Of questions besides the metrics, no day is released anew.
        again = _cells(left_for_fresh, fresh[name]) if name in fresh else "| – | – "
        # Blanks, so that a narrow column can break the name.
        words = literal(spelt(name).replace("/", " / "))
        lines.append(f"| {words} {again}{_cells(left, cost)}|")
    cells = _cells(left_for_fresh, basic(fresh.values())) + _cells(left, basic(series.values()))
    lines.append(f"| {'all' if settings.asked else 'all three'} {cells}|")
    return "\n".join(lines)


def _cells(left: Guarantee, cost: Guarantee) -> str:
    return f"| **{how_often(left, cost):,}** | {cost.epsilon:g} "


def how_often(left: Guarantee, cost: Guarantee) -> int:
    """How many charges of `cost` fit into what is left, counted in the ledger's whole units."""
    parts = [
        whole_units(amount, units) // whole_units(price, units)
        for amount, price, units in zip(left, cost, (EPSILON_UNITS, DELTA_UNITS), strict=True)
        if price > 0
    ]
    return max(0, min(parts))


def _fresh(service: Service, status: Status) -> None:
    assert status.first is not None
    assert status.last is not None
    follow("fresh-day", status.last)
    with st.form("fresh-release", border=False):
        st.markdown("**Fresh release** of a past day, from the log as it stands now")
        metric_column, day_column = st.columns([1, 2])
        metrics = list(service.settings.series)
        metric_column.selectbox("Metric", metrics, format_func=str.upper, key="fresh-metric", persist_state="session")
        day_column.date_input("Day", min_value=status.first, max_value=status.last, key="fresh-day")
        st.form_submit_button(
            "Fresh release",
            icon=":material/refresh:",
            width="stretch",
            on_click=do,
            args=("fresh", lambda: _release_again(service)),
        )
    st.caption("Charged on its own, on top of the series. The published day stays as it is.")
    show_outcome("fresh")


def _release_again(service: Service) -> str:
    metric, day = st.session_state["fresh-metric"], st.session_state["fresh-day"]
    if not isinstance(day, date):
        raise FormError("Give a day.")
    row = json.loads(service.fresh(metric, day, str(uuid.uuid4())))
    published = json.loads(service.release(metric, day))
    return (
        f"Fresh {metric.upper()} of {day_name(day)}: {signed(row['estimate'])} ({_interval(row)}); "
        f"published then: {signed(published['estimate'])}. It cost ε {row['epsilon_total']:g}."
    )


def _interval(row: Mapping[str, float]) -> str:
    # A fresh release is a linear mechanism over one tick and has an interval always.
    return f"{row['ci_level']:.0%} interval {signed(row['ci_low'])} to {signed(row['ci_high'])}"
