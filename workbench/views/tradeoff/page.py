"""The page *ε × W_BOUND*: what accuracy costs, computed by the experiment engine in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from experiments.engine.numbers import power_of_ten
from workbench.rows import TableRow
from workbench.views.answering import show_answer
from workbench.views.compared import draw_compared
from workbench.views.drawing import draw_chart
from workbench.views.jobs.job import Tables
from workbench.views.log_choice import draw_log_choice
from workbench.views.numbers import ShownNumber, draw_numbers
from workbench.views.population import draw_population, population_words
from workbench.views.strip import StripChoice
from workbench.views.text import literal, percent_text, users_text
from workbench.views.tradeoff.research import TRIALS, TradeoffQuestion, least, tradeoff_charts
from workbench.words import WORDS

COMPARED = ("gaussian", "binary-tree", "square-root")
"""Drawn beside the mechanism of the strip, if nothing else is chosen."""
GENERATED, OWN = "generated", "own log"


def page(choice: StripChoice, cache: Path) -> None:
    """Draw the page.

    Args:
        cache: folder of the experiments' shards.
    """
    st.title("ε × W_BOUND", anchor=False)
    question = _question(choice)
    if question is not None:
        show_answer(cache, question, _draw)
    st.caption(
        "What accuracy costs: releases are drawn many times over. No data of the live service is used and no budget is "
        f"spent. A flip: {WORDS['flip']}. W_BOUND: {WORDS['W_BOUND']}."
    )


def _question(choice: StripChoice) -> TradeoffQuestion | None:
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        users = st.segmented_control(
            "Whose activity",
            [GENERATED, OWN],
            default=GENERATED,
            required=True,
            key="tradeoff-users",
            persist_state="session",
        )
        population = draw_population() if users == GENERATED else None
        mechanisms = draw_compared(choice, COMPARED, "compared")
    given = None if population else draw_log_choice()
    if not mechanisms:
        st.warning(
            f"{choice.mechanism} finds its W_BOUND itself, so there is nothing to show against it. Choose another "
            "mechanism.",
            icon=":material/info:",
        )
    if not mechanisms or (population is None and given is None):
        return None
    who: dict[str, Any] = (
        {"users": population.users, "days": population.days, "delete_rate": population.delete_rate}
        if population
        else {"log_file": given.file, "log_sha256": given.sha256, "log_columns": given.columns or None} if given else {}
    )  # fmt: skip
    return TradeoffQuestion(
        metric=choice.metric, unit=choice.unit, mechanisms=mechanisms, epsilon=choice.epsilon, w_bound=choice.w_bound,
        delta=choice.delta, **who,
    )  # fmt: skip


def _draw(question: TradeoffQuestion, tables: Tables) -> None:
    here = [row for row in tables["by-epsilon"] if row["epsilon"] == question.epsilon]
    best = min(here, key=lambda row: row["total_rms"])
    charts = tradeoff_charts(question, tables)
    _numbers(best)
    for row in tables.get("log", []):
        st.markdown(log_words(row))
    st.markdown(f"{sentence(best, compared=len(here))} {least_words(least(tables['by-w-bound']))}")
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True):
        st.header("Error against ε", anchor=False)
        st.caption(f"W_BOUND = {question.w_bound}; both axes logarithmic")
        draw_chart(charts["by-epsilon"], key="by-epsilon", words="RMSE of a released day against ε")
    with right, st.container(border=True):
        st.header("Error against W_BOUND", anchor=False)
        st.caption(f"ε = {question.epsilon:g}; vertical axis logarithmic")
        draw_chart(charts["by-w-bound"], key="by-w-bound", words="RMSE of a released day against W_BOUND")
    st.caption(_reading(question))


def _numbers(row: TableRow) -> None:
    spread = f"{users_text(row['rmse_p05'])} to {users_text(row['rmse_p95'])}"
    draw_numbers(
        [
            ShownNumber("Error [users]", users_text(row["total_rms"]), f"In 90 % of the trials, {spread}."),
            ShownNumber("Noise", users_text(row["noise_rms"]), "Drawn to protect users."),
            ShownNumber("Bias", users_text(row["bias_rms"]), _bias_note(row)),
        ]
    )


def _bias_note(row: TableRow) -> str:
    if row["bias_rms"] == 0:
        return "Truncation bias: nobody is frozen on any day."
    return f"Truncation bias: {users_text(abs(row['bias_mean']))} frozen users are missed on average."


def sentence(row: Mapping[str, Any], compared: int) -> str:
    """What one row says, in plain words; the parts that it names add up."""
    best = f", the best of the {compared} chosen," if compared > 1 else ""
    total, noise, bias = (users_text(row[name]) for name in ("total_rms", "noise_rms", "bias_rms"))
    parts = (
        f"Noise makes {noise} of them, and truncation bias {bias}, because users are frozen after {row['w_bound']} "
        f"flips; squares add up: {total}² = {noise}² + {bias}²."
        if row["bias_rms"] > 0
        else "All of it is noise; nothing is truncation bias."
    )
    share = percent_text(row["relative_rmse"] * row["total_rms"] / row["rmse"])
    return (
        f"At ε = {row['epsilon']:g} and W_BOUND = {row['w_bound']}, **{row['mechanism']}**{best} misses a released "
        f"{row['metric'].upper()} by **{total} users** (root mean square over {row['horizon']:,} days, {share} of "
        f"the mean count). {parts}"
    )


def least_words(best: Mapping[str, TableRow]) -> str:
    """Where the error is least over W_BOUND."""
    if not best:
        return ""
    row = min(best.values(), key=lambda one: one["total_rms"])
    return (
        f"Of the W_BOUNDs shown, **{row['w_bound']}** has the least error at this ε: {users_text(row['total_rms'])} "
        f"users, with {row['mechanism']}."
    )


def log_words(row: TableRow) -> str:
    """What was read of a log."""
    return (
        f":material/description: **{literal(row['file'])}**: {row['rows']:,} rows of {row['users']:,} users, "
        f"{row['days']:,} days from {row['first']} to {row['last']}. What is shown of it is exact, so it is not "
        "private: keep it to yourself."
    )


def _reading(question: TradeoffQuestion) -> str:
    truncation = (
        "Unit user: a larger W_BOUND truncates fewer users and needs more noise; the best is in between. A ring marks "
        "the least error of each mechanism, a thick one the least of all."
        if question.unit == "user"
        else "Unit user-day: nobody is frozen, so there is no truncation bias; W_BOUND is an assumption about one "
        "activity with its later retraction, and noise grows with it."
    )
    if "sparse-vector" in question.mechanisms:
        truncation += " sparse-vector needs no W_BOUND and freezes nobody; its noise is all that it misses."
    return (
        f"Solid: total error. Dashed: noise alone. Dotted: truncation bias alone. All three are root mean squares over "
        f"days and add up by their squares: total² = noise² + bias². Noise is by formula; shaded is where 90 % of "
        f"{TRIALS} simulated series lie. δ = {power_of_ten(question.delta)}. The grey line marks what is chosen. "
        f"{truncation}{_population_words(question)}"
    )


def _population_words(question: TradeoffQuestion) -> str:
    if question.given is not None:
        return ""
    return " " + population_words(question.population)
