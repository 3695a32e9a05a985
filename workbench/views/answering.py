"""How a research page shows an answer that another process computes: progress, cancel, the older answer meanwhile."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import streamlit as st

from workbench.views.bundle import bundle
from workbench.views.jobs.job import JobState, Tables, key_of
from workbench.views.jobs.registry import page_name
from workbench.views.jobs.workshop import Workshop
from workbench.views.text import literal

POLL_SECONDS = 0.4

DrawTables = Callable[[Any, Tables], None]
"""Draws the tables of an answer to a question."""


@dataclass(frozen=True)
class SeenAnswer:
    """An answer that a visitor has seen."""

    question: msgspec.Struct
    tables: Tables


@st.cache_resource(show_spinner=False, on_release=lambda workshop: workshop.stop())
def workshop(cache: str) -> Workshop:
    """The process's one workshop for a folder of shards."""
    return Workshop(Path(cache))


def show_answer(cache: Path, question: msgspec.Struct, draw: DrawTables) -> None:
    """Draw the answer to a question, as soon as and as far as there is one.

    Until then the page shows how far it is, a button that cancels, and, dimmed, the answer to the question before.

    Args:
        cache: folder of the experiments' shards.
    """
    asker = st.session_state.setdefault("asker", str(uuid.uuid4()))
    if st.session_state.get("cancelled") == key_of(question):
        _show_cancelled(question, draw)
        return
    state = workshop(str(cache)).ask(asker, question)
    if state.finished:
        _show_finished(cache, question, state, draw)
        return
    st.fragment(_wait, run_every=POLL_SECONDS)(cache, asker, question, state.revision)
    if state.tables:
        with st.container(key="answer"):
            draw(question, state.tables)
    else:
        _show_older(question, draw)


def _answers() -> dict[str, SeenAnswer]:
    answers: dict[str, SeenAnswer] = st.session_state.setdefault("answers", {})
    return answers


def _show_finished(cache: Path, question: msgspec.Struct, state: JobState, draw: DrawTables) -> None:
    if state.error is not None:
        st.error(f"This cannot be computed: {literal(state.error)}", icon=":material/error:")
        st.button("Try again", key="again", on_click=workshop(str(cache)).forget, args=(question,))
        return
    name = page_name(question)
    _answers()[name] = SeenAnswer(question, state.tables)
    with st.container(key="answer"):
        draw(question, state.tables)
    draw_reproduce(question, state.tables)


def draw_reproduce(question: msgspec.Struct, tables: Tables) -> None:
    """Draw the button that downloads what makes an answer anew."""
    st.download_button(
        "Reproduce: download a zip",
        lambda: bundle(question, tables),
        file_name=f"dpdau-{page_name(question)}.zip",
        mime="application/zip",
        icon=":material/folder_zip:",
        key="reproduce",
        on_click="ignore",
        help="The question as TOML, the tables as CSV, the charts as Vega-Lite, a notebook, and the one command that "
        "makes them anew.",
    )


def _wait(cache: Path, asker: str, question: msgspec.Struct, drawn: int) -> None:
    """Show the progress; once there is more to draw than is `drawn`, draw the whole page anew."""
    state = workshop(str(cache)).ask(asker, question)
    if state.finished or state.revision != drawn:
        st.rerun()
    head = st.container(horizontal=True, vertical_alignment="center")
    head.progress(min(state.fraction, 1.0), text=f"{state.stage} …")
    head.button("Cancel", key="cancel", icon=":material/close:", on_click=_cancel, args=(cache, asker, question))


def _cancel(cache: Path, asker: str, question: msgspec.Struct) -> None:
    workshop(str(cache)).cancel(asker)
    st.session_state["cancelled"] = key_of(question)


def _show_cancelled(question: msgspec.Struct, draw: DrawTables) -> None:
    head = st.container(horizontal=True, vertical_alignment="center")
    head.info("Cancelled: this choice is not computed.", icon=":material/info:")
    head.button("Compute", key="compute", on_click=st.session_state.pop, args=("cancelled", None))
    _show_older(question, draw)


def _show_older(question: msgspec.Struct, draw: DrawTables) -> None:
    older = _answers().get(page_name(question))
    if older is not None:
        with st.container(key="stale"):
            st.caption("Shown dimmed: the answer to the choice before.")
            draw(older.question, older.tables)
