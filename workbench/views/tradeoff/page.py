"""The page *ε × W_BOUND*: what accuracy costs, computed by the experiment engine in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from dp.names import MECHANISMS, OWN_BOUND_MECHANISMS
from workbench.views.answering import show_answer
from workbench.views.jobs.job import Tables
from workbench.views.strip import StripChoice
from workbench.views.tradeoff.research import TRIALS, TradeoffQuestion, tradeoff_charts
from workbench.words import WORDS

USERS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
DAYS = (30, 60, 90, 180, 365)
COMPARED = ("gaussian", "binary-tree", "square-root")
"""Drawn beside the mechanism of the strip, if nothing else is chosen."""


def page(choice: StripChoice, cache: Path) -> None:
    """Draw the page.

    Args:
        cache: folder of the experiments' shards.
    """
    st.title("ε × W_BOUND", anchor=False)
    st.caption(
        "What accuracy costs. A generated population is released many times over, by the engine that runs the "
        "experiments; no data of the live service is used and no budget is spent. "
        f"A flip: {WORDS['flip']}. W_BOUND: {WORDS['W_BOUND']}."
    )
    question = _question(choice)
    if question is None:
        st.warning(
            f"{choice.mechanism} finds its W_BOUND itself, so there is nothing to show against it. Choose another "
            "mechanism.",
            icon=":material/info:",
        )
    else:
        show_answer(cache, question, _draw)


def _question(choice: StripChoice) -> TradeoffQuestion | None:
    # What finds its W_BOUND itself has nothing to show against it.
    offered = [name for name in MECHANISMS if name not in OWN_BOUND_MECHANISMS]
    with st.container(horizontal=True, gap="medium"):
        compared = st.multiselect(
            "Compared with", offered, list(COMPARED), key="compared", bind="query-params", width=440
        )
        users = st.select_slider(
            "Users", USERS, 5_000, format_func=lambda value: f"{value:,}", key="users", bind="query-params", width=160
        )
        days = st.select_slider("Days", DAYS, 180, key="days", bind="query-params", width=160)
        retracted = st.slider(
            "Retracted later", 0, 50, 15, 5, format="%d%%", key="retracted", bind="query-params", width=160
        )
    wanted = {choice.mechanism, *compared}
    mechanisms = tuple(name for name in offered if name in wanted)
    if not mechanisms:
        return None
    return TradeoffQuestion(
        metric=choice.metric, unit=choice.unit, mechanisms=mechanisms, epsilon=choice.epsilon, w_bound=choice.w_bound,
        delta=choice.delta, users=users, days=days, delete_rate=retracted / 100,
    )  # fmt: skip


def _draw(question: TradeoffQuestion, tables: Tables) -> None:
    here = [row for row in tables["by-epsilon"] if row["epsilon"] == question.epsilon]
    best = min(here, key=lambda row: row["rmse"])
    charts = tradeoff_charts(question, tables)
    _numbers(best)
    st.markdown(sentence(best, compared=len(here)))
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True):
        st.subheader("Error against ε", anchor=False)
        st.caption(f"W_BOUND = {question.w_bound}; both axes logarithmic")
        st.altair_chart(charts["by-epsilon"], width="stretch", key="by-epsilon", alt="RMSE of a released day against ε")
    with right, st.container(border=True):
        st.subheader("Error against W_BOUND", anchor=False)
        st.caption(f"ε = {question.epsilon:g}; vertical axis logarithmic")
        st.altair_chart(
            charts["by-w-bound"], width="stretch", key="by-w-bound", alt="RMSE of a released day against W_BOUND"
        )
    st.caption(_reading(question))


def _numbers(row: dict[str, Any]) -> None:
    for column, (label, value, note) in zip(
        st.columns(3, gap="medium"),
        (
            ("Total error", row["rmse"], f"5–95 % of the trials: {row['rmse_p05']:,.1f} to {row['rmse_p95']:,.1f}"),
            ("Noise", row["noise_rmse"], "drawn to protect users"),
            ("Truncation bias", row["bias_rms"], _bias_note(row)),
        ),
        strict=True,
    ):
        with column, st.container(border=True):
            st.metric(f"**{label}** [users]", f"{value:,.1f}")
            st.caption(note)


def _bias_note(row: dict[str, Any]) -> str:
    if row["bias_rms"] == 0:
        return "nobody is frozen on any day"
    return f"{abs(row['bias_mean']):,.1f} frozen users are missed on average"


def sentence(row: dict[str, Any], compared: int) -> str:
    """What one row says, in one plain sentence."""
    best = f", the best of the {compared} chosen," if compared > 1 else ""
    bias = (
        f"and {row['bias_rms']:,.1f} are truncation bias, because users are frozen after {row['w_bound']} flips"
        if row["bias_rms"] > 0
        else "and nothing is truncation bias"
    )
    return (
        f"At ε = {row['epsilon']:g} and W_BOUND = {row['w_bound']}, **{row['mechanism']}**{best} misses a released "
        f"{row['metric'].upper()} by **{row['rmse']:,.1f} users** (RMSE over {row['horizon']} days, "
        f"{row['relative_rmse']:.1%} of the mean count): {row['noise_rmse']:,.1f} are noise {bias}."
    )


def _reading(question: TradeoffQuestion) -> str:
    truncation = (
        "Unit user: a larger W_BOUND truncates fewer users and needs more noise; the best is in between."
        if question.unit == "user"
        else "Unit user-day: nobody is frozen, so there is no truncation bias; W_BOUND is an assumption about one "
        "activity with its later retraction, and noise grows with it."
    )
    if "sparse-vector" in question.mechanisms:
        truncation += " sparse-vector needs no W_BOUND and freezes nobody; its noise is all that it misses."
    return (
        f"Solid: total error, the mean over {TRIALS} trials, shaded from their 5 % to their 95 % quantile. Dashed: "
        "noise alone. Dotted: truncation bias alone. Squares add up: total² ≈ noise² + bias². The grey line marks "
        f"what is chosen. {truncation}"
    )
