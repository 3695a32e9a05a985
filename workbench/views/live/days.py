"""The card that closes days."""

from __future__ import annotations

import json
from datetime import date

import streamlit as st

from workbench import demo
from workbench.service import Service, Status
from workbench.views.live.outcome import do, show_outcome
from workbench.views.text import day_name

PLAY_SECONDS = 3.0


def draw_days(service: Service, status: Status, truth_shown: bool) -> bool:
    """Draw the card that closes days; returns whether the demonstration plays."""
    with st.container(border=True):
        st.subheader("Days", anchor=False)
        if status.open_day is None:
            chosen = st.date_input("First day", value=service.today(), key="first-day")
            day = chosen if isinstance(chosen, date) else service.today()
        else:
            day = status.open_day
        st.button(
            f"Close {day_name(day)}",
            type="primary",
            icon=":material/event_available:",
            width="stretch",
            key="close",
            on_click=do,
            args=("days", lambda: _close(service, day)),
        )
        st.caption("Closing counts the day for good and publishes it; what arrives later counts from the next day.")
        if truth_shown and status.open_day is not None:
            counts = ", ".join(f"{metric.upper()} {count.truth:,}" for metric, count in service.preview(day).items())
            st.caption(f"Truth so far: **{counts}** — NOT PRIVATE")
        playable = service.settings.show_truth and demo.is_demonstration(service)
        playing = playable and st.toggle(
            "Auto-play the demonstration",
            key="play",
            help=f"Every {PLAY_SECONDS:g} seconds the next day's generated operations arrive and the day is closed.",
        )
        show_outcome("days")
    return playing


def _close(service: Service, day: date) -> str:
    rows = [json.loads(row) for row in service.close(day)]
    counts = ", ".join(f"{row['metric'].upper()} {round(row['estimate']):,}" for row in rows)
    return f"{day_name(day)} is closed and published: {counts}."
