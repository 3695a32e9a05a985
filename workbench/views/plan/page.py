"""The page *Plan*: state the error that can be lived with, and see what it costs and how to start it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from dp.names import METRICS
from experiments.engine.numbers import power_of_ten
from workbench.rows import TableRow
from workbench.views.answering import show_answer
from workbench.views.drawing import draw_chart
from workbench.views.jobs.job import Tables
from workbench.views.plan.asked import draw_dashboard, with_more
from workbench.views.plan.research import PlanQuestion, plan_charts
from workbench.views.plan.settings import pairs_of, settings_command, settings_file
from workbench.views.strip import SLIDER_WIDTH, StripChoice
from workbench.views.text import literal

HORIZONS = (30, 60, 90, 180, 365, 730, 1095)
EXPECTED = {"dau": 5_000, "wau": 12_000, "mau": 20_000}
MOST_EXPECTED = 10**9
NUMBER_WIDTH = 140
IN_PERCENT, IN_USERS = "per cent", "users"
WHETHER = {"user": "a person was ever active", "user-day": "a person was active on one given day"}


def page(choice: StripChoice, cache: Path) -> None:
    """Draw the page.

    Args:
        cache: folder of the experiments' shards.
    """
    st.title("Plan", anchor=False)
    show_answer(cache, with_more(_question(choice), choice), _draw)
    st.caption(
        "Accuracy first: state the error that you can live with, as a standard deviation; two of three published "
        "numbers are nearer. Everything is computed by formula: no data is used and no budget is spent. "
        "Metric and mechanism above are not used here: the plan has all three metrics, each by the mechanism that "
        "needs the least ε. Only a dashboard with flows, weeks, months or segments is planned by that mechanism."
    )


def _question(choice: StripChoice) -> PlanQuestion:
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom", key="plan-controls"):
        unit = st.segmented_control(
            "Error in", [IN_PERCENT, IN_USERS], default=IN_PERCENT, required=True, key="plan_in", bind="query-params",
        )  # fmt: skip
        horizon = st.select_slider(
            "Days (horizon)", HORIZONS, 365, format_func=lambda days: f"{days:,}", key="plan_days",
            bind="query-params", width=SLIDER_WIDTH, help="Of daily releases that the guarantee covers.",
        )  # fmt: skip
        asked = {metric: _asked(metric, unit or IN_PERCENT) for metric in METRICS}
    expected = tuple(count for count, _ in asked.values())
    errors = tuple(float(f"{error:.6g}") for _, error in asked.values())
    return PlanQuestion(
        unit=choice.unit, epsilon=choice.epsilon, delta=choice.delta, w_bound=choice.w_bound, horizon=horizon,
        expected=(expected[0], expected[1], expected[2]), errors=(errors[0], errors[1], errors[2]),
    )  # fmt: skip


def _asked(metric: str, unit: str) -> tuple[int, float]:
    """The expected count of a metric and its error in users."""
    name = metric.upper()
    count = st.number_input(
        f"{name} expected", 1, MOST_EXPECTED, EXPECTED[metric], key=f"plan_{metric}", bind="query-params",
        width=NUMBER_WIDTH,
    )  # fmt: skip
    if unit == IN_USERS:
        error = st.number_input(
            f"{name} error [users]", 0.1, float(MOST_EXPECTED), EXPECTED[metric] / 100, format="%g",
            key=f"plan_{metric}_users", bind="query-params", width=NUMBER_WIDTH,
        )  # fmt: skip
        return count, error
    percent = st.number_input(
        f"{name} error [%]", 0.001, 100.0, 1.0, step=0.1, format="%g", key=f"plan_{metric}_percent",
        bind="query-params", width=NUMBER_WIDTH,
    )  # fmt: skip
    return count, count * percent / 100


def _draw(question: PlanQuestion, tables: Tables) -> None:
    (total,) = tables["total"]
    verdict, icon = verdict_of(question, tables["plan"], total)
    (st.success if total["fits"] else st.warning)(verdict, icon=icon)
    charts = plan_charts(question, tables)
    if "dashboard" in tables:
        draw_dashboard(question, tables, charts)
    if not tables["dots"]:
        return
    st.markdown(odds(question, total["guess"]))
    for column, row in zip(st.columns(3, gap="medium"), tables["plan"], strict=True):
        with column, st.container(border=True):
            _series(row, charts)
    _split(question, charts)
    _settings(tables)
    with st.expander("Every mechanism: the ε that it would need", icon=":material/table:"):
        st.dataframe(epsilon_table(tables["mechanisms"]), hide_index=True, width="stretch", key="plan-mechanisms")


def verdict_of(question: PlanQuestion, rows: Sequence[TableRow], total: TableRow) -> tuple[str, str]:
    """Whether the plan fits, in a sentence, and an icon."""
    missing = [row for row in rows if row["epsilon"] is None]
    if missing:
        reasons = "; ".join(
            f"{row['metric'].upper()} ± {row['error']:,.6g} users: {literal(row['reason'])}" for row in missing
        )
        return f"**Does not fit**: no mechanism can be planned for {reasons}.", ":material/block:"
    allowed, needed = question.epsilon, total["epsilon"]
    sums = " + ".join(f"{row['epsilon']:.4g}" for row in rows)
    if total["fits"]:
        return (
            f"**Fits**: DAU, WAU and MAU together take ε {sums} = **{needed:.4g}** of {allowed:g}, and "
            f"δ {_shortly(total['delta'])}, over {question.horizon:,} days.",
            ":material/check_circle:",
        )
    hint = ""
    if total["factor"] is not None:
        wider = ", ".join(f"{row['metric'].upper()} {row['error'] * total['factor']:,.3g}" for row in rows)
        hint = f" It fits if every error is {total['factor']:.3g} times as large ({wider} users)."
    return (
        f"**Does not fit**: DAU, WAU and MAU together take ε {sums} = **{needed:.4g}**, where the strip allows "
        f"{allowed:g}: {needed - allowed:.3g} too much.{hint}",
        ":material/block:",
    )


def odds(question: PlanQuestion, guess: float) -> str:
    """How often a guess is right, in plain words."""
    right = math.ceil(100 * guess - 1e-9)
    return (
        f"**Guessing.** Somebody knows everything about everyone else, sees all that is published over "
        f"{question.horizon:,} days, and guesses whether {WHETHER[question.unit]}. Out of 100 such guesses at most "
        f"**{right}** are right, where blind guessing gives 50."
    )


def _series(row: TableRow, charts: Mapping[str, Any]) -> None:
    st.metric(f"**{row['metric'].upper()}** [ε]", f"{row['epsilon']:.4g}")
    st.caption(cost_of(row))
    name = f"dots-{row['metric']}"
    draw_chart(charts[name], key=name, words=f"Fifty releases of {row['metric'].upper()} to expect")


def cost_of(row: TableRow) -> str:
    """What a series costs and how accurate it is, in words."""
    delta = "pure (δ = 0)" if row["delta"] == 0 else f"δ {_shortly(row['delta'])}"
    return (
        f"by **{row['mechanism']}**, {delta}, {row['share']:.0%} of the plan's ε. Error on the worst day "
        f"{row['max_std']:,.4g} users ({row['max_std'] / row['expected']:.2%}); 95 of 100 numbers within "
        f"± {row['half_width']:,.4g}."
    )


def _shortly(delta: float) -> str:
    return power_of_ten(float(f"{delta:.3g}"))


def _split(question: PlanQuestion, charts: Mapping[str, Any]) -> None:
    with st.container(border=True):
        st.header("One budget, split", anchor=False)
        draw_chart(charts["split"], key="split", words="ε of each series and together")
        st.caption(
            "Above: each dot is one of 50 equally likely numbers for a day with the expected count; the band is the "
            "error that you asked for. Here: the service charges each series on its own, so that ε and δ add up; each "
            f"series has a third of δ = {power_of_ten(question.delta)}. Guesses: the smaller of Φ(μ/2) and "
            "(e^ε + δ)/(e^ε + 1); docs/guarantees.md, section 11.7."
        )


def _settings(tables: Tables) -> None:
    pairs = pairs_of(tables["settings"])
    with st.container(border=True):
        st.header("Start the service with this plan", anchor=False)
        command, file = st.tabs(["Command", "dpdau.toml"])
        command.code(settings_command(pairs), language="bash", wrap_lines=True)
        file.code(settings_file(pairs), language="toml", wrap_lines=True)
        st.caption(
            "For a new store and a new ledger: what was published keeps its settings. Releases of past days that are "
            "asked for later are charged on top."
        )


def epsilon_table(rows: Sequence[TableRow]) -> list[TableRow]:
    """A row a mechanism: the ε of each metric, and why there is none."""
    table: dict[str, TableRow] = {}
    for row in rows:
        one = table.setdefault(row["mechanism"], {"mechanism": row["mechanism"]})
        one[f"{row['metric'].upper()} [ε]"] = row["epsilon"]
        one["without ε, because"] = row["reason"] or one.get("without ε, because")
    return list(table.values())
