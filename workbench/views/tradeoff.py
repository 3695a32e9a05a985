"""The page *ε × W_BOUND*: what accuracy costs, computed by the experiment engine in a process of its own."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import streamlit as st

from dp.names import MECHANISMS, METRICS, OWN_BOUND_MECHANISMS
from workbench.views.error_chart import error_chart
from workbench.views.tradeoff_process import EPSILONS, TRIALS, W_BOUNDS, Question, QuestionState, Workshop
from workbench.words import WORDS

POLL_SECONDS = 0.5
DELTAS = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5)
USERS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
DAYS = (30, 60, 90, 180, 365)
UNIT_NAMES = {"user": "user — everything a user ever does", "user-day": "user-day — one user's activity on one day"}
DEFAULT_MECHANISMS = ("gaussian", "binary-tree", "square-root", "damped-square-root")


@st.cache_resource(show_spinner=False, on_release=lambda workshop: workshop.stop())
def workshop(cache: str) -> Workshop:
    """The process's one workshop for a folder of shards."""
    return Workshop(Path(cache))


def page(cache: Path) -> None:
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
    controls, answer = st.columns([1, 3], gap="medium")
    with controls, st.container(border=True):
        question = _controls()
    with answer:
        if question is None:
            st.warning("Choose at least one mechanism.", icon=":material/info:")
        else:
            _answer(cache, question)


def _controls() -> Question | None:
    epsilon = st.select_slider(
        "ε of the whole series", EPSILONS, 1.0, format_func=lambda value: f"{value:g}", key="epsilon",
        help="For all days together. Smaller is more private.",
    )  # fmt: skip
    w_bound = st.select_slider(
        "W_BOUND — flips of presence", W_BOUNDS, 8, key="w_bound",
        help="Unit user: a user is frozen after so many changes of presence, which biases the count downwards. "
        "Unit user-day: an assumption about one activity with its later retraction; nobody is frozen.",
    )  # fmt: skip
    metric = st.segmented_control(
        "Metric", list(METRICS), default="mau", required=True, format_func=str.upper, key="metric", width="stretch"
    )
    unit = st.selectbox("Who is protected", list(UNIT_NAMES), format_func=UNIT_NAMES.__getitem__, key="unit")
    # What finds its W_BOUND itself has nothing to show against it.
    offered = [name for name in MECHANISMS if name not in OWN_BOUND_MECHANISMS]
    mechanisms = st.multiselect("Mechanisms", offered, list(DEFAULT_MECHANISMS), key="mechanisms")
    delta = st.select_slider(
        "δ of the whole series", DELTAS, 1e-6, format_func=lambda value: f"{value:g}", key="delta",
        help="Mechanisms with Laplace noise do not use it.",
    )  # fmt: skip
    st.markdown("**Generated population**")
    users = st.select_slider("Users", USERS, 5_000, format_func=lambda value: f"{value:,}", key="users")
    days = st.select_slider("Days", DAYS, 180, key="days")
    delete_rate = st.slider("Activity that is retracted later", 0, 50, 15, 5, format="%d%%", key="delete_rate")
    if not mechanisms:
        return None
    return Question(
        metric or "mau", unit, tuple(name for name in MECHANISMS if name in mechanisms), epsilon, w_bound, delta,
        users, days, delete_rate / 100,
    )  # fmt: skip


def _answer(cache: Path, question: Question) -> None:
    asker = st.session_state.setdefault("asker", str(uuid.uuid4()))
    state = workshop(str(cache)).ask(asker, question)
    if state.finished:
        _show(state)
    else:
        st.fragment(_wait, run_every=POLL_SECONDS)(cache, asker, question)


def _wait(cache: Path, asker: str, question: Question) -> None:
    state = workshop(str(cache)).ask(asker, question)
    if state.finished:
        st.rerun()
    st.progress(state.fraction, text=f"{state.stage} …")


def _show(state: QuestionState) -> None:
    question = state.question
    if state.error is not None:
        st.error(f"This cannot be computed: {state.error}", icon=":material/error:")
        return
    here = [row for row in state.by_epsilon if row["epsilon"] == question.epsilon]
    best = min(here, key=lambda row: row["rmse"])
    _numbers(best)
    st.markdown(sentence(best, compared=len(here)))
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True):
        st.subheader("Error against ε", anchor=False)
        st.caption(f"W_BOUND = {question.w_bound}; both axes logarithmic")
        st.altair_chart(
            error_chart(state.by_epsilon, "epsilon", question.epsilon, "ε of the whole series", logarithmic=True),
            width="stretch",
            key="by-epsilon",
            alt="RMSE of a released day against ε",
        )
    with right, st.container(border=True):
        st.subheader("Error against W_BOUND", anchor=False)
        st.caption(f"ε = {question.epsilon:g}; vertical axis logarithmic")
        st.altair_chart(
            error_chart(state.by_w_bound, "w_bound", question.w_bound, "W_BOUND [flips]"),
            width="stretch",
            key="by-w-bound",
            alt="RMSE of a released day against W_BOUND",
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


def _reading(question: Question) -> str:
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
