"""The chart of an error in its parts: a pure function from rows to Altair, readable on light and dark ground."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from workbench.rows import TableRow
from workbench.views.charts import TRUTH, Chart
from workbench.views.marks import log_ticks, mechanism_marks

CHOSEN = "#8A8A8A"
PARTS = ("total error", "noise", "truncation bias")
_DASHES = ([1, 0], [6, 4], [2, 3])


def error_chart(
    rows: Sequence[TableRow], along: str, chosen: float, title: str, *, logarithmic: bool = False, height: int = 430
) -> Chart:
    """The error of a released day in its parts, one colour a mechanism: total with its band, noise, truncation bias.

    Args:
        rows: of `experiments.kinds.mechanisms.row.evaluate`.
        along: the column on the horizontal axis.
        chosen: where the marker stands.
        title: of the horizontal axis.
        logarithmic: whether that axis is; the vertical one always is.
        height: with axes and legends, in pixels.
    """
    table = pd.DataFrame(list(rows))
    x = _horizontal(table, along, title, logarithmic)
    scale, users = _vertical(table)
    colour, shape = mechanism_marks(list(dict.fromkeys(table["mechanism"])))
    noisy, bias = _parts(table, along)
    dash = _dash()
    chart = alt.Chart(table)
    band = chart.mark_area(opacity=0.22, clip=True).encode(
        x=x, y=alt.Y("rmse_p05:Q", axis=users, scale=scale), y2="rmse_p95:Q", color=colour
    )
    share = alt.Y("users:Q", axis=users, scale=scale)
    noise = alt.Chart(noisy).mark_line(strokeWidth=1.9, clip=True).encode(x=x, y=share, color=colour, strokeDash=dash)
    missed = alt.Chart(bias).mark_line(strokeWidth=1.9, color=TRUTH, clip=True).encode(x=x, y=share, strokeDash=dash)
    dots = chart.mark_point(size=46, opacity=1, filled=True).encode(
        x=x, y=alt.Y("rmse:Q", axis=users, scale=scale), color=colour, shape=shape, tooltip=_tooltip()
    )
    marker = (
        alt.Chart(pd.DataFrame({along: [chosen]}))
        .mark_rule(color=CHOSEN, strokeWidth=1.5)
        .encode(x=x, tooltip=alt.Tooltip(f"{along}:Q", title=title))
    )
    return alt.layer(marker, band, missed, noise, dots).properties(height=height)


def _parts(table: pd.DataFrame, along: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Total error and noise of every mechanism, and the truncation bias, which all that freeze users share."""
    columns = dict(zip(("rmse", "noise_rmse", "bias_rms"), PARTS, strict=True))
    parts = table.melt(["mechanism", along], list(columns), "part", "users").replace({"part": columns})
    parts = parts[parts["users"] > 0]
    # All mechanisms that freeze users count the same ones.
    bias = parts[parts["part"] == PARTS[2]].drop_duplicates(along)
    return parts[parts["part"] != PARTS[2]], bias


def _range(table: pd.DataFrame) -> tuple[float, float]:
    """The vertical axis reaches two decades below the largest error, or to the smallest one."""
    top = float(table["rmse_p95"].max()) * 1.15
    return min(top / 100, float(table["rmse_p05"].min()) * 0.8), top


def _horizontal(table: pd.DataFrame, along: str, title: str, logarithmic: bool) -> alt.X:
    return alt.X(
        f"{along}:Q", title=title,
        scale=alt.Scale(type="log", nice=False, padding=10) if logarithmic
        else alt.Scale(type="linear", nice=False, padding=10, zero=False),
        axis=alt.Axis(values=sorted(table[along].unique()), format="~g", labelOverlap="greedy", grid=False),
    )  # fmt: skip


def _vertical(table: pd.DataFrame) -> tuple[alt.Scale, alt.Axis]:
    bottom, top = _range(table)
    axis = alt.Axis(title="RMSE of a released day [users]", format="~s", values=log_ticks(bottom, top), minExtent=34)
    return alt.Scale(type="log", domain=[bottom, top], nice=False), axis


def _dash() -> alt.StrokeDash:
    return alt.StrokeDash(
        "part:N",
        scale=alt.Scale(domain=list(PARTS), range=list(_DASHES)),
        legend=alt.Legend(
            title=None, orient="top", direction="horizontal", columns=3, labelLimit=200, symbolType="stroke",
            symbolStrokeWidth=2, symbolSize=420, symbolStrokeColor=TRUTH,
        ),
    )  # fmt: skip


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("mechanism:N", title="Mechanism"),
        alt.Tooltip("epsilon:Q", title="ε"),
        alt.Tooltip("w_bound:Q", title="W_BOUND"),
        alt.Tooltip("rmse:Q", title="Total error [users]", format=",.1f"),
        alt.Tooltip("rmse_p05:Q", title="5 % of the trials below", format=",.1f"),
        alt.Tooltip("rmse_p95:Q", title="5 % of the trials above", format=",.1f"),
        alt.Tooltip("noise_rmse:Q", title="Noise [users]", format=",.1f"),
        alt.Tooltip("bias_rms:Q", title="Truncation bias [users]", format=",.1f"),
    ]
