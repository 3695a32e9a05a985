"""The page *Mechanisms*: the frontier at one budget, and what the releases of one mechanism look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from experiments.engine.numbers import power_of_ten
from experiments.engine.places import RESULTS
from workbench.rows import TableRow
from workbench.views.answering import show_answer
from workbench.views.bundle import table_csv
from workbench.views.drawing import draw_chart
from workbench.views.jobs.job import Tables
from workbench.views.mechanisms.chart import ACROSS, PICKED, able_rows, frontier_chart, releases_chart
from workbench.views.mechanisms.research import BENCH, RELEASES, MechanismsQuestion
from workbench.views.strip import SLIDER_WIDTH, StripChoice
from workbench.views.text import literal

HORIZONS = (30, 60, 90, 180, 365, 730)
USERS = (500, 1_000, 2_000, 5_000, 10_000, 20_000)
FIGURE = "mechanism_frontier"
COLUMNS = {
    "mechanism": "Mechanism",
    "rms_std": "Error [users]",
    "max_std": "Worst day [users]",
    "over_bound": "÷ lower bound",
    "memory": "Numbers remembered",
    "tick_ms": "A day [ms]",
    "draws_per_tick": "Draws a day",
    "bias_rms": "Truncation bias [users]",
    "unbeaten": "Unbeaten",
    "from": "Error by",
    "proof": "Proof (section)",
    "source": "Source",
}


def page(choice: StripChoice, cache: Path) -> None:
    """Draw the page.

    Args:
        cache: folder of the experiments' shards.
    """
    st.title("Mechanisms", anchor=False)
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom", key="mechanisms-controls"):
        across = st.segmented_control(
            "Error against", list(ACROSS), default="memory", required=True, key="across", bind="query-params",
        )  # fmt: skip
        horizon = st.select_slider(
            "Days (horizon)", HORIZONS, 365, key="mechanisms_days", bind="query-params", width=SLIDER_WIDTH
        )
        users = st.select_slider(
            "Users generated", USERS, 5_000, format_func=lambda value: f"{value:,}", key="mechanisms_users",
            bind="query-params", width=SLIDER_WIDTH,
        )  # fmt: skip
    question = MechanismsQuestion(
        metric=choice.metric, unit=choice.unit, epsilon=choice.epsilon, delta=choice.delta, w_bound=choice.w_bound,
        horizon=horizon, users=users,
    )  # fmt: skip
    show_answer(cache, question, lambda asked, tables: _draw(asked, tables, across or "memory", choice.mechanism))
    st.caption(
        "Computed here: errors by formula, releases on a generated population. No data of the live service is used and "
        "no budget is spent."
    )
    _earlier()


def _draw(question: MechanismsQuestion, tables: Tables, across: str, chosen: str) -> None:
    rows = tables["mechanisms"]
    st.markdown(best_of(question, rows))
    left, right = st.columns([6, 5], gap="medium")
    with left, st.container(border=True):
        _frontier(rows, tables["bound"], across, chosen)
    with right, st.container(border=True):
        _shown(question, tables, chosen)
    _unable(rows)
    _table(rows)


def _frontier(rows: Sequence[TableRow], bound: Sequence[TableRow], across: str, chosen: str) -> None:
    st.header(f"Error against {across}", anchor=False)
    if not any(row[ACROSS[across]] is not None for row in rows):
        st.info(
            f"Times come from results/{BENCH}, which is not here: an installed package does not bring it.",
            icon=":material/info:",
        )
        return
    # A new key for each mechanism: the chart forgets its click, so that the same point can be clicked again.
    key = f"frontier-{across}-{chosen}"
    draw_chart(
        frontier_chart(rows, bound, across, chosen), key=key, on_select=lambda: _pick(key),
        selection_mode=PICKED, words=f"Error of a released day against {across}, one point a mechanism",
    )  # fmt: skip
    st.caption(
        "Click a point, or choose a mechanism above: it is ringed, and its releases are drawn. Filled: no other has a "
        "smaller error with as little memory. A line leads up to the error on the worst day. Noise alone is shown."
        + (f" Times: results/{BENCH}, from `make bench`, one secure release." if across == "time" else "")
    )


def _pick(key: str) -> None:
    """A click chooses a mechanism in the strip, for all pages."""
    picked = st.session_state[key]["selection"][PICKED]
    if picked:
        st.session_state["mechanism"] = picked[0]["mechanism"]


def _shown(question: MechanismsQuestion, tables: Tables, chosen: str) -> None:
    st.header(chosen, anchor=False)
    row = next((row for row in tables["mechanisms"] if row["mechanism"] == chosen), None)
    if row is None:
        st.caption("Not computed yet.")
        return
    if row["rms_std"] is None and row["reason"] and tables["releases"]:
        st.info(f"It cannot serve this choice: {literal(row['reason'])}.", icon=":material/info:")
        return
    st.markdown(facts(row))
    drawn = [release for release in tables["releases"] if release["mechanism"] == chosen]
    if drawn:
        draw_chart(
            releases_chart(drawn, question.metric), key="releases",
            words=f"{RELEASES} releases by {chosen} beside the truth",
        )  # fmt: skip
        st.caption(
            f"{RELEASES} seeded releases of {question.users:,} generated users; 15 % of the activity is retracted "
            f"later. {_bias(row)}"
        )


def facts(row: TableRow) -> str:
    """What one mechanism costs, in words."""
    parts = []
    if row["rms_std"] is not None:
        parts.append(f"**± {row['rms_std']:,.4g} users** (worst day {row['max_std']:,.4g}; by {row['from']})")
    if row["over_bound"] is not None:
        parts.append(f"{row['over_bound']:.2f} times the lower bound")
    if row["memory"] is not None:
        parts.append(f"remembers {row['memory']:,} numbers")
    if row["tick_ms"] is not None:
        parts.append(f"{row['tick_ms']:.2f} ms a day")
    parts.append(f"proof: docs/guarantees.md, section {row['proof']}")
    return " · ".join(parts) + "."


def _bias(row: TableRow) -> str:
    if row["bias_rms"]:
        return f"Frozen users are missing: {row['bias_rms']:,.3g} users of truncation bias, on top of the noise."
    return "Nobody is frozen: there is no truncation bias."


def best_of(question: MechanismsQuestion, rows: Sequence[TableRow]) -> str:
    """What the frontier says, in one sentence."""
    able = able_rows(rows)
    if not able:
        return "No mechanism serves this choice so far."
    best = able[0]
    leanest = min(
        (row for row in able if row["unbeaten"]), key=lambda row: (row["memory"], row["rms_std"]), default=best
    )
    said = (
        f"At ε = {question.epsilon:g} and δ = {power_of_ten(question.delta)}, over {question.horizon} days of "
        f"{question.metric.upper()}, **{best['mechanism']}** has the least error: **{best['rms_std']:,.4g} users**"
    )
    if best["memory"] is not None:
        said += f", with {best['memory']:,} numbers remembered"
    if leanest["mechanism"] != best["mechanism"] and leanest["memory"] < best["memory"]:
        said += f"; {leanest['mechanism']} remembers {leanest['memory']:,} and has {leanest['rms_std']:,.4g}"
    return said + "."


def _unable(rows: Sequence[TableRow]) -> None:
    unable = [row for row in rows if row["reason"]]
    if unable:
        lines = "\n".join(f"- **{row['mechanism']}**: {literal(row['reason'])}" for row in unable)
        with st.expander(
            f"Not in the picture: {', '.join(row['mechanism'] for row in unable)}", icon=":material/block:"
        ):
            st.markdown(lines)


def _table(rows: Sequence[TableRow]) -> None:
    with st.expander("Every mechanism in numbers", icon=":material/table:"):
        st.dataframe(
            shown_table(rows), hide_index=True, width="stretch", key="mechanisms-table",
            column_config={COLUMNS[name]: st.column_config.NumberColumn(format="%.4g")
                           for name in ("rms_std", "max_std", "over_bound", "tick_ms", "draws_per_tick", "bias_rms")},
        )  # fmt: skip
        st.caption("Proofs: sections of docs/guarantees.md.")
        st.download_button(
            "Download CSV", lambda: table_csv(rows), "mechanisms.csv", "text/csv", key="mechanisms-csv",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip


def shown_table(rows: Sequence[TableRow]) -> list[dict[str, Any]]:
    """The rows for people, best first, those without an error last."""
    able = able_rows(rows)
    return [
        {title: row.get(column) for column, title in COLUMNS.items()}
        for row in [*able, *(row for row in rows if row not in able)]
    ]


def _earlier() -> None:
    """The committed figure of the experiment, which has another population and another budget."""
    file = RESULTS / f"{FIGURE}.png"
    with st.expander("The experiment behind the documentation", icon=":material/image:"):
        if file.exists():
            st.image(file, width="stretch")
            st.caption(
                f"From results/{FIGURE}.parquet (`dpdau experiment run experiments/configs/{FIGURE}.toml`): 20,000 "
                "users, ε = 1, both units, with trials for every mechanism."
            )
        else:
            st.caption(f"results/{FIGURE}.png is not here: an installed package does not bring it.")
