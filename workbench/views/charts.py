"""The pages' charts: pure functions from rows to Altair, readable on light and dark ground."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from experiments.engine.style import COLOURS, MARKERS

# Readable on white and on black alike; the dashes say the same as the colours.
RELEASED = "#2288C8"
TRUTH = "#8A8A8A"
CHOSEN = "#8A8A8A"
CHARGED, FRESH, LEFT = "#2288C8", "#E69F00", "#8A8A8A55"

PARTS = ("total error", "noise", "truncation bias")
_DASHES = ([1, 0], [6, 4], [2, 3])
_SHAPES = {"o": "circle", "v": "triangle-down", "s": "square", "^": "triangle-up", "D": "diamond"}
_TICKS = [digit * 10.0**power for power in range(-3, 8) for digit in (1, 2, 5)]
Chart = alt.LayerChart | alt.FacetChart
_Row = Mapping[str, Any]


def series_table(rows: Sequence[_Row], truth: Mapping[str, int] | None) -> pd.DataFrame:
    """What `series_chart` draws: day, estimate, low, high, the interval in words and, where it is given, truth.

    Args:
        rows: releases, oldest first.
        truth: day (ISO) → true count.
    """
    columns = {"estimate": "estimate", "low": "ci_low", "high": "ci_high"}
    table = pd.DataFrame({name: [_whole(row[column]) for row in rows] for name, column in columns.items()})
    table.insert(0, "day", pd.to_datetime([row["day"] for row in rows]))
    table["interval"] = [interval(row) for row in rows]
    if truth is not None:
        table["truth"] = [truth.get(row["day"]) for row in rows]
    return table


def interval(row: _Row) -> str:
    """The interval of a release in words; some mechanisms have none on some days."""
    if row["ci_low"] is None or row["ci_high"] is None:
        return "no interval"
    return f"{round(row['ci_low']):,} to {round(row['ci_high']):,}"


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


@functools.lru_cache(maxsize=32)
def series_specification(metric: str, ci_level: float, *, truth: bool, height: int) -> str:
    """`series_chart` as JSON. Altair checks it against its schema, which takes longer than all the rest of a page."""
    return series_chart(metric, ci_level, truth=truth, height=height).to_json()


def series_chart(metric: str, ci_level: float, *, truth: bool, height: int) -> Chart:
    """One published series with its intervals, without its data, so that a page can put in new data and no new chart.

    Args:
        truth: whether to draw true counts too, dashed and named NOT PRIVATE.
        height: of the plot, in pixels.
    """
    level = f"{ci_level:.0%} interval"
    day = alt.X("day:T", title=None, axis=alt.Axis(format="%-d %b %Y", labelOverlap=True, tickCount=8, grid=False))
    # The same room left of every chart, so that their days stand above each other.
    users = alt.Axis(title=f"{metric.upper()} [users]", format=",d", minExtent=52, tickCount=4)
    scale = alt.Scale(zero=False, nice=True)
    tooltip = [
        alt.Tooltip("day:T", title="Day", format="%A, %-d %B %Y"),
        alt.Tooltip("estimate:Q", title="Published [users]", format=",d"),
        # In words: a number that is missing would be shown as 0.
        alt.Tooltip("interval:N", title=f"{level} [users]"),
    ]
    base = alt.Chart().encode(x=day)
    # Names of its own: Altair numbers what has none, and then no two drawings are the same chart.
    near = alt.selection_point("near", fields=["day"], nearest=True, on="pointerover", empty=False, clear="pointerout")
    layers: list[alt.Chart] = [
        base.mark_area(color=RELEASED, opacity=0.32).encode(y=alt.Y("low:Q", axis=users, scale=scale), y2="high:Q"),
        base.mark_line(color=RELEASED, strokeWidth=1.8).encode(y=alt.Y("estimate:Q", scale=scale)),
    ]
    if truth:
        tooltip.append(alt.Tooltip("truth:Q", title="Truth, NOT PRIVATE", format=",d"))
        layers.append(
            base.mark_line(color=TRUTH, strokeWidth=1.6, strokeDash=[4, 3]).encode(y=alt.Y("truth:Q", scale=scale))
        )
    layers.append(
        base.mark_circle(color=RELEASED, size=45)
        .encode(
            y=alt.Y("estimate:Q", scale=scale),
            opacity=alt.condition(near, alt.value(1), alt.value(0)),
            tooltip=tooltip,
        )
        .properties(name="points")
        .add_params(near)
    )
    return alt.layer(*layers).properties(height=height)


def budget_chart(parts: Sequence[tuple[str, str, float, str]]) -> Chart:
    """How a budget stands: one bar for ε and one for δ, each the whole cap.

    Args:
        parts: (ε or δ, kind of charge, share of the cap, the amount in words); the kinds are "series",
            "fresh releases" and "left".
    """
    kinds = ["series", "fresh releases", "left"]
    table = pd.DataFrame(parts, columns=["letter", "kind", "share", "amount"])
    table["order"] = [kinds.index(kind) for kind in table["kind"]]
    bars = (
        alt.Chart(table)
        .mark_bar(size=22)
        .encode(
            x=alt.X(
                "share:Q", title="share of the budget", scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", tickCount=5),
            ),
            y=alt.Y("letter:N", title=None, sort=["ε", "δ"], axis=alt.Axis(labelFontSize=15, ticks=False)),
            color=alt.Color(
                "kind:N", title=None, scale=alt.Scale(domain=kinds, range=[CHARGED, FRESH, LEFT]),
                legend=alt.Legend(orient="top", offset=4),
            ),
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("letter:N", title="Of"),
                alt.Tooltip("kind:N", title="For"),
                alt.Tooltip("amount:N", title="Amount"),
                alt.Tooltip("share:Q", title="Share", format=".1%"),
            ],
        )
    )  # fmt: skip
    return alt.layer(bars).properties(height=185)


def error_chart(
    rows: Sequence[_Row], along: str, chosen: float, title: str, *, logarithmic: bool = False, height: int = 430
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
    columns = dict(zip(("rmse", "noise_rmse", "bias_rms"), PARTS, strict=True))
    mechanisms = list(dict.fromkeys(table["mechanism"]))
    parts = table.melt(["mechanism", along], list(columns), "part", "users").replace({"part": columns})
    # The vertical axis reaches two decades below the largest error, or to the smallest one.
    top = float(table["rmse_p95"].max()) * 1.15
    bottom = min(top / 100, float(table["rmse_p05"].min()) * 0.8)
    parts = parts[parts["users"] > 0]
    # All mechanisms that freeze users count the same ones.
    bias = parts[parts["part"] == PARTS[2]].drop_duplicates(along)
    noisy = parts[parts["part"] != PARTS[2]]
    x = alt.X(
        f"{along}:Q", title=title,
        scale=alt.Scale(type="log", nice=False, padding=10) if logarithmic
        else alt.Scale(type="linear", nice=False, padding=10, zero=False),
        axis=alt.Axis(values=sorted(table[along].unique()), format="~g", labelOverlap="greedy", grid=False),
    )  # fmt: skip
    scale = alt.Scale(type="log", domain=[bottom, top], nice=False)
    ticks = [tick for tick in _TICKS if bottom <= tick <= top]
    users = alt.Axis(title="RMSE of a released day [users]", format="~s", values=ticks, minExtent=34)
    # One legend for both: colour and shape say the same.
    legend = alt.Legend(
        title=None, orient="bottom", direction="horizontal", columns=2, labelLimit=200, symbolOpacity=1, symbolSize=90,
    )  # fmt: skip
    colour = alt.Color(
        "mechanism:N", legend=legend,
        scale=alt.Scale(domain=mechanisms, range=[COLOURS[name] for name in mechanisms]),
    )  # fmt: skip
    shape = alt.Shape(
        "mechanism:N", legend=legend,
        scale=alt.Scale(domain=mechanisms, range=[_SHAPES[MARKERS[name]] for name in mechanisms]),
    )  # fmt: skip
    dash = alt.StrokeDash(
        "part:N",
        scale=alt.Scale(domain=list(PARTS), range=list(_DASHES)),
        legend=alt.Legend(
            title=None, orient="top", direction="horizontal", columns=3, labelLimit=200, symbolType="stroke",
            symbolStrokeWidth=2, symbolSize=420, symbolStrokeColor=TRUTH,
        ),
    )  # fmt: skip
    chart = alt.Chart(table)
    band = chart.mark_area(opacity=0.22, clip=True).encode(
        x=x, y=alt.Y("rmse_p05:Q", axis=users, scale=scale), y2="rmse_p95:Q", color=colour
    )
    share = alt.Y("users:Q", axis=users, scale=scale)
    noise = alt.Chart(noisy).mark_line(strokeWidth=1.9, clip=True).encode(x=x, y=share, color=colour, strokeDash=dash)
    missed = alt.Chart(bias).mark_line(strokeWidth=1.9, color=TRUTH, clip=True).encode(x=x, y=share, strokeDash=dash)
    dots = chart.mark_point(size=46, opacity=1, filled=True).encode(
        x=x,
        y=alt.Y("rmse:Q", axis=users, scale=scale),
        color=colour,
        shape=shape,
        tooltip=[
            alt.Tooltip("mechanism:N", title="Mechanism"),
            alt.Tooltip("epsilon:Q", title="ε"),
            alt.Tooltip("w_bound:Q", title="W_BOUND"),
            alt.Tooltip("rmse:Q", title="Total error [users]", format=",.1f"),
            alt.Tooltip("rmse_p05:Q", title="5 % of the trials below", format=",.1f"),
            alt.Tooltip("rmse_p95:Q", title="5 % of the trials above", format=",.1f"),
            alt.Tooltip("noise_rmse:Q", title="Noise [users]", format=",.1f"),
            alt.Tooltip("bias_rms:Q", title="Truncation bias [users]", format=",.1f"),
        ],
    )
    marker = (
        alt.Chart(pd.DataFrame({along: [chosen]}))
        .mark_rule(color=CHOSEN, strokeWidth=1.5)
        .encode(x=x, tooltip=alt.Tooltip(f"{along}:Q", title=title))
    )
    return alt.layer(marker, band, missed, noise, dots).properties(height=height)
