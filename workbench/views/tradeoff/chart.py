"""The chart of an error in its parts: a pure function from rows to Altair, readable on light and dark ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from workbench.rows import TableRow
from workbench.views.charts import TRUTH, Chart
from workbench.views.marks import log_ticks, mechanism_marks

CHOSEN = "#8A8A8A"
NOTHING: Mapping[str, TableRow] = {}
PARTS = ("total error", "noise", "truncation bias")
_DASHES = ([1, 0], [6, 4], [2, 3])


def error_chart(
    rows: Sequence[TableRow], along: str, chosen: float, title: str, *, logarithmic: bool = False,
    ringed: Mapping[str, TableRow] = NOTHING, height: int = 430,
) -> Chart:  # fmt: skip
    """The error of a released day in its parts, one colour a mechanism: total with its band, noise, truncation bias.

    Args:
        rows: of `experiments.kinds.mechanisms.row.evaluate`, with `research.total_columns`.
        along: the column on the horizontal axis.
        chosen: where the marker stands.
        title: of the horizontal axis.
        logarithmic: whether that axis is; the vertical one always is.
        ringed: mechanism → its row that is ringed; the least of all has a thick ring and its place in words.
        height: with axes and legends, in pixels.
    """
    # What stands in an encoding without its channel is looked up in the whole schema: as slow as all the rest.
    table = pd.DataFrame(list(rows))
    x = _horizontal(table, along, title, logarithmic)
    scale, users = _vertical(table)
    colour, shape = mechanism_marks(list(dict.fromkeys(table["mechanism"])))
    noisy, bias = _parts(table, along)
    dash = _dash()
    chart = alt.Chart(table)
    band = chart.mark_area(opacity=0.22, clip=True).encode(
        x=x, y=alt.Y("rmse_p05:Q", axis=users, scale=scale), y2=alt.Y2("rmse_p95:Q"), color=colour
    )
    share = alt.Y("users:Q", axis=users, scale=scale)
    noise = alt.Chart(noisy).mark_line(strokeWidth=1.9, clip=True).encode(x=x, y=share, color=colour, strokeDash=dash)
    missed = alt.Chart(bias).mark_line(strokeWidth=1.9, color=TRUTH, clip=True).encode(x=x, y=share, strokeDash=dash)
    dots = chart.mark_point(size=46, opacity=1, filled=True).encode(
        x=x, y=alt.Y("total_rms:Q", axis=users, scale=scale), color=colour, shape=shape, tooltip=_tooltip()
    )
    marker = (
        alt.Chart(pd.DataFrame({along: [chosen]}))
        .mark_rule(color=CHOSEN, strokeWidth=1.5)
        .encode(x=x, tooltip=alt.Tooltip(f"{along}:Q", title=title))
    )
    rings = _rings(ringed, along, x, alt.Y("total_rms:Q", axis=users, scale=scale), colour)
    return alt.layer(marker, band, missed, noise, dots, *rings, height=height)


def _rings(ringed: Mapping[str, TableRow], along: str, x: alt.X, y: alt.Y, colour: alt.Color) -> list[alt.Chart]:
    """A ring around the least error of each mechanism; that of all is named."""
    if not ringed:
        return []
    best = min(ringed.values(), key=lambda row: row["total_rms"])
    columns = ("mechanism", along, "total_rms")
    table = pd.DataFrame([{name: row[name] for name in columns} | {"best": row is best} for row in ringed.values()])
    table["words"] = f"least: {best[along]:g}"
    ring = (
        alt.Chart(table)
        .mark_point(shape="circle", filled=False, opacity=1)
        .encode(
            x=x, y=y, color=colour,
            size=alt.SizeValue(200, condition={"test": "datum.best", "value": 420}),
            strokeWidth=alt.StrokeWidthValue(1.5, condition={"test": "datum.best", "value": 3}),
        )
    )  # fmt: skip
    words = (
        alt.Chart(table)
        .transform_filter("datum.best")
        .mark_text(dx=14, dy=20, align="left", fontWeight="bold", fontSize=13, color=CHOSEN)
        .encode(x=x, y=y, text=alt.Text("words:N"))
    )
    return [ring, words]


def _parts(table: pd.DataFrame, along: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Total error and noise of every mechanism, and the truncation bias, which all that freeze users share."""
    columns = dict(zip(("total_rms", "noise_rms", "bias_rms"), PARTS, strict=True))
    parts = table.melt(["mechanism", along], list(columns), "part", "users").replace({"part": columns})
    parts = parts[parts["users"] > 0]
    # All mechanisms that freeze users count the same ones.
    bias = parts[parts["part"] == PARTS[2]].drop_duplicates(along)
    return parts[parts["part"] != PARTS[2]], bias


def _range(table: pd.DataFrame) -> tuple[float, float]:
    """The vertical axis reaches two decades below the largest error, or to the smallest one."""
    top = float(table[["rmse_p95", "total_rms"]].max().max()) * 1.15
    return min(top / 100, float(table[["rmse_p05", "total_rms"]].min().min()) * 0.8), top


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
            title=None, orient="top", direction="horizontal", columns=2, labelLimit=200, symbolType="stroke",
            symbolStrokeWidth=2, symbolSize=300, symbolStrokeColor=TRUTH,
        ),
    )  # fmt: skip


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("mechanism:N", title="Mechanism"),
        alt.Tooltip("epsilon:Q", title="ε"),
        alt.Tooltip("w_bound:Q", title="W_BOUND"),
        alt.Tooltip("total_rms:Q", title="Total error [users]", format=",.3~f"),
        alt.Tooltip("rmse_p05:Q", title="5 % of the trials below", format=",.1f"),
        alt.Tooltip("rmse_p95:Q", title="5 % of the trials above", format=",.1f"),
        alt.Tooltip("noise_rms:Q", title="Noise [users]", format=",.3~f"),
        alt.Tooltip("bias_rms:Q", title="Truncation bias [users]", format=",.3~f"),
    ]
