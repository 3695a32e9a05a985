"""What arrived last, and the desk where activity is reported and users are erased."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pandas as pd
import streamlit as st

from dp.presence.daily import day_number
from dp.questions import OTHER
from workbench import demo
from workbench.service import ADD, ERASE, RETRACT, Activity, Operation, Service, Status
from workbench.service.days import calendar_day
from workbench.service.operations import EARLIEST, LATEST, LONGEST_USER
from workbench.views.operate.outcome import FormError, do, follow, show_outcome
from workbench.views.text import day_name, literal

FEED_LENGTH = 50
USERS_OFFERED = 8
SEGMENT_WIDTH = 150
PICKED = "picked"


def draw_feed(service: Service) -> None:
    """Draw the operations that arrived last and wait to be counted; one can be picked, and its user erased."""
    with st.container(border=True):
        st.header("What arrived last", anchor=False)
        recent = service.recent(FEED_LENGTH)
        if not recent:
            st.markdown("Nothing waits to be counted. What is counted leaves the log.")
            return
        st.caption("NOT PRIVATE, even under pseudonyms. Tick a row to erase its user.")
        # Another key for other rows: a mark on the third row must not pass to whoever is third next.
        key = f"feed-{recent[0].seq}"
        st.dataframe(
            _feed_table(recent),
            hide_index=True,
            width="stretch",
            height=387,
            key=key,
            on_select=lambda: _pick(recent, key),
            selection_mode="single-row",
            column_config={
                "Number": st.column_config.NumberColumn(format="localized", width="small"),
                "Counts from": st.column_config.DateColumn(format="ddd D MMM YYYY"),
                "About": st.column_config.DateColumn(format="ddd D MMM YYYY"),
            },
        )
        _erase_picked(service)
        show_outcome("feed")


def _pick(recent: Sequence[Activity], key: str) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    st.session_state[PICKED] = recent[rows[0]] if rows else None


def _erase_picked(service: Service) -> None:
    picked: Activity | None = st.session_state.get(PICKED)
    if picked is None:
        return
    if picked.who is None:
        st.caption(f"Operation {picked.seq:,} is an erasure, which names nobody.")
        return
    st.button(
        f"Erase all of user {picked.who} (operation {picked.seq:,})",
        icon=":material/delete_forever:",
        width="stretch",
        key="erase-picked",
        on_click=do,
        args=("feed", lambda: _erase_whom(service, picked)),
    )


def _erase_whom(service: Service, picked: Activity) -> str:
    st.session_state[PICKED] = None
    service.erase_whom(picked.seq)
    return f"User {picked.who} is erased.{_when(service)}"


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
                "Late": "late" if one.day and one.counts_from and one.counts_from > one.day else "",
            }
            for one in recent
        ]
    )


def draw_desk(service: Service, status: Status) -> None:
    """Draw the forms that report activity, take it back, and erase a user."""
    offered = demo.users_active(status.last or demo.FIRST_DAY, USERS_OFFERED) if demo.plays(service) else []
    _follow_open_day(service, status)
    with st.container(border=True):
        st.header("Report and erase", anchor=False)
        with st.form("activity", border=False):
            _user_field("User", "user", offered)
            st.date_input("Day", min_value=calendar_day(EARLIEST), max_value=calendar_day(LATEST), key="day")
            _segment_fields(service)
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
            _user_field("User to erase", "erased", offered)
            st.form_submit_button(
                "Erase all of this user",
                icon=":material/delete_forever:",
                width="stretch",
                on_click=do,
                args=("events", lambda: _erase(service)),
            )
        st.caption("An erasure removes the user's rows for good; only a keyed counter of changes of presence stays.")
        show_outcome("events")


def _user_field(label: str, key: str, offered: Sequence[str]) -> None:
    """A field for a user id; users that are offered can be picked, and any other one be written."""
    if offered:
        st.selectbox(
            label, offered, index=None, placeholder="user id", accept_new_options=True, key=key, persist_state="session"
        )
    else:
        st.text_input(label, placeholder="user id", key=key, persist_state="session")


def _segment_fields(service: Service) -> None:
    """A field for every column that the settings know."""
    codes = service.codes
    if not codes.columns:
        return
    with st.container(horizontal=True, gap="small"):
        for column, values in zip(codes.columns, codes.listed, strict=True):
            st.selectbox(
                literal(column), [*values, OTHER], index=None, placeholder="not said", key=f"segment-{column}",
                persist_state="session", width=SEGMENT_WIDTH,
                help="A retraction that says nothing takes the whole day back.",
            )  # fmt: skip


def _chosen_segments(service: Service) -> dict[str, str]:
    """Column → value of what is said."""
    said = {column: st.session_state[f"segment-{column}"] for column in service.codes.columns}
    return {column: value for column, value in said.items() if value is not None}


def _follow_open_day(service: Service, status: Status) -> None:
    """The day field follows the open day, as far as that has come."""
    day = status.open_day or service.today()
    if not service.settings.future_days:
        day = min(day, service.today())
    follow("day", day)


def _report(service: Service, op: int) -> str:
    user, day = _chosen_user(service, "user"), _chosen_day(service)
    segments = _chosen_segments(service)
    ingested = service.ingest([Operation(user, day_number(day), op, label=service.codes.code_of(segments))])
    done = "is reported as active" if op == ADD else "is no longer reported as active"
    where = "".join(f" ({literal(column)}: {literal(value)})" for column, value in segments.items())
    text = f"{literal(user)} {done}{where} on {day_name(day)} (operation {ingested.seq:,})."
    if ingested.late:
        open_day = service.status().open_day
        assert open_day is not None
        text += f" That day is closed, so this is late: it counts from {day_name(open_day)}."
    return text


def _chosen_user(service: Service, key: str) -> str:
    user = str(st.session_state[key] or "").strip()
    if not user:
        raise FormError("Give a user id.")
    if service.faults([Operation(user, None, ERASE)]):
        raise FormError(f"This cannot be a user id: give text of at most {LONGEST_USER} characters.")
    return user


def _chosen_day(service: Service) -> date:
    day = st.session_state["day"]
    if not isinstance(day, date):
        raise FormError("Give a day.")
    if not service.settings.future_days and day > service.today():
        raise FormError(f"{day_name(day)} has not come: today is {day_name(service.today())}. Give a day up to today.")
    return day


def _erase(service: Service) -> str:
    user = _chosen_user(service, "erased")
    service.erase(user)
    return f"{literal(user)} is erased.{_when(service)}"


def _when(service: Service) -> str:
    open_day = service.status().open_day
    return f" It counts from {day_name(open_day)}; published days stay." if open_day else ""
