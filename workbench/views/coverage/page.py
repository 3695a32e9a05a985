"""The page *Coverage*: how often intervals hold, tried live, beside the committed table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from experiments.engine.numbers import power_of_ten
from workbench.rows import TableRow
from workbench.views.answering import show_answer
from workbench.views.compared import draw_compared
from workbench.views.coverage.committed import MADE_BY, SHOWN, TABLE, committed_cells, nearest_cell
from workbench.views.coverage.research import BATCHES, LEVELS, CoverageQuestion, at_level, coverage_charts
from workbench.views.drawing import draw_chart
from workbench.views.jobs.job import Tables
from workbench.views.numbers import ShownNumber, draw_numbers
from workbench.views.population import draw_population, population_words
from workbench.views.strip import SLIDER_WIDTH, StripChoice
from workbench.views.text import percent_text, users_text

COMPARED = ("gaussian", "square-root")
"""Drawn beside the mechanism of the strip, if nothing else is chosen."""
NEAREST = "nearest"
VISIBLE = 0.01
"""Coverage that is lost and worth a warning."""


def page(choice: StripChoice, cache: Path) -> None:
    """Draw the page.

    Args:
        cache: folder of the experiments' shards.
    """
    st.title("Coverage", anchor=False)
    question = _question(choice)
    if question is not None:
        show_answer(cache, question, _draw)
    st.caption(
        "How often intervals hold what they are for: releases of a generated population are drawn many times over. No "
        "data of the live service is used and no budget is spent."
    )


def _question(choice: StripChoice) -> CoverageQuestion | None:
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        level = st.select_slider(
            "Level looked at", LEVELS, 0.95, format_func=lambda value: f"{100 * value:g} %", key="coverage-level",
            bind="query-params", width=SLIDER_WIDTH,
        )  # fmt: skip
        population = draw_population()
        compared = draw_compared(choice, COMPARED, "coverage-compared")
    # That of the strip first: numbers and words are about it.
    mechanisms = tuple(sorted(compared, key=lambda name: name != choice.mechanism))
    if not mechanisms:
        st.warning(
            f"The intervals of {choice.mechanism} are for a W_BOUND that it chooses itself; this page cannot try them. "
            "Choose another mechanism.",
            icon=":material/info:",
        )
        return None
    return CoverageQuestion(
        metric=choice.metric, unit=choice.unit, mechanisms=mechanisms, epsilon=choice.epsilon, w_bound=choice.w_bound,
        delta=choice.delta, level=level, users=population.users, days=population.days,
        delete_rate=population.delete_rate,
    )  # fmt: skip


def _draw(question: CoverageQuestion, tables: Tables) -> None:
    rows = at_level(tables, question.level)
    row = rows[0]
    _numbers(row)
    st.markdown(sentence(row))
    charts = coverage_charts(question, tables)
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True):
        st.header("Day by day", anchor=False)
        st.caption("pointwise intervals, on one random day of each trial")
        draw_chart(charts["pointwise"], key="pointwise", words="Coverage of intervals by level")
    with right, st.container(border=True):
        st.header(f"All {row['horizon']:,} days at once", anchor=False)
        st.caption("simultaneous bands, by Bonferroni")
        draw_chart(charts["simultaneous"], key="simultaneous", words="Coverage of bands by level")
    if "by-day" in charts:
        with st.container(border=True):
            st.header("The true count, day by day", anchor=False)
            st.caption(
                f"{100 * question.level:g} % intervals. The longer the series, the more users are frozen, and the "
                "rarer an interval holds the truth."
            )
            draw_chart(charts["by-day"], key="by-day", words="Coverage on each day")
    st.caption(_reading(question, row))
    _draw_committed(rows)


def _numbers(row: TableRow) -> None:
    draw_numbers(
        [
            _number(row, "Day by day", "one_day", "days whose interval holds the count that noise was added to"),
            _number(row, "All days", "band", f"trials whose band holds it on all {row['horizon']:,} days at once"),
            _number(row, "True count", "true_one_day", "days whose interval holds the true count"),
        ]
    )


def _number(row: TableRow, title: str, name: str, of: str) -> ShownNumber:
    low, high = (percent_text(row[f"{name}_{end}"]) for end in ("low", "high"))
    value = "none" if row[name] is None else percent_text(row[name])
    return ShownNumber(title, value, f"Share of {of}, with {row['mechanism']}: {low} to {high} with 95 % confidence.")


def sentence(row: TableRow) -> str:
    """What one row says, in plain words."""
    place = f"At ε = {row['epsilon']:g} and W_BOUND = {row['w_bound']}"
    about = f"{place}, in {row['trials']:,} trials of **{row['mechanism']}**"
    if row["one_day"] is None:
        return f"{about}, no day has an interval."
    held = (
        f"{about}, the {100 * row['level']:g} % interval holds the count that noise was added to on "
        f"{percent_text(row['one_day'])} of days, and the band holds it on all {row['horizon']:,} days at once in "
        f"{percent_text(row['band'])} of trials."
    )
    if row["bias_rms"] == 0:
        return f"{held} That count is the true one: nobody is frozen."
    bias = f"{users_text(row['bias_rms'])} users, beside intervals {users_text(row['width'])} wide"
    true = f"the **true** count on **{percent_text(row['true_one_day'])}** of days"
    if row["one_day"] - row["true_one_day"] < VISIBLE:
        return (
            f"{held} It holds {true}, nearly as often: few users are frozen after {row['w_bound']} flips, and "
            f"truncation bias is small ({bias}). A smaller W_BOUND shows what it can do."
        )
    return (
        f"{held} But it holds {true} only, because users are frozen after {row['w_bound']} flips. An interval speaks "
        f"of noise; made from noise alone, none can know of truncation bias ({bias})."
    )


def _reading(question: CoverageQuestion, row: TableRow) -> str:
    hollow = " Hollow or dashed: the true count." if row["bias_rms"] > 0 else ""
    return (
        f"Computed live: {row['trials']:,} of {sum(BATCHES):,} trials. Bars: 95 % Clopper–Pearson intervals. Grey: "
        f"what the level promises. Filled or solid: the count that noise was added to.{hollow} δ = "
        f"{power_of_ten(question.delta)}. {population_words(question.population)}"
    )


def _draw_committed(rows: list[TableRow]) -> None:
    table = committed_cells()
    st.header("Beside the committed table", anchor=False)
    if table is None:
        st.info(f"The table {TABLE} is not installed here. `{MADE_BY}` makes it.")
        return
    st.caption(f"From `{TABLE}`, made by `{MADE_BY}`. Each live cell stands above the committed one that is nearest.")
    found = {row["mechanism"]: nearest_cell(table, row) for row in rows}
    pairs = [pair for row in rows for pair in _pair(row, table, found[row["mechanism"]])]
    st.dataframe(pd.DataFrame(pairs), hide_index=True, key="coverage-pairs", column_config=_columns())
    with st.expander(f"All {len(table)} committed cells", icon=":material/table:"):
        marked = table.assign(**{NEAREST: [index in found.values() for index in table.index]})
        order = [NEAREST, *table.columns]
        st.dataframe(
            marked[order], hide_index=True, key="coverage-committed",
            column_config=_columns() | {NEAREST: st.column_config.CheckboxColumn("nearest")},
        )  # fmt: skip


def _pair(row: TableRow, table: pd.DataFrame, nearest: int | None) -> list[TableRow]:
    live = {"cell": "live", **{name: row.get(name, 1.0) for name in SHOWN}}
    if nearest is None:
        return [live]
    return [live, {"cell": "committed", **{str(name): value for name, value in table.loc[nearest].items()}}]


def _columns() -> dict[str, Any]:
    percent: dict[str, Any] = {
        name: st.column_config.NumberColumn(title, format="percent")
        for name, title in (
            ("pointwise", "pointwise"), ("band", "all days"), ("true_pointwise", "true, pointwise"),
            ("true_band", "true, all days"), ("rate", "share of users"),
        )
    }  # fmt: skip
    return {**percent, "epsilon": "ε", "w_bound": "W_BOUND", "window": "window [days]", "horizon": "days"}
