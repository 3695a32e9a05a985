"""What is published: a card a metric and the series."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import streamlit as st

from workbench.rows import TableRow
from workbench.service import Service
from workbench.views import charts

CHART_HEIGHT = 190

TrueCounts = dict[str, int]


def true_counts(service: Service, metric: str) -> TrueCounts:
    """Day (ISO) → true count of the closed days; NOT PRIVATE."""
    true = service.truth(metric)
    return {day.isoformat(): count.truth for day, count in zip(true.days, true.counts, strict=True)}


def draw_cards(rows: Mapping[str, Sequence[TableRow]], truth: Mapping[str, TrueCounts]) -> None:
    """Draw a card a metric: the last published day."""
    for column, (metric, published) in zip(st.columns(3, gap="medium"), rows.items(), strict=True):
        with column, st.container(border=True):
            _card(metric, published, truth.get(metric))
    st.caption(
        "± is noise, drawn to protect every user: the count itself lies in the interval with the probability that is "
        "stated. Both days of a change carry noise, so a small change may be noise alone. Published days are never "
        "revised: an erasure moves the days after it."
    )


def _card(metric: str, rows: Sequence[TableRow], truth: TrueCounts | None) -> None:
    last = rows[-1]
    days = "on the day" if last["window"] == 1 else f"in the trailing {last['window']} days"
    st.metric(
        f"**{metric.upper()}** — users active {days}",
        f"{round(last['estimate']):,}",
        delta=_change(rows, 1),
        delta_color="off",
        delta_description="to the day before" if len(rows) > 1 else None,
    )
    week = f" · {_signed(rows, 7)} to a week before" if len(rows) > 7 else ""
    st.caption(f"{interval_words(last)}{week}")
    if truth is not None:
        st.caption(f"Truth: **{truth[last['day']]:,}** — NOT PRIVATE")


def interval_words(row: TableRow) -> str:
    """Half width and interval of a release; some mechanisms have none on some days."""
    if row["ci_low"] is None:
        return "No interval today: the last value stands, and the count was not looked at"
    half = (row["ci_high"] - row["ci_low"]) / 2
    return f"± {round(half):,} · {row['ci_level']:.0%} interval {charts.interval_ends(row)}"


def _change(rows: Sequence[TableRow], days: int) -> int | None:
    if len(rows) <= days:
        return None
    now, before = float(rows[-1]["estimate"]), float(rows[-1 - days]["estimate"])
    return round(now) - round(before)


def _signed(rows: Sequence[TableRow], days: int) -> str:
    change = _change(rows, days) or 0
    return f"{'−' if change < 0 else '+'}{abs(change):,}"


def draw_series(service: Service, rows: Mapping[str, Sequence[TableRow]], truth: Mapping[str, TrueCounts]) -> None:
    """Draw all published days of every metric."""
    with st.container(border=True):
        head = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        head.subheader("Published series", anchor=False, width="content")
        if service.settings.show_truth:
            head.toggle(
                "Show the truth — NOT PRIVATE",
                key="truth",
                help="True counts are secret; they may be seen here only because nobody in a demonstration is real.",
            )
        for metric, published in rows.items():
            level = service.settings.ci_level
            chart = charts.series_specification(metric, level, truth=metric in truth, height=CHART_HEIGHT)
            # Data and chart apart: new data then moves the chart that is there, and a tooltip stays open.
            st.vega_lite_chart(
                charts.series_table(published, truth.get(metric)),
                json.loads(chart),
                width="stretch",
                key=f"series-{metric}",
                alt=f"{metric.upper()} of all closed days with intervals",
            )
        note = f"Line: published estimate. Shade: {service.settings.ci_level:.0%} interval, for each day on its own."
        st.caption(note + (" **Dashed grey: the true count — NOT PRIVATE.**" if truth else ""))
