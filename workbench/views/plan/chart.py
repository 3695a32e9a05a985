"""The charts of a plan: dots of releases that may come, and how ε is split. Pure functions from rows to Altair."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from workbench.rows import TableRow
from workbench.service.promise import spelt
from workbench.views.charts import RELEASED, TRUTH, Chart
from workbench.views.plan.research import EVENLY, PlanQuestion

CELLS = 24
"""Columns that dots may stand in."""
ASKED = "#E69F00"
TOGETHER = "together"


def dots_chart(row: TableRow, dots: Sequence[TableRow], height: int = 210) -> Chart:
    """Equally likely releases around the expected count, one dot each, and the error that was asked for.

    Args:
        row: of the table "plan".
        dots: of the same metric.
        height: with axes, in pixels.
    """
    table = stacked([dot["published"] for dot in dots], row["expected"], row["max_std"])
    metric, half = row["metric"].upper(), max(row["half_width"], row["error"]) * 1.35
    scale = alt.Scale(domain=[row["expected"] - half, row["expected"] + half], nice=False, zero=False)
    x = alt.X(
        "place:Q", title=f"published {metric} [users]", scale=scale,
        axis=alt.Axis(format=",d", tickCount=4, grid=False, labelOverlap=True, labelFlush=True),
    )  # fmt: skip
    tall = alt.Scale(domain=[0, max(8, int(table["height"].max()) + 1)], nice=False)
    asked = pd.DataFrame({"low": [row["expected"] - row["error"]], "high": [row["expected"] + row["error"]]})
    marked = pd.DataFrame({"place": [row["expected"]]})
    band = (
        alt.Chart(asked)
        .mark_rect(color=ASKED, opacity=0.22)
        .encode(
            x=alt.X("low:Q", scale=scale), x2=alt.X2("high:Q"),
            tooltip=[alt.Tooltip("low:Q", title="Error asked for, from [users]", format=",.0f"),
                     alt.Tooltip("high:Q", title="to [users]", format=",.0f")],
        )
    )  # fmt: skip
    expected = (
        alt.Chart(marked)
        .mark_rule(color=TRUTH, strokeDash=[4, 3], strokeWidth=1.5)
        .encode(x=x, tooltip=alt.Tooltip("place:Q", title="Expected count [users]", format=",d"))
    )
    points = (
        alt.Chart(table)
        .mark_circle(color=RELEASED, size=52, opacity=1, clip=True)
        .encode(
            x=x, y=alt.Y("height:Q", axis=None, scale=tall),
            tooltip=[alt.Tooltip("published:Q", title="One release in fifty [users]", format=",.0f")],
        )
    )  # fmt: skip
    return alt.layer(band, expected, points).properties(height=height)


def stacked(published: Sequence[float], expected: float, deviation: float) -> pd.DataFrame:
    """Dots in columns of equal width around the expected count, one upon the other: published, place, height."""
    width = 6.6 * deviation / CELLS
    cells = [round((one - expected) / width) for one in published]
    heights = [cells[: number + 1].count(cell) - 0.5 for number, cell in enumerate(cells)]
    places = [expected + cell * width for cell in cells]
    return pd.DataFrame({"published": list(published), "place": places, "height": heights})


def split_chart(rows: Sequence[TableRow], total: TableRow) -> Chart:
    """The ε of every series and of all together, beside what is allowed.

    Args:
        rows: of the table "plan".
        total: the row of the table "total".
    """
    names = [row["metric"].upper() for row in rows]
    table = pd.DataFrame({
        "series": [*names, TOGETHER],
        "epsilon": [*(row["epsilon"] for row in rows), total["epsilon"]],
        "share": [*(row["share"] for row in rows), 1.0],
        "mechanism": [*(row["mechanism"] for row in rows), "all"],
    })  # fmt: skip
    most = max(total["epsilon"], total["epsilon_allowed"]) * 1.12
    x = alt.X("epsilon:Q", title="ε of the whole series", scale=alt.Scale(domain=[0, most], nice=False),
              axis=alt.Axis(tickCount=6, format="~g", labelOverlap=True))  # fmt: skip
    y = alt.Y("series:N", title=None, sort=[*names, TOGETHER], axis=alt.Axis(ticks=False, labelFontSize=13))
    bars = (
        alt.Chart(table)
        .mark_bar()
        .encode(
            x=x, y=y,
            color=alt.condition(alt.datum.series == TOGETHER, alt.value(TRUTH), alt.value(RELEASED)),
            tooltip=[
                alt.Tooltip("series:N", title="Series"),
                alt.Tooltip("mechanism:N", title="Mechanism"),
                alt.Tooltip("epsilon:Q", title="ε", format=".4~g"),
                alt.Tooltip("share:Q", title="Share", format=".0%"),
            ],
        )
    )  # fmt: skip
    allowed = pd.DataFrame({"epsilon": [total["epsilon_allowed"]], "text": ["allowed"]})
    rule = alt.Chart(allowed).mark_rule(color=ASKED, strokeWidth=2.5).encode(
        x=x, tooltip=alt.Tooltip("epsilon:Q", title="ε of the strip", format=".4~g")
    )  # fmt: skip
    label = alt.Chart(allowed).mark_text(color=ASKED, align="center", baseline="bottom", fontSize=12).encode(
        x=x, y=alt.value(-3), text=alt.Text("text:N")
    )  # fmt: skip
    return alt.layer(bars, rule, label).properties(height=230)


def dashboard_chart(question: PlanQuestion, rows: Sequence[TableRow]) -> Chart:
    """What every question of a dashboard gets of the budget; where all get the same, how each errs.

    Args:
        rows: of the table "dashboard".
    """
    table = pd.DataFrame({
        "name": [spelt(row["name"]) for row in rows],
        **{name: [row[name] for row in rows] for name in ("std", "half_width", "expected", "share", "series")},
    })  # fmt: skip
    column, title, number = ("share", "share of the budget", "~%")
    if question.split == EVENLY:
        column, title, number = ("std", "standard deviation [users]", ",~f")
    bars = (
        alt.Chart(table)
        .mark_bar(color=RELEASED)
        .encode(
            x=alt.X(f"{column}:Q", title=title, axis=alt.Axis(format=number, tickCount=6, labelOverlap=True)),
            y=alt.Y("name:N", title=None, sort=list(table["name"]), axis=alt.Axis(ticks=False, labelLimit=150)),
            tooltip=[
                alt.Tooltip("name:N", title="Question"),
                alt.Tooltip("share:Q", title="Share of the budget", format=".1%"),
                alt.Tooltip("std:Q", title="Standard deviation [users]", format=",.4~g"),
                alt.Tooltip("half_width:Q", title="Half of the widest interval [users]", format=",.4~g"),
                alt.Tooltip("expected:Q", title="Expected count [users]", format=",.4~g"),
                alt.Tooltip("series:Q", title="Series"),
            ],
        )
    )  # fmt: skip
    return alt.layer(bars).properties(height=60 + 24 * len(rows))
