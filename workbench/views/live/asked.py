"""The part of the page about flows, weeks, months and segments: what is shown is chosen here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dp.names import FLOWS
from dp.questions import Question
from workbench.rows import TableRow
from workbench.views.jobs.job import Tables
from workbench.views.live.agreed import plan_of
from workbench.views.live.chart import LivePicture, interval_words
from workbench.views.live.question_chart import MOST_MULTIPLES, asked_question, question_rows, stacks
from workbench.views.live.reading import PublishedSeries
from workbench.views.live.research import LiveQuestion
from workbench.views.text import cell_words, day_name, literal, question_words

IN_ALL = "(none)"
CHOICE_WIDTH = 190


def choose_question(published: PublishedSeries) -> tuple[str, bool]:
    """Draw the choosers where there is something to choose; returns the question, and whether segments are apart."""
    asked = asked_questions(published)
    cells = {question.cell.name: question.cell for question in asked.values()}
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        cell = st.selectbox(
            "Question", list(cells), format_func=lambda name: cell_words(cells[name]), key="question",
            bind="query-params", width=CHOICE_WIDTH,
        )  # fmt: skip
        names = {
            question.breakdown.name if question.breakdown else IN_ALL: name
            for name, question in asked.items()
            if question.cell.name == cell
        }
        by = st.selectbox("Breakdown", list(names), key="by", bind="query-params", width=CHOICE_WIDTH)
        chosen = names[by]
        stacked = stacks(chosen, published.plans)
        multiples = asked[chosen].breakdown is not None and st.toggle(
            "One chart a segment", key="multiples", bind="query-params", disabled=not stacked,
            help="Segments that add up stand above each other. All others are drawn one by one.",
        )  # fmt: skip
    return chosen, multiples and stacked


def asked_questions(published: PublishedSeries) -> dict[str, Question]:
    """Name → question of all that is published besides the metrics: these by a breakdown come first."""
    answered = {(row.question, row.breakdown) for row in published.answers}
    asked = {row["name"]: question for row in published.plans for question in plan_of(row).request.questions}
    return {
        name: question
        for name, question in sorted(asked.items(), key=lambda one: (one[1].cell.kind != "rolling", one[0]))
        if any((series.question, series.breakdown) in answered for series in question.series)
    }


def draw_question(question: LiveQuestion, tables: Tables, pictures: Mapping[str, LivePicture]) -> None:
    """Draw the chosen question: the last numbers in words, the charts, and all numbers as a table."""
    asked = asked_question(question, tables)
    rows = question_rows(asked, tables)
    st.markdown(last_sentence(asked, rows))
    names = list(pictures)
    for start in range(0, len(names), 2):
        places = st.columns(2, gap="small") if len(names) > 1 else [st.container()]
        for place, name in zip(places, names[start : start + 2], strict=False):
            place.vega_lite_chart(
                pictures[name].data, pictures[name].specification, width="stretch", key=f"series-{name}",
                alt=f"{question_words(asked)}, all that is published",
            )  # fmt: skip
    st.caption(" ".join(reading_hints(asked, rows, pictures)))
    _draw_table(rows)


def last_sentence(asked: Question, rows: Sequence[TableRow]) -> str:
    """The last numbers of a question in words, as Markdown."""
    last = [row for row in rows if row["day"] == rows[-1]["day"]]
    day = day_name(pd.Timestamp(last[0]["day"]).date())
    when = day if asked.cell.window is not None else f"{asked.cell.kind.capitalize()} to {day}"
    if asked.breakdown is None:
        numbers = [f"**{row['count']:,}** {_part(row)} ({interval_words(row)})" for row in last]
    elif asked.cell.kind == "flows":
        sums = {flow: sum(row["count"] for row in last if _part(row) == flow) for flow in FLOWS}
        numbers = [f"**{count:,}** {flow}" for flow, count in sums.items()]
    else:
        numbers = [f"{literal(row['segment'])} **{row['count']:,}**" for row in last[:MOST_MULTIPLES]]
    return f"{when}: {' · '.join(numbers)}"


def _part(row: TableRow) -> str:
    """What a row counts: users who are new, returning or gone, or users."""
    return row["question"].partition("/")[2] or "users"


def reading_hints(asked: Question, rows: Sequence[TableRow], pictures: Mapping[str, LivePicture]) -> list[str]:
    """How the charts are read, a sentence each."""
    kind, breakdown = asked.cell.kind, asked.breakdown
    hints = ["Point at a chart for intervals and for what was published."]
    if kind == "flows":
        hints.append("Above zero: new and returning users. Below: gone ones.")
        if len({row["day"] for row in rows}) > len({day for one in pictures.values() for day in one.data["day"]}):
            hints.append(
                f"The first {asked.cell.window} days, in which the window fills and nearly everybody is new, stand in "
                "the table alone."
            )
    elif asked.cell.window is None:
        hints.append(f"Each {kind} is published once, on its last day.")
    if breakdown is None:
        return hints
    if kind == "flows" and breakdown.kind == "last":
        hints.append("A user who changes the segment is gone from one and new in another.")
    if breakdown.kind == "any":
        hints.append("A user may be in several segments, so that they add up to more than the total.")
    if len(pictures) > 1:
        hints.append("Each chart has a scale of its own.")
        if breakdown.size > len(pictures):
            hints.append(f"The {len(pictures)} largest of {breakdown.size} segments are drawn.")
    return hints


def _draw_table(rows: Sequence[TableRow]) -> None:
    with st.expander("Numbers of this question", icon=":material/table:"):
        st.dataframe(
            answers_numbers(rows),
            hide_index=True,
            width="stretch",
            key="question-numbers",
            column_config={"Day": st.column_config.DateColumn(format="ddd D MMM YYYY")},
        )


def answers_numbers(rows: Sequence[TableRow]) -> pd.DataFrame:
    """A row a series and day, newest first: the count, its interval, and the estimate as it was published."""
    newest = sorted(rows, key=lambda row: row["day"], reverse=True)
    columns: dict[str, Any] = {"Day": pd.to_datetime([row["day"] for row in newest])}
    if any("/" in row["question"] for row in rows):
        columns["Users"] = [_part(row) for row in newest]
    if rows and rows[0]["segment"] is not None:
        columns["Segment"] = [row["segment"] for row in newest]
    columns["Count"] = [row["count"] for row in newest]
    columns["Interval"] = [interval_words(row) for row in newest]
    columns["Published estimate"] = [round(row["estimate"], 1) for row in newest]
    return pd.DataFrame(columns)
