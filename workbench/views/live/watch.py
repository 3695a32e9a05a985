"""Looking whether something has happened, and the demonstration that plays by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import streamlit as st

from dp.ledger import Budget, LedgerError
from workbench import demo
from workbench.service import Refused, Service, Status, StoreError
from workbench.views.live.outcome import Notice, show_later
from workbench.views.text import day_name


@dataclass(frozen=True)
class Snapshot:
    """What a drawing of the page shows; another value means that it is out of date.

    Attributes:
        published: days that are published; for a moment a day is closed and not yet published.
    """

    status: Status
    budget: Budget
    published: int


def look(service: Service) -> Snapshot:
    """How the service stands now."""
    return Snapshot(service.status(), service.budget(), service.published_days())


def watch(service: Service, snapshot: Snapshot, playing: bool) -> None:
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
        return f"Auto-play has stopped: {error}"
    return None


def obey_stop() -> None:
    """Switch auto-play off where the last step asked for it; only possible before the switch is drawn."""
    if (reason := st.session_state.pop("stop", None)) is not None:
        st.session_state["play"] = False
        show_later("days", Notice("warning", reason))
