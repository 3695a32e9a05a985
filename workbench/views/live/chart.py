"""The charts of what is published: pure functions from tables to Altair, readable on light and dark ground."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from workbench.rows import TableRow
from workbench.views.charts import RELEASED, TRUTH, Chart
from workbench.views.jobs.job import Tables
from workbench.views.live.research import LiveQuestion
from workbench.views.live.table import ALL_DAYS

EARLIER = "#D55E00"
FIRST_HEIGHT, HEIGHT = 270, 170
FEW_DAYS = 10
"""So many days are drawn as points with their intervals: one alone would be an empty line."""


@dataclass(frozen=True)
class SeriesStyle:
    """How one series is drawn, without its data.

    Attributes:
        value: its column; `low` and `high` are its interval.
        title: of the vertical axis, with the unit.
        number: its format.
        interval: what the interval is, for the tooltip.
        height: of the plot, in pixels.
        days: how many there are, up to one more than `FEW_DAYS`.
        besides: other lines: column → what it is, for the tooltip.
    """

    value: str
    title: str
    number: str
    interval: str
    height: int
    days: int
    besides: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class SeriesPicture:
    """A chart and its data, apart: new data then moves the chart that is there, and a tooltip stays open."""

    data: pd.DataFrame
    style: SeriesStyle

    @property
    def specification(self) -> dict[str, Any]:
        """The chart as Vega-Lite, without its data."""
        found: dict[str, Any] = json.loads(series_specification(self.style))
        return found

    def complete(self) -> Chart:
        """The chart with its data."""
        return series_chart(self.style, self.data)


def live_pictures(question: LiveQuestion, tables: Tables) -> dict[str, SeriesPicture]:
    """A picture a metric, the chosen one first and largest, and that of stickiness."""
    level = tables["published"][0]["ci_level"]
    order = sorted({row["metric"]: None for row in tables["counts"]}, key=lambda metric: metric != question.metric)
    pictures = {
        metric: counts_picture(
            [row for row in tables["counts"] if row["metric"] == metric],
            interval_name(level, question.band),
            week=question.week,
            height=FIRST_HEIGHT if metric == question.metric else HEIGHT,
        )
        for metric in order
    }
    if shares := tables["stickiness"]:
        pictures["stickiness"] = stickiness_picture(shares, question.band)
    return pictures


def interval_name(level: float, band: str) -> str:
    """An interval by its level, and what it holds."""
    return f"{level:.0%} interval, " + ("all days at once" if band == ALL_DAYS else "each day by itself")


def counts_picture(
    rows: Sequence[TableRow], interval: str, *, week: bool = False, height: int = HEIGHT,
    truth: Mapping[str, int] | None = None,
) -> SeriesPicture:  # fmt: skip
    """The counts of one metric.

    Args:
        rows: of `counts_table`, of one metric.
        interval: what the interval is.
        week: whether the counts of a week before are drawn too.
        height: of the plot, in pixels.
        truth: day (ISO) → true count, NOT PRIVATE, to be drawn too.
    """
    columns = ["count", "low", "high", "estimate", *(["week_before"] if week else [])]
    data = _data(rows, columns, ",.0f")
    besides = [("week_before", "A week before [users]")] if week else []
    if truth is not None:
        data["truth"] = [truth.get(row["day"]) for row in rows]
        besides.append(("truth", "Truth, NOT PRIVATE"))
    title = f"{rows[0]['metric'].upper()} [users]"
    style = SeriesStyle("count", title, ",d", f"{interval} [users]", height, _days(rows), tuple(besides))
    return SeriesPicture(data, style)


def stickiness_picture(rows: Sequence[TableRow], band: str) -> SeriesPicture:
    """DAU/MAU; days of which nothing can be said are left out."""
    interval = interval_name(rows[0]["level"], band)
    style = SeriesStyle("ratio", "DAU/MAU", ".0%", interval, HEIGHT, _days(rows))
    return SeriesPicture(_data(rows, ["ratio", "low", "high"], ".1%"), style)


def _data(rows: Sequence[TableRow], columns: Sequence[str], number: str) -> pd.DataFrame:
    data = pd.DataFrame({name: [row[name] for row in rows] for name in columns})
    data.insert(0, "day", pd.to_datetime([row["day"] for row in rows]))
    # In words: a number that is missing would be shown as 0.
    data["interval"] = [interval_words(row, number) for row in rows]
    return data


def interval_words(row: TableRow, number: str = ",.0f") -> str:
    """The ends of an interval; some mechanisms have none on some days."""
    if row["low"] is None:
        return "no interval"
    return f"{row['low']:{number}} to {row['high']:{number}}"


def _days(rows: Sequence[TableRow]) -> int:
    return min(len(rows), FEW_DAYS + 1)


@functools.lru_cache(maxsize=64)
def series_specification(style: SeriesStyle) -> str:
    """`series_chart` as JSON. Altair checks it against its schema, which takes longer than all the rest of a page."""
    return series_chart(style).to_json()


def series_chart(style: SeriesStyle, data: pd.DataFrame | None = None) -> Chart:
    """One series with its intervals; without its data where none are given."""
    few = style.days <= FEW_DAYS
    # Ticks between the days would print each of them twice.
    ticks: Any = {"interval": "day", "step": 1 + (style.days > FEW_DAYS // 2)} if few else 8
    day = alt.X("day:T", title=None, axis=alt.Axis(format="%-d %b %Y", labelOverlap=True, tickCount=ticks, grid=False))
    # The same room left of every chart, so that their days stand above each other.
    step = 0.01 if style.number.endswith("%") else 1
    axis = alt.Axis(title=style.title, format=style.number, minExtent=52, tickCount=4, tickMinStep=step)
    scale = alt.Scale(zero=False, nice=True)
    base = (alt.Chart() if data is None else alt.Chart(data)).encode(x=day)
    # Names of its own: Altair numbers what has none, and then no two drawings are the same chart.
    near = alt.selection_point("near", fields=["day"], nearest=True, on="pointerover", empty=False, clear="pointerout")
    low = alt.Y("low:Q", axis=axis, scale=scale)
    value = alt.Y(f"{style.value}:Q", scale=scale)
    layers: list[alt.Chart] = [
        base.mark_rule(color=RELEASED, strokeWidth=5, opacity=0.4).encode(y=low, y2=alt.Y2("high:Q"))
        if few
        else base.mark_area(color=RELEASED, opacity=0.32).encode(y=low, y2=alt.Y2("high:Q")),
        base.mark_line(color=RELEASED, strokeWidth=1.8).encode(y=value),
    ]
    for column, _ in style.besides:
        layers.append(_beside(base, column, scale, points=few))
    dots = base.mark_circle(color=RELEASED, size=60 if few else 45).encode(y=value, tooltip=_tooltip(style))
    if not few:
        dots = dots.encode(opacity=alt.condition(near, alt.value(1), alt.value(0)))
    layers.append(dots.properties(name="points").add_params(near))
    return alt.layer(*layers).properties(height=style.height)


def _beside(base: alt.Chart, column: str, scale: alt.Scale, *, points: bool) -> alt.Chart:
    colour, dash = (TRUTH, [4, 3]) if column == "truth" else (EARLIER, [1, 3])
    dots = alt.OverlayMarkDef(color=colour, size=30) if points else False
    line: alt.Chart = base.mark_line(color=colour, strokeWidth=1.6, strokeDash=dash, strokeCap="round", point=dots)
    return line.encode(y=alt.Y(f"{column}:Q", scale=scale))


def _tooltip(style: SeriesStyle) -> list[alt.Tooltip]:
    counted = style.value == "count"
    tooltip = [
        alt.Tooltip("day:T", title="Day", format="%A, %-d %B %Y"),
        alt.Tooltip(f"{style.value}:Q", title="Count [users]" if counted else style.title,
                    format=",d" if counted else ".1%"),
        alt.Tooltip("interval:N", title=style.interval),
    ]  # fmt: skip
    if counted:
        tooltip.append(alt.Tooltip("estimate:Q", title="Published estimate [users]", format=",.1f"))
    return tooltip + [alt.Tooltip(f"{column}:Q", title=title, format=",d") for column, title in style.besides]
