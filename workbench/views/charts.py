"""What the pages' charts share, and that of the budget: pure functions, readable on light and dark ground."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import altair as alt
import pandas as pd

# Readable on white and on black alike; the dashes say the same as the colours.
RELEASED = "#2288C8"
TRUTH = "#8A8A8A"
CHARGED, FRESH, LEFT = "#2288C8", "#E69F00", "#8A8A8A55"

KINDS = ("series", "fresh releases", "left")

BudgetPart = tuple[str, str, float, str]
"""(ε or δ, one of `KINDS`, share of the cap, the amount in words)."""

Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.ConcatChart | alt.HConcatChart | alt.VConcatChart


def budget_table(parts: Sequence[BudgetPart]) -> pd.DataFrame:
    """What `budget_chart` draws."""
    return pd.DataFrame(
        [(*part, KINDS.index(part[1])) for part in parts], columns=["letter", "kind", "share", "amount", "order"]
    )


@functools.lru_cache(maxsize=1)
def budget_specification() -> str:
    """`budget_chart` as JSON. Altair checks it against its schema, which takes longer than all the rest of a page."""
    return budget_chart().to_json()


def budget_chart() -> Chart:
    """How a budget stands, without its data: one bar for ε and one for δ, each the whole cap."""
    kinds = list(KINDS)
    bars = (
        alt.Chart()
        .mark_bar(size=22)
        .encode(
            x=alt.X(
                "share:Q", title="share of the budget", scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", tickCount=5),
            ),
            y=alt.Y(
                "letter:N", title=None, scale=alt.Scale(domain=["ε", "δ"]),
                axis=alt.Axis(labelFontSize=15, ticks=False),
            ),
            color=alt.Color(
                "kind:N", title=None, scale=alt.Scale(domain=kinds, range=[CHARGED, FRESH, LEFT]),
                legend=alt.Legend(orient="top", offset=4),
            ),
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("letter:N", title="Of"),
                alt.Tooltip("kind:N", title="For"),
                alt.Tooltip("amount:N", title="Amount"),
                alt.Tooltip("share:Q", title="Share", format=".1%"),
            ],
        )
    )  # fmt: skip
    return alt.layer(bars).properties(height=185)
