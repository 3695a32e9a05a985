"""The charts of coverage: pure functions from rows to Altair, readable on light and dark ground."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from workbench.rows import TableRow
from workbench.views.charts import TRUTH, Chart
from workbench.views.marks import mechanism_marks

SERIES = ("the count that noise was added to", "the true count")
NOMINAL = "what the level promises"


def level_chart(rows: Sequence[TableRow], column: str, title: str, height: int = 400) -> Chart:
    """Coverage against the level of the intervals: a mark with its bar for each mechanism, beside what is promised.

    Hollow marks are for the true count, drawn where it is another one than noise was added to.

    Args:
        rows: of the table "coverage".
        column: "one_day" or "band".
        title: of the vertical axis, after "share of".
    """
    table = _long(rows, column, "level")
    table["promise"] = [f"{100 * level:g} %" for level in table["level"]]
    order = list(dict.fromkeys(table["promise"]))
    x = alt.X("promise:O", sort=order, title="level of the intervals", axis=alt.Axis(labelAngle=0, grid=False))
    aside = alt.XOffset("mechanism:N", sort=list(dict.fromkeys(table["mechanism"])), scale=alt.Scale(paddingOuter=0.3))
    share = alt.Scale(domain=[_bottom(table), 1], nice=False)
    base = alt.Chart(table).encode(x=x)
    promise = base.mark_tick(color=TRUTH, thickness=2, orient="horizontal", bandSize=70).encode(
        y=alt.Y("level:Q", scale=share), tooltip=alt.Tooltip("promise:O", title=NOMINAL)
    )
    return alt.layer(promise, *_marks(base, aside, share, f"share of {title}", table)).properties(height=height)


def day_chart(rows: Sequence[TableRow], level: float, height: int = 360) -> Chart:
    """Coverage on each day: solid for the count that noise was added to, dashed for the true one.

    Args:
        rows: of the table "by-day".
        level: of the intervals.
    """
    table = _long(rows, "held", "day")
    x = alt.X(
        "day:Q",
        title="day of the series",
        scale=alt.Scale(nice=False),
        axis=alt.Axis(grid=False, tickMinStep=1, tickCount=10),
    )
    share = alt.Scale(domain=[0, 1])
    y = alt.Y("share:Q", title="share of trials held", scale=share,
              axis=alt.Axis(format="%"))  # fmt: skip
    dash = alt.StrokeDash(
        "what:N", scale=alt.Scale(domain=list(SERIES), range=[[1, 0], [5, 3]]),
        legend=alt.Legend(title=None, orient="top", columns=1, labelLimit=300, symbolType="stroke", symbolSize=420),
    )  # fmt: skip
    colour, _ = mechanism_marks(list(dict.fromkeys(table["mechanism"])))
    base = alt.Chart(table).encode(x=x)
    lines = base.mark_line(strokeWidth=1.8).encode(y=y, color=colour, strokeDash=dash)
    # A series of one day has no line.
    dots = base.mark_point(size=14, filled=True, opacity=0.7).encode(y=y, color=colour, tooltip=_tooltip("day:Q"))
    promise = alt.Chart(pd.DataFrame({"level": [level]})).mark_rule(color=TRUTH, strokeWidth=1.5).encode(
        y=alt.Y("level:Q", scale=share), tooltip=alt.Tooltip("level:Q", title=NOMINAL, format=".0%")
    )  # fmt: skip
    return alt.layer(promise, lines, dots).properties(height=height)


def _long(rows: Sequence[TableRow], column: str, along: str) -> pd.DataFrame:
    """A row for each mark: of the count that noise was added to, and of the true one where it is another."""
    marks = []
    for row in rows:
        differs = (row["bias_rms"] if "bias_rms" in row else row["frozen"]) > 0
        for prefix, what in (("", SERIES[0]), *([("true_", SERIES[1])] if differs else [])):
            marks.append(
                {
                    "mechanism": row["mechanism"],
                    along: row[along],
                    "what": what,
                    "share": row[f"{prefix}{column}"],
                    "low": row[f"{prefix}{column}_low"],
                    "high": row[f"{prefix}{column}_high"],
                }
            )
    return pd.DataFrame(marks).dropna(subset=["share"])


def _bottom(table: pd.DataFrame) -> float:
    """The vertical axis begins at a multiple of 10 % below all bars and levels."""
    lowest = min(float(table["low"].min()), float(table["level"].min()))
    return max(0.0, int(10 * lowest) / 10 - 0.1)


def _marks(base: alt.Chart, aside: alt.XOffset, share: alt.Scale, title: str, table: pd.DataFrame) -> list[alt.Chart]:
    axis = alt.Axis(title=title, format="%")
    colour, shape = mechanism_marks(list(dict.fromkeys(table["mechanism"])))
    bars = base.mark_rule(strokeWidth=1.6).encode(
        y=alt.Y("low:Q", scale=share, axis=axis), y2=alt.Y2("high:Q"), xOffset=aside, color=colour
    )
    points = base.mark_point(size=64, strokeWidth=1.8, opacity=1).encode(
        y=alt.Y("share:Q", scale=share, axis=axis), xOffset=aside, color=colour, shape=shape,
        fillOpacity=alt.condition(alt.datum.what == SERIES[0], alt.value(1), alt.value(0)), fill=colour,
        tooltip=_tooltip("promise:O"),
    )  # fmt: skip
    return [bars, points]


def _tooltip(place: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("mechanism:N", title="Mechanism"),
        alt.Tooltip(place, title="Day" if place.startswith("day") else "Level"),
        alt.Tooltip("what:N", title="Holds"),
        alt.Tooltip("share:Q", title="Share", format=".2%"),
        alt.Tooltip("low:Q", title="95 % confidence from", format=".2%"),
        alt.Tooltip("high:Q", title="to", format=".2%"),
    ]
