"""What is published: a card a metric, the series, stickiness, and all of it as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from experiments.engine.numbers import MINUS, signed
from workbench.rows import TableRow
from workbench.views.live.chart import LivePicture, interval_name, interval_words
from workbench.views.live.table import WEEK

READING = (
    "Counts are made from the published estimates, which carry noise and may be fractions or below 0: the nearest "
    "whole numbers with 0 ≤ DAU ≤ WAU ≤ MAU, each day for itself. That uses nothing but what is published, so it costs "
    "no privacy. An interval holds the count that the noise was added to with the probability that is stated. "
    "Published days are never revised: an erasure moves the days after it."
)
READING_TOGETHER = (
    "Counts are made from the published estimates of all questions together, which carry noise and may be fractions or "
    "below 0: the best linear estimates given what was published until then, as the nearest whole numbers at which "
    "0 ≤ DAU ≤ WAU ≤ MAU, segments add up to totals and flows to changes. That uses nothing but what is published, so "
    "it costs no privacy. An interval holds the count that the noise was added to with the probability that is stated. "
    "Published days are never revised: an erasure moves the days after it."
)
APART = (
    "The error of a metric's mechanism depends on the data, so that flows, weeks, months and segments are made to "
    "agree among themselves and not with the metrics."
)


def draw_cards(counts: Mapping[str, Sequence[TableRow]], chosen: str, level: float) -> None:
    """Draw a card a metric, the chosen one first and largest: the last published day.

    Args:
        counts: metric → its rows of `counts_table`, oldest first.
        chosen: the metric of the strip.
        level: of the intervals.
    """
    order = sorted(counts, key=lambda metric: metric != chosen)
    for column, metric in zip(st.columns([4, 3, 3], gap="small"), order, strict=True):
        with column, st.container(border=True, height="stretch"):
            _card(metric, counts[metric], level)


def _card(metric: str, rows: Sequence[TableRow], level: float) -> None:
    last = rows[-1]
    days = "on the day" if last["window"] == 1 else f"in {last['window']} days"
    change = last["count"] - rows[-2]["count"] if len(rows) > 1 else None
    st.metric(
        f"**{metric.upper()}** — users {days}",
        f"{last['count']:,}",
        # The arrow is said, because a true minus sign is not known to it.
        delta=None if change is None else signed(change),
        delta_arrow="auto" if change is None else "up" if change > 0 else "down" if change < 0 else "off",
        delta_color="off",
        delta_description=None if change is None else "to the day before",
        help=f"Published estimate: {last['estimate']:,.1f}".replace("-", MINUS),
    )
    st.caption(interval_sentence(last, level))
    if len(rows) > WEEK:
        st.caption(week_sentence(last, rows[-1 - WEEK]))


def interval_sentence(row: TableRow, level: float) -> str:
    """Half width and interval of a count; some mechanisms have none on some days."""
    if row["low"] is None:
        return "No interval today: the last value stands, and the count was not looked at"
    return f"± {round((row['high'] - row['low']) / 2):,} · {level:.0%} interval {interval_words(row)}"


def week_sentence(row: TableRow, before: TableRow) -> str:
    """The change to a week before, and whether both intervals leave room for no change at all."""
    change = row["count"] - before["count"]
    text = f"{'+' if change > 0 else ''}{signed(change)} to a week before"
    if row["low"] is None or before["low"] is None:
        return text
    apart = row["low"] > before["high"] or row["high"] < before["low"]
    return f"{text} · " + ("more than noise alone would do" if apart else "noise alone may be the reason")


def draw_series(pictures: Mapping[str, LivePicture], counts: Mapping[str, Sequence[TableRow]]) -> None:
    """Draw all published days of every metric, the first one largest."""
    first, *others = counts_first(pictures, counts)
    with st.container(border=True):
        _series(first, pictures[first])
    for column, metric in zip(st.columns(2, gap="small"), others, strict=True):
        with column, st.container(border=True):
            _series(metric, pictures[metric])


def counts_first(pictures: Mapping[str, LivePicture], counts: Mapping[str, Sequence[TableRow]]) -> list[str]:
    """The metrics in the order of their pictures."""
    return [name for name in pictures if name in counts]


def _series(metric: str, picture: LivePicture) -> None:
    st.vega_lite_chart(
        picture.data,
        picture.specification,
        width="stretch",
        key=f"series-{metric}",
        alt=f"{metric.upper()} of all closed days with intervals",
    )


def draw_stickiness(picture: LivePicture, rows: Sequence[TableRow], band: str) -> None:
    """Draw DAU/MAU with its interval, or say why it says nothing."""
    with st.container(border=True):
        st.header("Stickiness DAU/MAU", anchor=False)
        st.markdown(stickiness_sentence(rows[-1], band))
        if any(row["ratio"] is not None for row in rows):
            st.vega_lite_chart(
                picture.data,
                picture.specification,
                width="stretch",
                key="series-stickiness",
                alt="DAU/MAU of all closed days with intervals",
            )


def stickiness_sentence(row: TableRow, band: str) -> str:
    """What share of the month's users came on the last day, as far as that can be said."""
    if row["ratio"] is None:
        return (
            "**Not shown for the last day**: between the published DAU and MAU, noise leaves room for every share from "
            "0 to 100 %."
        )
    return (
        f"**{row['ratio']:.1%}** of the users of the month were active on the last day "
        f"({interval_name(row['level'], band)}: {interval_words(row, '.1%')})."
    )


def draw_table(counts: Mapping[str, Sequence[TableRow]]) -> None:
    """Draw the numbers of all days, the newest first."""
    with st.expander("Numbers of all days", icon=":material/table:"):
        st.dataframe(
            numbers_table(counts),
            hide_index=True,
            width="stretch",
            key="numbers",
            column_config={"Day": st.column_config.DateColumn(format="ddd D MMM YYYY")},
        )


def numbers_table(counts: Mapping[str, Sequence[TableRow]]) -> pd.DataFrame:
    """A row a day, newest first: for every metric the count, its interval, and the estimate as it was published."""
    columns: dict[str, Any] = {}
    for metric, rows in counts.items():
        name = metric.upper()
        columns["Day"] = pd.to_datetime([row["day"] for row in rows])
        columns[name] = [row["count"] for row in rows]
        columns[f"{name} interval"] = [interval_words(row) for row in rows]
        columns[f"{name} published estimate"] = [round(row["estimate"], 1) for row in rows]
    return pd.DataFrame(columns).iloc[::-1]
