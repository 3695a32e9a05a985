"""How a research page shows an answer that another process computes: progress, cancel, the older answer meanwhile."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import streamlit as st

from workbench.views.jobs.job import Tables, key_of
from workbench.views.jobs.registry import page_name
from workbench.views.jobs.workshop import Workshop
from workbench.views.log_choice import visitors_folder
from workbench.views.reproduction import draw_reproduce, draw_reproduction
from workbench.views.text import literal

POLL_SECONDS = 0.4
# The same elements, dimmed: others in their place would be drawn from the beginning.
DIMMED = "<style>.st-key-answer, .st-key-reproduction { opacity: 0.45 }</style>"

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
    return Workshop(Path(cache), visitors_folder())


def show_answer(cache: Path, question: msgspec.Struct, draw: DrawTables) -> None:
    """Draw the answer to a question, as soon as and as far as there is one.

    Until then the page shows how far it is, a button that cancels, and, dimmed, the answer to the question before.
    The places of all three are the same in every drawing, so that charts change and are not taken away.

    Args:
        cache: folder of the experiments' shards.
    """
    asker = st.session_state.setdefault("asker", str(uuid.uuid4()))
    head, body, foot = (st.container(key=key) for key in ("progress", "answer", "reproduction"))
    seen: SeenAnswer | None = None
    with head:
        if st.session_state.get("cancelled") == key_of(question):
            _say_cancelled()
        else:
            state = workshop(str(cache)).ask(asker, question)
            if state.error is not None:
                _say_error(cache, question, state.error)
                return
            if state.tables:
                seen = SeenAnswer(question, state.tables)
            if state.finished:
                draw_reproduce(question, state.tables)
                _answers()[page_name(question)] = SeenAnswer(question, state.tables)
            else:
                st.fragment(_wait, run_every=POLL_SECONDS)(cache, asker, question, state.revision)
        if seen is None and (seen := _answers().get(page_name(question))) is not None:
            st.html(DIMMED)
    if seen is not None:
        with body:
            draw(seen.question, seen.tables)
        with foot:
            draw_reproduction(seen.question, seen.tables)


def _answers() -> dict[str, SeenAnswer]:
    answers: dict[str, SeenAnswer] = st.session_state.setdefault("answers", {})
    return answers


def _say_error(cache: Path, question: msgspec.Struct, error: str) -> None:
    lines = "\n\n".join(map(literal, error.splitlines()))
    st.error(f"This cannot be computed: {lines}", icon=":material/error:")
    st.button("Try again", key="again", on_click=workshop(str(cache)).forget, args=(question,))


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


def _say_cancelled() -> None:
    head = st.container(horizontal=True, vertical_alignment="center")
    head.info("Cancelled: this choice is not computed.", icon=":material/info:")
    head.button("Compute", key="compute", on_click=st.session_state.pop, args=("cancelled", None))
