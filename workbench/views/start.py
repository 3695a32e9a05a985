"""How a service begins: what both of its pages say until a day is published."""

from __future__ import annotations

import json
import shlex
from datetime import date

import streamlit as st

from workbench.service import Service


def draw_start(service: Service) -> None:
    """Say how the first day comes to be published."""
    with st.container(border=True):
        st.header("Nothing is published yet", anchor=False)
        address = interface_address(st.context.url or "")
        if address is None:
            st.markdown("These pages run alone. Start the service beside them, so that programs can send events:")
            st.code("dpdau serve", language="bash")
        else:
            st.markdown(
                "Send what your users do, one event for every user and day on which the user was active "
                '(add `-H "X-API-Key: $SERVICE_API_KEY"` where the service has a key):'
            )
            st.code(_curl(address, service.settings.first_day or date(2026, 1, 1)), language="bash")
        st.markdown("or load a file with the columns `user`, `day` and, if you have them, `op` and `at`:")
        st.code("dpdau load events.csv", language="bash")
        st.markdown(
            "or use the form on the page *Operate*. Close the first day there: it is counted, charged and published."
        )


def interface_address(url: str) -> str | None:
    """Where the HTTP interface is, for a page of this address; None where the pages run alone.

    Mounted pages lie below /ui of the process that serves both.
    """
    base, mounted, _ = url.partition("/ui")
    return base if mounted else None


def _curl(address: str, day: date) -> str:
    event = json.dumps({"user": "ada", "day": day.isoformat()})
    return f"curl -X POST {address}/event -H 'content-type: application/json' \\\n  -d {shlex.quote(event)}"
