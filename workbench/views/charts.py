"""The pages' charts: pure functions from rows to Altair, readable on light and dark ground."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from workbench.rows import TableRow

# Readable on white and on black alike; the dashes say the same as the colours.
RELEASED = "#2288C8"
TRUTH = "#8A8A8A"
CHARGED, FRESH, LEFT = "#2288C8", "#E69F00", "#8A8A8A55"

Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.ConcatChart | alt.HConcatChart | alt.VConcatChart


def series_table(rows: Sequence[TableRow], truth: Mapping[str, int] | None) -> pd.DataFrame:
    """What `series_chart` draws: day, estimate, low, high, the interval in words and, where it is given, truth.

    Args:
        rows: releases, oldest first.
        truth: day (ISO) → true count.
    """
    columns = {"estimate": "estimate", "low": "ci_low", "high": "ci_high"}
    table = pd.DataFrame({name: [_whole(row[column]) for row in rows] for name, column in columns.items()})
    table.insert(0, "day", pd.to_datetime([row["day"] for row in rows]))
    table["interval"] = [interval_ends(row) for row in rows]
    if truth is not None:
        table["truth"] = [truth.get(row["day"]) for row in rows]
    return table


def interval_ends(row: TableRow) -> str:
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
