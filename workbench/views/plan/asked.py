"""The part of the page about a whole dashboard: flows, weeks, months and segments are added here."""

from __future__ import annotations

from typing import Any

import msgspec
import pandas as pd
import streamlit as st

from dp.names import DATA_DEPENDENT_MECHANISMS, DEFAULT_MECHANISM, METRICS
from workbench.rows import TableRow
from workbench.service.promise import spelt
from workbench.service.question_settings import BreakdownSettings
from workbench.views.drawing import draw_chart
from workbench.views.jobs.job import Tables
from workbench.views.plan.dashboard import breakdowns, release_command, service_cost, service_delta, service_settings
from workbench.views.plan.research import EQUAL, SPLITS, PlanQuestion
from workbench.views.strip import StripChoice
from workbench.views.text import literal

KINDS = ("last", "any", "any:2", "any:3", "fixed")
MOST_BREAKDOWNS = 3
CELLS = ("flows of DAU", "flows of WAU", "flows of MAU", "week", "month")
NAME_WIDTH, KIND_WIDTH, VALUES_WIDTH = 140, 180, 300


def with_more(question: PlanQuestion, choice: StripChoice) -> PlanQuestion:
    """Draw the choosers of what is asked besides DAU, WAU and MAU; returns the question with it."""
    # Closed, because the answer stands below it on a narrow screen; open for whoever has chosen something in it.
    chosen = any(name in st.query_params for name in ("plan_cells", "plan_by_1"))
    with st.expander("Add flows, weeks, months and segments", icon=":material/dashboard_customize:", expanded=chosen):
        cells = st.pills(
            "Besides DAU, WAU and MAU", CELLS, selection_mode="multi", key="plan_cells", bind="query-params",
            help="Flows: who comes into the window, new or again, and who leaves it. Week and month: published once, "
            "on the last day.",
        )  # fmt: skip
        by = _breakdowns()
        split = st.segmented_control(
            "Split the budget", SPLITS, default=EQUAL, required=True, key="plan_split", bind="query-params",
            help="Relative to the expected counts: segments that are listed are taken to be alike, a week as large as "
            "WAU, a month as MAU, and flows as a window's users by its days.",
        )  # fmt: skip
    found = msgspec.structs.replace(
        question,
        flows=tuple(metric for metric in METRICS if f"flows of {metric.upper()}" in cells),
        calendar=tuple(cell for cell in ("week", "month") if cell in cells),
        by=by,
    )
    if not found.asks_more:
        return question
    mechanism = DEFAULT_MECHANISM if choice.mechanism in DATA_DEPENDENT_MECHANISMS else choice.mechanism
    return msgspec.structs.replace(found, split=split or EQUAL, mechanism=mechanism)


def _breakdowns() -> dict[str, BreakdownSettings]:
    """The breakdowns that are written; one more can be, until there are MOST_BREAKDOWNS."""
    found: dict[str, BreakdownSettings] = {}
    for number in range(1, MOST_BREAKDOWNS + 1):
        with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
            name = st.text_input(
                f"Breakdown {number}", placeholder="platform", key=f"plan_by_{number}", bind="query-params",
                width=NAME_WIDTH,
            )  # fmt: skip
            values = st.text_input(
                f"Values of breakdown {number}", placeholder="ios, android, web", key=f"plan_values_{number}",
                bind="query-params", width=VALUES_WIDTH,
                help="Public values, with commas between. Everything else counts as other.",
            )  # fmt: skip
            kind = st.selectbox(
                f"Kind of breakdown {number}", KINDS, key=f"plan_kind_{number}", bind="query-params", width=KIND_WIDTH,
                help="last: the segment of the last activity. any: every segment in which a user was active; of one "
                "day at most so many count. fixed: an attribute of the user, from a table of users.",
            )  # fmt: skip
        listed = tuple(value.strip() for value in (values or "").split(",") if value.strip())
        if not (name or "").strip() and not listed:
            break
        one = BreakdownSettings(kind=kind, values=listed)
        try:
            if name.strip() in found:
                raise ValueError(f"breakdown {name.strip()!r} is given twice; each has a name of its own")
            one.named(name.strip())
        except ValueError as error:
            st.error(f"Not added: {literal(str(error))}", icon=":material/error:")
        else:
            found[name.strip()] = one
    return found


def draw_dashboard(question: PlanQuestion, tables: Tables, charts: Any) -> None:
    """Draw what the whole dashboard costs as one release, how every question errs, and how to ask for it."""
    rows = tables["dashboard"]
    with st.container(border=True):
        st.header("The whole dashboard", anchor=False)
        st.markdown(dashboard_sentence(question, rows))
        draw_chart(
            charts["dashboard"], key="dashboard", words="How the budget is split between the questions of the dashboard"
        )
        st.dataframe(dashboard_table(rows), hide_index=True, width="stretch", key="plan-dashboard")
        release, service = st.tabs(["One release of a log", "dpdau.toml of the live service"])
        release.code(release_command(question, rows), language="bash", wrap_lines=True)
        if any(one.kind == "fixed" for one in breakdowns(question)):
            service.markdown("A live service has no table of users, so that it publishes no breakdown of kind fixed.")
        else:
            service.code(service_settings(question, rows), language="toml", wrap_lines=True)
            service.caption(
                "For the file below, with DAU, WAU and MAU. The service charges each question on its own, so "
                f"budget_epsilon needs {service_cost(rows):.6g} more, and budget_delta "
                f"{service_delta(question, rows):.6g}."
            )


def dashboard_sentence(question: PlanQuestion, rows: list[TableRow]) -> str:
    """What one release of everything takes, in words."""
    series = sum(row["series"] for row in rows)
    return (
        f"One release of all {len(rows)} questions with {series:,} series, by **{question.mechanism}**, takes "
        f"ε **{question.epsilon:g}** once, which they share: {question.split}. A question costs the same, however "
        "many segments it has."
    )


def dashboard_table(rows: list[TableRow]) -> pd.DataFrame:
    """A row a question: its share, its ε on its own, its errors in users and in per cent."""
    return pd.DataFrame(
        [
            {
                "question": spelt(row["name"]),
                "series": row["series"],
                "share": f"{row['share']:.1%}",
                "ε on its own": float(f"{row['epsilon']:.4g}"),
                "std [users]": float(f"{row['std']:.4g}"),
                "95 of 100 within ± [users]": float(f"{row['half_width']:.4g}"),
                "expected": float(f"{row['expected']:.4g}"),
                "std [%]": float(f"{row['std_percent']:.3g}"),
            }
            for row in rows
        ]
    )
