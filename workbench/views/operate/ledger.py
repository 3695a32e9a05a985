"""The ledger: what was charged for what."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dp.ledger import Charge
from dp.release.request import request_of
from experiments.engine.numbers import power_of_ten
from workbench.rows import TableRow
from workbench.service.promise import spelt
from workbench.views.bundle import table_csv


def draw_ledger(charges: Sequence[Charge]) -> None:
    """Draw the charges as a table that can be downloaded."""
    with st.container(border=True):
        head = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        head.header("Ledger", anchor=False, width="content")
        rows = ledger_rows(charges)
        if not rows:
            st.markdown("Nothing is charged yet. The first close charges every series for its whole horizon.")
            return
        head.download_button(
            "Download as CSV",
            lambda: table_csv(rows),
            file_name="ledger.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.dataframe(
            pd.DataFrame([{**row, "delta": power_of_ten(row["delta"])} for row in rows]),
            hide_index=True,
            width="stretch",
            key="ledger",
            column_config={
                "when": st.column_config.DatetimeColumn("When (UTC)", format="YYYY-MM-DD HH:mm:ss"),
                "stream": "Stream",
                "for": "For",
                "epsilon": st.column_config.NumberColumn("ε", format="%g"),
                "delta": "δ",
            },
        )


def ledger_rows(charges: Sequence[Charge]) -> list[TableRow]:
    """The ledger as rows, newest first: when, stream, for, epsilon, delta."""
    return [
        {
            "when": charge.charged_at,
            "stream": charge.stream,
            "for": _purpose(charge),
            "epsilon": charge.guarantee.epsilon,
            "delta": charge.guarantee.delta,
        }
        for charge in reversed(charges)
    ]


def _purpose(charge: Charge) -> str:
    asked = "+".join(spelt(question.name) for question in request_of(charge.specification).asked)
    first, horizon = charge.specification["first"], charge.specification["horizon"]
    if is_fresh(charge):
        return f"fresh release of {asked}, {first}"
    return f"{asked} series, {f'{horizon} days' if horizon else 'without end'} from {first}"


def is_fresh(charge: Charge) -> bool:
    """Whether a charge is for a fresh release of one past day, not for a whole series."""
    # The stream of a fresh release is the series' stream with day and request id. Only metrics are released anew.
    return charge.stream.count("/") == 3 and not charge.specification.get("questions")
