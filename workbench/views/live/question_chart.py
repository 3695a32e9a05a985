"""The charts of flows, weeks, months and segments: pure functions from tables to Altair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import altair as alt
import pandas as pd

from dp.names import FLOWS
from dp.questions import OTHER, Cell, Question
from workbench.rows import TableRow
from workbench.views.charts import TRUTH, Chart
from workbench.views.jobs.job import Tables
from workbench.views.live.agreed import adds_up, plan_of
from workbench.views.live.chart import (
    FEW_DAYS,
    FIRST_HEIGHT,
    HEIGHT,
    LivePicture,
    day_axis,
    day_tooltip,
    interval_name,
    interval_words,
    segment_picture,
    with_heading,
)
from workbench.views.live.research import LiveQuestion

COLOURS = ("#2288C8", "#E69F00", "#1B9E77", "#CC79A7", "#D55E00", "#8073B8", "#A6761D")
FLOW_COLOURS = dict(zip(FLOWS, ("#2288C8", "#1B9E77", "#D55E00"), strict=True))
MOST_STACKED = 8
"""Segments that stand above each other; the smallest of more are put together."""
MOST_MULTIPLES = 12
"""Segments that are drawn one by one; more of them stand in the table alone."""
HALF_A_BAR = timedelta(hours=10)


@dataclass(frozen=True)
class BarStyle:
    """How parts that stand above each other are drawn, without their data.

    Attributes:
        colours: part → its colour.
        part: what a part is called in the tooltip.
        total: what the parts come to is called there.
        interval: what intervals are, for the tooltip.
        area: whether they are an area; else each day is a bar.
        days: see `workbench.views.live.chart.day_axis`; so are those of `step`.
    """

    colours: tuple[tuple[str, str], ...]
    title: str
    part: str
    total: str
    interval: str
    height: int
    days: int
    area: bool = False
    step: bool = False
    heading: str = ""


def asked_question(question: LiveQuestion, tables: Tables) -> Question:
    """The question besides the metrics that is drawn."""
    named = [row for row in tables["plans"] if row["name"] == question.question]
    (found,) = plan_of(named[-1]).request.asked
    return found


def stacks(name: str, plans: Sequence[TableRow]) -> bool:
    """Whether the segments of a question are drawn above each other: they add up in every period, and are no flows."""
    own = [plan_of(row) for row in plans if row["name"] == name]
    return all(question.breakdown and question.cell.kind != "flows" and adds_up(plan)
               for plan in own for question in plan.request.asked)  # fmt: skip


def question_rows(asked: Question, tables: Tables) -> list[TableRow]:
    """The rows of the table "agreed" that answer a question, each series oldest first."""
    breakdown = asked.breakdown and asked.breakdown.name
    return [row for row in tables["agreed"] if row["question"] in asked.cell.parts and row["breakdown"] == breakdown]


def question_pictures(question: LiveQuestion, tables: Tables) -> dict[str, LivePicture]:
    """The pictures of the question besides the metrics: one, or one a segment."""
    if question.question is None:
        return {}
    asked = asked_question(question, tables)
    rows = question_rows(asked, tables)
    if asked.cell.kind == "flows":
        rows = settled(asked.cell, rows, tables["plans"])
    interval = interval_name(tables["published"][0]["ci_level"], question.band)
    if asked.breakdown is None:
        return {"question": _one(asked.cell, rows, interval, FIRST_HEIGHT)}
    if stacks(question.question, tables["plans"]) and not question.multiples:
        return {"question": stacked_picture(asked, rows, interval)}
    segments = largest(rows, MOST_MULTIPLES)
    return {
        f"segment-{number}": _one(
            asked.cell, [row for row in rows if row["segment"] == segment], interval, HEIGHT, heading=segment
        )
        for number, segment in enumerate(segments, 1)
    }


def largest(rows: Sequence[TableRow], most: int) -> list[str]:
    """So many segments, those with the largest last numbers, in their own order."""
    last = {row["segment"]: row["count"] for row in rows}
    chosen = sorted(last, key=lambda segment: -last[segment])[:most]
    return [segment for segment in last if segment in chosen]


def _one(cell: Cell, rows: Sequence[TableRow], interval: str, height: int, heading: str = "") -> LivePicture:
    if cell.kind == "flows":
        return flows_picture(cell, rows, interval, height, heading=heading)
    title = cell_title(cell) if not heading else "users"
    return segment_picture(rows, title, interval, height, heading=heading, step=cell.window is None)


def cell_title(cell: Cell) -> str:
    """What is on the vertical axis, with the unit."""
    return f"{cell.metric.upper()} [users]" if cell.window is not None else f"active in the {cell.kind} [users]"


def settled(cell: Cell, rows: Sequence[TableRow], plans: Sequence[TableRow]) -> list[TableRow]:
    """The rows of flows without the days on which a window fills, in which everybody comes for the first time.

    All rows where few are left. Each period begins with an empty window.
    """
    firsts = {plan_of(row).request.first for row in plans}
    filling = {(first + timedelta(days=place)).isoformat() for first in firsts for place in range(cell.window or 0)}
    left = [row for row in rows if row["day"] not in filling]
    return left if len({row["day"] for row in left}) > FEW_DAYS else list(rows)


def flows_picture(
    cell: Cell, rows: Sequence[TableRow], interval: str, height: int = FIRST_HEIGHT, *, heading: str = ""
) -> LivePicture:
    """Who came, above zero, and who went, below it."""
    data = _bars(cell, rows, [row["question"].rpartition("/")[2] for row in rows])
    gone = data["part"] == FLOWS[2]
    returning = data["part"] == FLOWS[1]
    new = data.loc[data["part"] == FLOWS[0], "count"].to_numpy()
    data["bottom"] = 0
    data.loc[returning, "bottom"] = new
    data.loc[gone, "bottom"] = -data["count"]
    data["top"] = data["bottom"] + data["count"]
    data["total"] = data["day"].map((data["count"] * (1 - 2 * gone)).groupby(data["day"]).sum())
    style = BarStyle(
        tuple(FLOW_COLOURS.items()), "users a day", "Users", f"{cell.metric.upper()} changes by [users]",
        f"{interval} [users]", height, _days(len(new)), heading=heading,
    )  # fmt: skip
    return LivePicture(data, style, bars_chart)


def stacked_picture(asked: Question, rows: Sequence[TableRow], interval: str) -> LivePicture:
    """The segments above each other."""
    shown = largest(rows, MOST_STACKED)
    number = len({row["segment"] for row in rows})
    if number > MOST_STACKED:
        shown = largest(rows, MOST_STACKED - 1)
        rows = [row for row in rows if row["segment"] in shown] + put_together(rows, shown)
        shown = list(dict.fromkeys(row["segment"] for row in rows))
    data = _bars(asked.cell, rows, [row["segment"] for row in rows])
    above = data.groupby("day", sort=False)["count"]
    data["top"] = above.cumsum()
    data["bottom"] = data["top"] - data["count"]
    data["total"] = above.transform("sum")
    plain = [segment for segment in shown if segment != OTHER][: len(COLOURS)]
    colours = dict.fromkeys(shown, TRUTH) | dict(zip(plain, COLOURS, strict=False))
    days = len({row["day"] for row in rows})
    step = asked.cell.window is None
    style = BarStyle(
        tuple(colours.items()), cell_title(asked.cell), "Segment", "All segments [users]", f"{interval} [users]",
        FIRST_HEIGHT, _days(days), area=not step and days > FEW_DAYS, step=step,
    )  # fmt: skip
    return LivePicture(data, style, bars_chart)


def put_together(rows: Sequence[TableRow], shown: Sequence[str]) -> list[TableRow]:
    """The segments that are not shown, as one without an interval."""
    left = {row["segment"] for row in rows} - set(shown)
    by_day: dict[str, list[TableRow]] = {}
    for row in rows:
        if row["segment"] in left:
            by_day.setdefault(row["day"], []).append(row)
    sums = {"low": None, "high": None, "segment": f"{len(left)} others"}
    return [
        {**own[0], **sums, "count": sum(row["count"] for row in own), "estimate": sum(row["estimate"] for row in own)}
        for own in by_day.values()
    ]


def _days(number: int) -> int:
    return min(number, FEW_DAYS + 1)


def _bars(cell: Cell, rows: Sequence[TableRow], parts: Sequence[str]) -> pd.DataFrame:
    """A row a part and day; `begin` and `end` are where its bar begins and ends."""
    data = pd.DataFrame({name: [row[name] for row in rows] for name in ("count", "estimate")})
    days = [date.fromisoformat(row["day"]) for row in rows]
    data.insert(0, "part", list(parts))
    data.insert(0, "day", pd.to_datetime(days))
    data["begin"] = pd.to_datetime([first_day(cell, day) for day in days]) - HALF_A_BAR
    data["end"] = data["day"] + HALF_A_BAR
    # In words: a number that is missing would be shown as 0.
    data["interval"] = [interval_words(row) for row in rows]
    return data


def first_day(cell: Cell, last: date) -> date:
    """The first day that the bar of a day or of a calendar cell stands for."""
    if cell.window is not None:
        return last
    return last - timedelta(days=6) if cell.kind == "week" else last.replace(day=1)


def bars_chart(style: BarStyle, data: pd.DataFrame | None = None) -> Chart:
    """Parts above each other, and those that go below zero; without data where none are given."""
    names, colours = zip(*style.colours, strict=True)
    base = (alt.Chart() if data is None else alt.Chart(data)).encode(
        color=alt.Color(
            "part:N", title=None, scale=alt.Scale(domain=list(names), range=list(colours)), sort=list(names),
            legend=alt.Legend(orient="top", direction="horizontal", columns=4, labelLimit=150, offset=2),
        )
    )  # fmt: skip
    # What is below zero is a number of users, too.
    axis = alt.Axis(
        title=style.title, minExtent=52, tickCount=4, tickMinStep=1, labelExpr="format(abs(datum.value), ',d')"
    )
    bottom, top = alt.Y("bottom:Q", axis=axis, scale=alt.Scale(nice=True)), alt.Y2("top:Q")
    days = day_axis(style.days, step=style.step)
    x, begin = (alt.X(f"{column}:T", title=None, axis=days) for column in ("day", "begin"))
    tooltip = [
        day_tooltip(step=style.step),
        alt.Tooltip("part:N", title=style.part),
        alt.Tooltip("count:Q", title="Count [users]", format=",d"),
        alt.Tooltip("interval:N", title=style.interval),
        alt.Tooltip("estimate:Q", title="Published estimate [users]", format=",.1f"),
        alt.Tooltip("total:Q", title=style.total, format=",d"),
    ]
    near = alt.selection_point("near", fields=["day", "part"], on="pointerover", empty=False, clear="pointerout")
    bars = base.mark_bar(strokeWidth=0).encode(x=begin, x2=alt.X2("end:T"), y=bottom, y2=top, tooltip=tooltip)
    layers = []
    if style.area:
        layers.append(base.mark_area(opacity=0.75).encode(x=x, y=bottom, y2=top))
    shown = 0 if style.area else 0.75
    layers.append(bars.encode(opacity=alt.condition(near, alt.value(1), alt.value(shown))).add_params(near))
    # One line, whatever there is of data; and nothing to be read out.
    zero = base.transform_aggregate(rows="count()").mark_rule(color=TRUTH, strokeWidth=1, aria=False)
    layers.append(zero.encode(y=alt.datum(0), color=alt.value(TRUTH)))
    return with_heading(alt.layer(*layers).properties(height=style.height), style.heading)
