"""The page *Live*: what is published, what it costs, and the operator's desk.

The page is drawn as a whole and changes only when something has happened: a fragment looks every two seconds and asks
for a new drawing if so. What a button does is done before the page is drawn, so that the page shows it.
"""

from __future__ import annotations

import json
import shlex
from datetime import date

import streamlit as st

from workbench.service import Service, Settings, Status
from workbench.views.live.budget import draw_budget
from workbench.views.live.days import PLAY_SECONDS, draw_days
from workbench.views.live.ledger import draw_ledger
from workbench.views.live.operations import draw_desk, draw_feed
from workbench.views.live.published import draw_cards, draw_series, true_counts
from workbench.views.live.watch import look, obey_stop, watch
from workbench.views.strip import StripChoice
from workbench.views.text import day_name

WATCH_SECONDS = 2.0


def page(service: Service, choice: StripChoice) -> None:
    """Draw the page."""
    obey_stop()
    snapshot = look(service)
    rows = {metric: [json.loads(row) for row in service.releases(metric)] for metric in service.settings.series}
    shown = service.settings.show_truth and st.session_state.get("truth", False)
    truth = {metric: true_counts(service, metric) for metric in rows} if shown else {}
    st.title("Live", anchor=False)
    st.caption(_standing(snapshot.status))
    st.info(service.promise, icon=":material/verified_user:")
    if all(rows.values()):
        draw_cards(rows, truth)
    left, right = st.columns([2, 1], gap="medium")
    charges = service.charges()
    # First what can be used at once; the charts take longest.
    with right:
        playing = draw_days(service, snapshot.status, shown)
        draw_budget(service, snapshot, charges)
        draw_desk(service, snapshot.status)
    with left:
        if all(rows.values()):
            draw_series(service, rows, truth)
        else:
            _start(service.settings, snapshot.status)
        draw_feed(service)
    draw_ledger(charges)
    st.fragment(watch, run_every=PLAY_SECONDS if playing else WATCH_SECONDS)(service, snapshot, playing)


def _standing(status: Status) -> str:
    arrived = f"{status.operations:,} operations have arrived"
    if status.last is None:
        return f"No day is closed yet · {arrived}"
    return f"Last closed day: **{day_name(status.last)}** · {arrived}"


def _start(settings: Settings, status: Status) -> None:
    with st.container(border=True):
        st.subheader("Nothing is published yet", anchor=False)
        day = settings.first_day or date(2026, 1, 1)
        event = json.dumps({"user": "ada", "day": day.isoformat()})
        st.markdown(
            "Send what your users do, one event for every user and day on which the user was active "
            '(add `-H "X-API-Key: $SERVICE_API_KEY"` where the service has a key):'
        )
        st.code(
            f"curl -X POST {_address(settings)}/event -H 'content-type: application/json' \\\n"
            f"  -d {shlex.quote(event)}",
            language="bash",
        )
        st.markdown("or load a file with the columns `user`, `day` and, if you have them, `op` and `at`:")
        st.code("dpdau load events.csv", language="bash")
        st.markdown(
            "or use the form on this page. Then close the first day: it is counted, charged and published."
            if status.operations == 0
            else f"{status.operations:,} operations are here. Close the first day to publish it."
        )


def _address(settings: Settings) -> str:
    """Where the HTTP interface is: where this page comes from, if that serves both; else by the settings."""
    base, mounted, _ = (st.context.url or "").partition("/ui")
    return base if mounted else f"http://{settings.host}:{settings.port}"
