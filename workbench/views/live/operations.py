"""What arrived last, and the desk where activity is reported and users are erased."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dp.presence.daily import day_number
from workbench.service import ADD, RETRACT, Activity, Operation, Service, Status
from workbench.views.live.outcome import do, show_outcome
from workbench.views.text import day_name

FEED_LENGTH = 50


def draw_feed(service: Service) -> None:
    """Draw the operations that arrived last."""
    with st.container(border=True):
        st.subheader("What arrived last", anchor=False)
        st.caption("For the operator's eyes: the log is NOT PRIVATE, even under pseudonyms.")
        recent = service.recent(FEED_LENGTH)
        if not recent:
            st.markdown("Nothing has arrived yet.")
            return
        st.dataframe(
            _feed_table(recent),
            hide_index=True,
            width="stretch",
            height=387,
            key="feed",
            column_config={
                "Number": st.column_config.NumberColumn(format="localized", width="small"),
                "Counts from": st.column_config.DateColumn(format="ddd D MMM YYYY"),
                "About": st.column_config.DateColumn(format="ddd D MMM YYYY"),
            },
        )


def _feed_table(recent: Sequence[Activity]) -> pd.DataFrame:
    words = {"+": "active", "-": "retracted", "erase": "erased"}
    return pd.DataFrame(
        [
            {
                "Number": one.seq,
                "Pseudonym": one.who or "(erased)",
                "Operation": words[one.op],
                "About": one.day,
                "Counts from": one.counts_from,
                "Late": "late" if one.day is not None and one.counts_from > one.day else "",
            }
            for one in recent
        ]
    )


def draw_desk(service: Service, status: Status) -> None:
    """Draw the forms that report activity, take it back, and erase a user."""
    with st.container(border=True):
        st.subheader("Report and erase", anchor=False)
        with st.form("activity", border=False):
            user, day = st.columns([3, 2])
            user.text_input("User", key="user", placeholder="user id")
            day.date_input("Day", value=status.open_day or service.today(), key="day")
            add, retract = st.columns(2)
            add.form_submit_button(
                "Add", icon=":material/add:", width="stretch", on_click=do,
                args=("events", lambda: _report(service, ADD)),
            )  # fmt: skip
            retract.form_submit_button(
                "Retract", icon=":material/remove:", width="stretch", on_click=do,
                args=("events", lambda: _report(service, RETRACT)),
            )  # fmt: skip
        with st.form("erasure", border=False):
            st.text_input("User to erase", key="erased", placeholder="user id")
            st.form_submit_button(
                "Erase all of this user",
                icon=":material/delete_forever:",
                width="stretch",
                on_click=do,
                args=("events", lambda: _erase(service)),
            )
        st.caption("An erasure removes the user's rows for good; only a keyed counter of changes of presence stays.")
        show_outcome("events")


def _report(service: Service, op: int) -> str:
    user, day = str(st.session_state["user"]).strip(), st.session_state["day"]
    ingested = service.ingest([Operation(user, day_number(day), op)])
    done = "is reported as active" if op == ADD else "is no longer reported as active"
    text = f"{user} {done} on {day_name(day)} (operation {ingested.seq:,})."
    if ingested.late:
        open_day = service.status().open_day
        assert open_day is not None
        text += f" That day is closed, so this is late: it counts from {day_name(open_day)}."
    return text


def _erase(service: Service) -> str:
    user = str(st.session_state["erased"]).strip()
    removed = service.erase(user)
    open_day = service.status().open_day
    when = f" It counts from {day_name(open_day)}; published days stay." if open_day else ""
    if removed == 0:
        return f"{user} had no rows; the erasure is noted."
    return f"{user} is erased: {removed:,} row{'s' if removed > 1 else ''} removed.{when}"
