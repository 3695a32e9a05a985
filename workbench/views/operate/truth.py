"""The truth beside what is published, where it may be seen: NOT PRIVATE."""

from __future__ import annotations

import streamlit as st

from workbench.rows import TableRow
from workbench.service import Service, Status
from workbench.views.live.chart import FIRST_HEIGHT, counts_picture, interval_name
from workbench.views.live.reading import published_series, shown_counts
from workbench.views.live.table import EACH_DAY
from workbench.views.text import day_name


def draw_truth(service: Service, status: Status, metric: str) -> None:
    """Draw the true counts and what closing the open day would count, once they are asked for.

    Args:
        metric: which one is drawn.
    """
    with st.container(border=True):
        head = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        head.header("Truth", anchor=False, width="content")
        shown = head.toggle(
            "Show the truth — NOT PRIVATE",
            key="truth",
            bind="query-params",
            help="True counts are secret; they may be seen here only because nobody in a demonstration is real.",
        )
        if not shown:
            return
        if status.open_day is not None:
            counts = ", ".join(
                f"{name.upper()} {count.truth:,}" for name, count in service.preview(status.open_day).items()
            )
            st.caption(f"Closing {day_name(status.open_day)} now would count {counts} — NOT PRIVATE")
        rows = shown_counts(published_series(service), EACH_DAY)
        if rows:
            _draw_closed(service, rows, metric)


def _draw_closed(service: Service, rows: list[TableRow], metric: str) -> None:
    truth = {name: true_counts(service, name) for name in service.settings.series}
    for column, (name, counts) in zip(st.columns(3), truth.items(), strict=True):
        published = next(row for row in reversed(rows) if row["metric"] == name)
        column.markdown(f"**{name.upper()}**: published {published['count']:,}")
        column.caption(f"Truth: **{counts[published['day']]:,}** — NOT PRIVATE")
    picture = counts_picture(
        [row for row in rows if row["metric"] == metric],
        interval_name(service.settings.ci_level, EACH_DAY),
        height=FIRST_HEIGHT,
        truth=truth[metric],
    )
    st.vega_lite_chart(
        picture.data,
        picture.specification,
        width="stretch",
        key="truth-chart",
        alt=f"{metric.upper()} of all closed days, published and true",
    )
    st.caption("Line and shade: what is published. **Dashed grey: the true count — NOT PRIVATE.**")


def true_counts(service: Service, metric: str) -> dict[str, int]:
    """Day (ISO) → true count of the closed days; NOT PRIVATE."""
    true = service.truth(metric)
    return {day.isoformat(): count.truth for day, count in zip(true.days, true.counts, strict=True)}
