"""What the table of an audit says, in a sentence; ValueError where the table says otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from dp.auditing.twins import TWINS
from dp.mechanisms import MECHANISMS
from dp.sketches import SKETCHES
from experiments.engine.claims import require


def audit(table: pd.DataFrame) -> str:
    """How much of their promises the attacks prove, and how soon broken twins are caught."""
    honest, twins = table[table["kind"] != "twin"], table[table["kind"] == "twin"].set_index("subject")
    _require_complete(honest, twins)
    require(not honest["flagged"].any(), "no mechanism and no sketch is flagged")
    require(twins["flagged"].all(), "all broken twins are flagged")
    require((twins["caught"] >= 0.99 * twins["attempts"]).all(), "twins are caught in 99 of 100 attempts")
    require((twins["false_alarms"] <= 0.01 * twins["attempts"]).all(), "false alarms are at most one in 100 attempts")
    ratios = honest[honest["epsilon"] == 4.0].groupby("group")["ratio"]
    low, high = ratios.min(), ratios.max()
    times = (twins["measured"] / twins["epsilon"]).dropna()
    other = ["sparse-vector", "adaptive-flippancy"]
    return (
        f"No mechanism and no sketch is flagged: at ε = 4 the attacks prove {low['Gaussian noise']:.2f} to "
        f"{high['Gaussian noise']:.2f} of the promised μ of every mechanism with Gaussian noise, "
        f"{low['sketches']:.2f} or more of what sketches promise, {low['Laplace noise']:.2f} to "
        f"{high['Laplace noise']:.2f} of the μ of Laplace noise and {low[other].min():.2f} to {high[other].max():.2f} "
        f"of the two mechanisms that depend on the data; all {len(twins)} broken twins are caught in 99 of 100 "
        f"attempts with at most {twins['caught_at'].max():,.0f} trials, and a million proves {times.min():.1f} to "
        f"{times.max():.0f} times the ε of those that promise one."
    )


def _require_complete(honest: pd.DataFrame, twins: pd.DataFrame) -> None:
    mechanisms, sketches = (set(honest.loc[honest["kind"] == kind, "subject"]) for kind in ("mechanism", "sketch"))
    require(mechanisms == set(MECHANISMS), "every mechanism is audited")
    private = {name for name, family in SKETCHES.items() if family.contract.kind != "none"}
    require(sketches == private, "every sketch that promises something is audited")
    require(set(twins.index) == set(TWINS), "every broken twin is tried")


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {"audit": audit}
