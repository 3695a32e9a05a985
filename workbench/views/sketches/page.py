"""The page *Sketches*: which errs by how much in how much memory, live for one size, beside the committed tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from dp.names import RELEASED_SKETCHES, SKETCHES
from workbench.rows import TableRow
from workbench.views.answering import show_answer
from workbench.views.committed import where_from
from workbench.views.drawing import draw_chart
from workbench.views.jobs.job import Tables
from workbench.views.sketches.research import COMMITTED, SketchQuestion
from workbench.views.strip import SLIDER_WIDTH, StripChoice

MEMORIES = (1_024, 4_096, 16_384)
USERS = (1_000, 2_000, 5_000, 10_000)
CHOSEN = ("exact", "fixed-rate", "hll", "order-invariant", "gf2")
"""One of each kind."""
COMMAND = "dpdau experiment run sketch_memory sketch_turnstile"
PANEL_ROOM, PANEL_HEIGHT = 150, 230
"""Size of a small multiple with its axes, in pixels: two stand side by side on a phone."""


def page(choice: StripChoice, cache: Path) -> None:
    """Draw the page.

    Args:
        cache: folder of the experiments' shards.
    """
    st.title("Sketches", anchor=False)
    st.caption(
        "A sketch counts users in little memory. Here they count generated users of the last 30 days, who come, leave "
        "and are erased; ε and δ above are of each day by itself. No data of the live service is used."
    )
    question = _question(choice)
    if question is None:
        st.info("Choose at least one sketch.", icon=":material/info:")
        return
    show_answer(cache, question, _draw)


def _question(choice: StripChoice) -> SketchQuestion | None:
    chosen = st.pills(
        "Sketches", list(SKETCHES), selection_mode="multi", default=list(CHOSEN), key="sketches", bind="query-params"
    )
    with st.container(horizontal=True, gap="small"):
        memory = st.select_slider(
            "Memory", MEMORIES, 4_096, format_func=lambda value: f"{value // 1024} KiB", key="memory",
            bind="query-params", width=SLIDER_WIDTH, help="Of one sketch. Sets (exact, bitmap) take what they need.",
        )  # fmt: skip
        users = st.select_slider(
            "Users", USERS, 5_000, format_func=lambda value: f"{value:,}", key="sketched_users", bind="query-params",
            width=SLIDER_WIDTH,
        )  # fmt: skip
        deletions = st.slider(
            "Deleted later", 0, 50, 20, 5, format="%d%%", key="deletions", bind="query-params", width=SLIDER_WIDTH,
            help="Share of the active days that are taken back, and of the users who ask to be erased.",
        )  # fmt: skip
    if not chosen:
        return None
    return SketchQuestion(
        sketches=tuple(name for name in SKETCHES if name in chosen), memory=memory, epsilon=choice.epsilon,
        delta=choice.delta, users=users, deletions=deletions / 100,
    )  # fmt: skip


def _draw(question: SketchQuestion, tables: Tables) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        if "errors" in tables:
            _draw_computed(question, tables)
        else:
            st.info("The first trials are being made.", icon=":material/hourglass_top:")
    with right, st.container(border=True):
        _draw_committed(question, tables)


def _draw_computed(question: SketchQuestion, tables: Tables) -> None:
    from workbench.views.sketches.chart import days_chart, errors_chart

    rows = tables["errors"]
    st.markdown(best_sentence(rows))
    with st.container(border=True):
        st.header("Error and memory", anchor=False)
        draw_chart(errors_chart(rows), key="errors", words="Error of every sketch against its size")
        st.caption(
            f"Computed here, from {rows[0]['trials']} trials so far with fresh salts and noise. Upright lines: two "
            "standard errors. Short bars: what the formula says."
        )
    st.markdown(privacy_sentence(rows))
    with st.container(border=True):
        st.header("Day by day", anchor=False)
        draw_chart(days_chart(tables["days"]), key="sketch-days", words="Published counts and the truth by day")
        st.caption(
            f"One trial. Dashed: how many generated users there were. {question.deletions:.0%} of the active days are "
            f"taken back and {question.deletions:.0%} of the users are erased."
        )


def _draw_committed(question: SketchQuestion, tables: Tables) -> None:
    from workbench.views.sketches.chart import panel_chart

    st.header("The full run", anchor=False)
    memory, turnstile = (tables.get(f"committed-{name}", []) for name in COMMITTED)
    here = bool(memory and turnstile)
    st.caption(where_from(COMMITTED, COMMAND, here=here))
    if not here:
        return
    with st.container(horizontal=True, gap="small"):
        for name in question.sketches:
            draw_chart(
                panel_chart(name, memory, turnstile, PANEL_HEIGHT), width=PANEL_ROOM, key=f"panel-{name}",
                words=f"Committed error of {name} against its size",
            )  # fmt: skip
    one, other = memory[0], turnstile[0]
    st.caption(
        f"Filled, solid: {one['users']:,.0f} users at once. Hollow, dashed: {other['users']:,.0f} users of "
        f"{other['window']} days, of whom {other['erase_rate']:.0%} are erased. Marks: trials; lines: formula. "
        f"ε = {one['epsilon']:g} for each count."
    )


def best_sentence(rows: Sequence[TableRow]) -> str:
    """Which sketch errs least, and which count people who have left."""
    best = min(rows, key=lambda row: row["rmse"])
    stuck = [row for row in rows if row["missed"] > 0]
    said = f"**{best['sketch']}** errs least: by {100 * best['rmse']:.2g} % in {best['bytes'] / 1000:,.1f} kB."
    if not stuck:
        return said
    verb = "counts" if len(stuck) == 1 else "count"
    return (
        f"{said} {_listed([row['sketch'] for row in stuck])} {verb} {100 * stuck[0]['missed']:.0f} % too many at any "
        "size, because nobody can be taken out."
    )


def privacy_sentence(rows: Sequence[TableRow]) -> str:
    """Which of the sketches promise privacy, in words."""
    parts = []
    for kind, promise in PROMISES.items():
        if names := [row["sketch"] for row in rows if row["privacy"] == kind]:
            parts.append(f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {promise}")
    return f"{'; '.join(parts)}. Only {_listed(RELEASED_SKETCHES)} can be released day by day."


PROMISES = {
    "noise for one user": "private, because noise hides any one user",
    "private by itself": "private without further noise, each time it is published for its own ε",
    "baseline: not private": "**not private**: one user may move the count by far more than the noise hides",
}
"""Kinds of privacy of `experiments.kinds.sketches.trials.PRIVACY`, in words."""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
