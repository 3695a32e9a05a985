"""The control strip: one choice that holds over all pages and is kept in the address."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from dp.names import DEFAULT_MECHANISM, MECHANISMS, METRICS, UNITS
from experiments.engine.numbers import power_of_ten
from workbench.views.axes import DELTAS, EPSILONS, W_BOUNDS

SLIDER_WIDTH = 165


@dataclass(frozen=True)
class StripChoice:
    """What the strip says.

    Attributes:
        epsilon: of the whole series.
        delta: of the whole series.
    """

    metric: str
    unit: str
    epsilon: float
    delta: float
    w_bound: int
    mechanism: str


def draw_strip() -> StripChoice:
    """Draw the strip and return what is chosen. The values stand in the address where they are not the usual ones."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="strip"):
        metric = st.segmented_control(
            "Metric", list(METRICS), default="mau", required=True, format_func=str.upper, key="metric",
            bind="query-params",
        )  # fmt: skip
        unit = st.segmented_control(
            "Who is protected", list(UNITS), default="user", required=True, key="unit", bind="query-params",
            help="user: everything that a user ever does. user-day: what one user does on one day.",
        )  # fmt: skip
        epsilon = st.select_slider(
            "ε (← more private)", EPSILONS, 1.0, format_func=lambda value: f"{value:g}", key="epsilon",
            bind="query-params", width=SLIDER_WIDTH, help="Of the whole series: all days together.",
        )  # fmt: skip
        delta = st.select_slider(
            "δ (← more private)", DELTAS, 1e-6, format_func=power_of_ten, key="delta", bind="query-params",
            width=SLIDER_WIDTH, help="Of the whole series. Mechanisms with Laplace noise do not use it.",
        )  # fmt: skip
        w_bound = st.select_slider(
            "W_BOUND (covers →)", W_BOUNDS, 8, key="w_bound", bind="query-params", width=SLIDER_WIDTH,
            help="The most flips that the protected change may cause. Unit user: a user is frozen after so many flips, "
            "which biases the count downwards. Unit user-day: an assumption about one activity with its later "
            "retraction; nobody is frozen.",
        )  # fmt: skip
        mechanism = st.selectbox(
            "Mechanism", MECHANISMS, MECHANISMS.index(DEFAULT_MECHANISM), key="mechanism", bind="query-params",
            width=SLIDER_WIDTH + 12,
        )  # fmt: skip
    return StripChoice(metric or "mau", unit or "user", epsilon, delta, w_bound, mechanism)
