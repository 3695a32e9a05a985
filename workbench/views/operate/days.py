"""The card that closes days, and the demonstration that plays by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import streamlit as st

from dp.ledger import Budget, LedgerError
from workbench import demo
from workbench.service import Refused, Service, Status, StoreError
from workbench.service.first_close import fixed_by
from workbench.views.live.reading import published_series, shown_counts
from workbench.views.live.table import EACH_DAY
from workbench.views.operate.outcome import Notice, do, in_words, show_later, show_outcome
from workbench.views.operate.renewal import draw_renewal
from workbench.views.text import day_name

PLAY_SECONDS = 3.0


@dataclass(frozen=True)
class OperatorSnapshot:
    """What a drawing of the page shows; another value means that it is out of date.

    Attributes:
        published: days that are published; for a moment a day is closed and not yet published.
    """

    status: Status
    budgets: tuple[Budget, ...]
    published: int


def look(service: Service) -> OperatorSnapshot:
    """How the service stands now."""
    return OperatorSnapshot(service.status(), tuple(service.budgets()), service.published_days())


def draw_days(service: Service, status: Status) -> bool:
    """Draw the card that closes days; returns whether the demonstration plays."""
    plays = demo.plays(service)
    with st.container(border=True):
        st.header("Days", anchor=False)
        day, confirmed = (status.open_day, True) if status.open_day else _first_day(service)
        early = day > service.today() and not service.settings.future_days
        st.button(
            f"Close {day_name(day)}",
            type="primary",
            icon=":material/event_available:",
            width="stretch",
            key="close",
            disabled=early,
            on_click=do,
            args=("days", lambda: _close(service, day, fed=plays, confirmed=confirmed)),
        )
        if early:
            st.caption(f"That day has not come: today is {day_name(service.today())}, and no day is closed before it.")
        st.caption(
            "Closing counts the day for good and publishes it; what arrives later counts from the next day."
            + (" The demonstration's operations of that day arrive first." if plays else "")
        )
        draw_renewal(service)
        playing = plays and st.toggle(
            "Auto-play the demonstration",
            key="play",
            persist_state="session",
            help=f"Every {PLAY_SECONDS:g} seconds, while this page is open, the next day's generated operations arrive "
            "and the day is closed.",
        )
        show_outcome("days")
    return playing


def _first_day(service: Service) -> tuple[date, bool]:
    """The day that is chosen as the first one, and whether it is confirmed to be meant."""
    chosen = st.date_input("First day", value=service.today(), key="first-day", persist_state="session")
    day = chosen if isinstance(chosen, date) else service.today()
    confirmed = st.checkbox(
        "This first day is meant, even far from today or outside the log",
        key="first-day-meant",
        help=fixed_by(service.settings, day),
    )
    return day, confirmed


def _close(service: Service, day: date, *, fed: bool, confirmed: bool) -> str:
    if fed:
        demo.feed(service, day)
    else:
        service.close(day, confirmed=confirmed)
    shown = shown_counts(published_series(service), EACH_DAY)
    counts = ", ".join(f"{row['metric'].upper()} {row['count']:,}" for row in shown if row["day"] == day.isoformat())
    return f"{day_name(day)} is closed and published: {counts}."


def watch(service: Service, snapshot: OperatorSnapshot, playing: bool) -> None:
    """Ask for a new drawing if something has happened; the demonstration's next day is one such thing."""
    if playing and st.session_state.get("drawn") == snapshot:
        day = snapshot.status.open_day or demo.FIRST_DAY
        if (reason := play(service, day)) is not None:
            st.session_state["stop"] = reason
            st.rerun()
    st.session_state["drawn"] = snapshot
    if look(service) != snapshot:
        st.rerun()


def play(service: Service, day: date) -> str | None:
    """Feed the demonstration's operations of the open day and close it; returns why it cannot go on, or None."""
    if not demo.operations_of(day):
        return f"The demonstration ends here: it has no operations for {day_name(day)}."
    try:
        demo.feed(service, day)
    except (Refused, LedgerError, StoreError) as error:
        return f"Auto-play has stopped: {in_words(error)}"
    return None


def obey_stop() -> None:
    """Switch auto-play off where the last step asked for it; only possible before the switch is drawn."""
    if (reason := st.session_state.pop("stop", None)) is not None:
        st.session_state["play"] = False
        show_later("days", Notice("warning", reason))
