"""The page *Operate*: the operator's desk. What is not private stands here alone.

The page is drawn as a whole and changes only when something has happened: a fragment looks every two seconds and asks
for a new drawing if so. What a button does is done before the page is drawn, so that the page shows it.
"""

from __future__ import annotations

import streamlit as st

from workbench.service import Service, Status
from workbench.views.operate.budget import draw_budget
from workbench.views.operate.days import PLAY_SECONDS, draw_days, look, obey_stop, watch
from workbench.views.operate.ledger import draw_ledger
from workbench.views.operate.operations import draw_desk, draw_feed
from workbench.views.operate.truth import draw_truth
from workbench.views.start import draw_start
from workbench.views.strip import StripChoice
from workbench.views.text import day_name
from workbench.views.watch import WATCH_SECONDS


def page(service: Service, choice: StripChoice) -> None:
    """Draw the page."""
    obey_stop()
    snapshot = look(service)
    status = snapshot.status
    st.title("Operate", anchor=False)
    st.caption(_standing(status))
    charges = service.charges()
    left, right = st.columns([2, 3], gap="medium")
    with left:
        playing = draw_days(service, status)
        draw_desk(service, status)
    with right:
        if status.last is None:
            draw_start(service)
        draw_budget(service, status, snapshot.budgets, charges)
    if service.settings.show_truth:
        draw_truth(service, status, choice.metric)
    draw_feed(service)
    draw_ledger(charges)
    st.fragment(watch, run_every=PLAY_SECONDS if playing else WATCH_SECONDS)(service, snapshot, playing)


def _standing(status: Status) -> str:
    arrived = f"{status.operations:,} operations have arrived · NOT PRIVATE: this page is for the operator"
    if status.last is None:
        return f"No day is closed yet · {arrived}"
    return f"Last closed day: **{day_name(status.last)}** · {arrived}"
