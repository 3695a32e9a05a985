"""The charts of what is published: pure functions from tables to Altair, readable on light and dark ground."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
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
_DAY_FORMAT = "%A, %-d %B %Y"
FIRST_HEIGHT, HEIGHT = 270, 170
DrawPicture = Callable[[Any, pd.DataFrame | None], Chart]
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
        heading: above the plot; none where it is empty.
        step: whether a value stands for the days before it, as that of a week does.
    """

    value: str
    title: str
    number: str
    interval: str
    height: int
    days: int
    besides: tuple[tuple[str, str], ...] = ()
    heading: str = ""
    step: bool = False


@dataclass(frozen=True)
class LivePicture:
    """A chart and its data, apart: new data then moves the chart that is there, and a tooltip stays open.

    Attributes:
        style: how it is drawn, without its data.
        draw: from a style and data, or none, to the chart.
    """

    data: pd.DataFrame
    style: Hashable
    draw: DrawPicture

    @property
    def specification(self) -> dict[str, Any]:
        """The chart as Vega-Lite, without its data."""
        found: dict[str, Any] = json.loads(_specification(self.draw, self.style))
        return found

    def complete(self) -> Chart:
        """The chart with its data."""
        return self.draw(self.style, self.data)


def live_pictures(question: LiveQuestion, tables: Tables) -> dict[str, LivePicture]:
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
) -> LivePicture:  # fmt: skip
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
    return LivePicture(data, style, series_chart)


def stickiness_picture(rows: Sequence[TableRow], band: str) -> LivePicture:
    """DAU/MAU; days of which nothing can be said are left out."""
    interval = interval_name(rows[0]["level"], band)
    style = SeriesStyle("ratio", "DAU/MAU", ".0%", interval, HEIGHT, _days(rows))
    return LivePicture(_data(rows, ["ratio", "low", "high"], ".1%"), style, series_chart)


def segment_picture(
    rows: Sequence[TableRow], title: str, interval: str, height: int, *, heading: str = "", step: bool = False
) -> LivePicture:
    """The counts of one series of a question; see `SeriesStyle`."""
    style = SeriesStyle("count", title, ",d", f"{interval} [users]", height, _days(rows), heading=heading, step=step)
    return LivePicture(_data(rows, ["count", "low", "high", "estimate"], ",.0f"), style, series_chart)


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
def _specification(draw: DrawPicture, style: Hashable) -> str:
    """A chart as JSON. Altair checks it against its schema, which takes longer than all the rest of a page."""
    return draw(style, None).to_json()


def day_axis(days: int, *, step: bool = False) -> alt.Axis:
    """The axis of a chart's days.

    Args:
        days: how many there are, up to one more than `FEW_DAYS`.
        step: whether each stands for the days before it.
    """
    # Ticks between the days would print each of them twice.
    few = days <= FEW_DAYS and not step
    ticks: Any = {"interval": "day", "step": 1 + (days > FEW_DAYS // 2)} if few else 8
    return alt.Axis(format="%-d %b %Y", labelOverlap=True, tickCount=ticks, grid=False)


def series_chart(style: SeriesStyle, data: pd.DataFrame | None = None) -> Chart:
    """One series with its intervals; without its data where none are given."""
    few = style.days <= FEW_DAYS or style.step
    # The same room left of every chart, so that their days stand above each other.
    step = 0.01 if style.number.endswith("%") else 1
    axis = alt.Axis(title=style.title, format=style.number, minExtent=52, tickCount=4, tickMinStep=step)
    scale = alt.Scale(zero=False, nice=True)
    day = alt.X("day:T", title=None, axis=day_axis(style.days, step=style.step))
    base = (alt.Chart() if data is None else alt.Chart(data)).encode(x=day)
    # Names of its own: Altair numbers what has none, and then no two drawings are the same chart.
    near = alt.selection_point("near", fields=["day"], nearest=True, on="pointerover", empty=False, clear="pointerout")
    low = alt.Y("low:Q", axis=axis, scale=scale)
    value = alt.Y(f"{style.value}:Q", scale=scale)
    line: dict[str, Any] = {"interpolate": "step-before", "opacity": 0.6} if style.step else {}
    layers: list[alt.Chart] = [
        base.mark_rule(color=RELEASED, strokeWidth=5, opacity=0.4).encode(y=low, y2=alt.Y2("high:Q"))
        if few
        else base.mark_area(color=RELEASED, opacity=0.32).encode(y=low, y2=alt.Y2("high:Q")),
        base.mark_line(color=RELEASED, strokeWidth=1.8, **line).encode(y=value),
    ]
    for column, _ in style.besides:
        layers.append(_beside(base, column, scale, points=few))
    dots = base.mark_circle(color=RELEASED, size=60 if few else 45).encode(y=value, tooltip=_tooltip(style))
    if not few:
        dots = dots.encode(opacity=alt.condition(near, alt.value(1), alt.value(0)))
    layers.append(dots.properties(name="points").add_params(near))
    return with_heading(alt.layer(*layers).properties(height=style.height), style.heading)


def with_heading(chart: Chart, heading: str) -> Chart:
    """A chart with words above it, where there are some."""
    if not heading:
        return chart
    return chart.properties(title=alt.TitleParams(heading, anchor="start", fontSize=14, limit=300))


def _beside(base: alt.Chart, column: str, scale: alt.Scale, *, points: bool) -> alt.Chart:
    colour, dash = (TRUTH, [4, 3]) if column == "truth" else (EARLIER, [1, 3])
    dots = alt.OverlayMarkDef(color=colour, size=30) if points else False
    line: alt.Chart = base.mark_line(color=colour, strokeWidth=1.6, strokeDash=dash, strokeCap="round", point=dots)
    return line.encode(y=alt.Y(f"{column}:Q", scale=scale))


def day_tooltip(*, step: bool = False) -> alt.Tooltip:
    """The day in a tooltip; see `day_axis`."""
    return alt.Tooltip("day:T", title="Last day" if step else "Day", format=_DAY_FORMAT)


def _tooltip(style: SeriesStyle) -> list[alt.Tooltip]:
    counted = style.value == "count"
    tooltip = [
        day_tooltip(step=style.step),
        alt.Tooltip(f"{style.value}:Q", title="Count [users]" if counted else style.title,
                    format=",d" if counted else ".1%"),
        alt.Tooltip("interval:N", title=style.interval),
    ]  # fmt: skip
    if counted:
        tooltip.append(alt.Tooltip("estimate:Q", title="Published estimate [users]", format=",.1f"))
    return tooltip + [alt.Tooltip(f"{column}:Q", title=title, format=",d") for column, title in style.besides]
