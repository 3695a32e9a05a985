"""The end of the horizon, on the card of the days: when it comes, and the button that charges the next period."""

from __future__ import annotations

from datetime import date

import streamlit as st

from dp.ledger import LedgerError
from workbench.service import Refused, Service
from workbench.service.renewal import SOON_DAYS
from workbench.views.operate.outcome import do, in_words
from workbench.views.text import day_name, literal, with_powers


def draw_renewal(service: Service) -> None:
    """Draw how many days are left where they are few; the button appears when none is."""
    left = service.vitals().days_left
    if left is None or left > SOON_DAYS or service.status().last is None:
        return
    if left:
        st.caption(f"Days that are charged for and still open: {left}. After them, the next period is begun here.")
        return
    try:
        proposal = service.renewal.propose()
    except (Refused, LedgerError, ValueError) as error:
        st.warning(in_words(error), icon=":material/info:")
        return
    if proposal.charged:
        return
    st.caption(literal(with_powers(proposal.text)))
    meant = st.checkbox("This is to be charged", key="renewal-meant")
    st.button(
        "Begin the next period",
        icon=":material/autorenew:",
        width="stretch",
        key="renew",
        disabled=not meant,
        on_click=do,
        args=("days", lambda: _renew(service, proposal.period.first)),
    )


def _renew(service: Service, first: date) -> str:
    period = service.renewal.renew(first, confirmed=True).period
    end = f"to {day_name(period.last)}" if period.last else "without an end"
    return f"The next period is charged: {day_name(period.first)} {end}."
