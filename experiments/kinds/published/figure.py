"""The figure of factorisation norms, made from their table only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.engine.labels import letter_panels, plain_ticks
from experiments.engine.style import COLOURS, MARKERS, MUTED, TRUTH, dash, ink

STROKES = {
    "binary-tree": ("binary tree", "binary-tree"),
    "honaker-tree": ("Honaker's tree", "honaker-tree"),
    "square-root": ("square root", "square-root"),
    "toeplitz": ("best Toeplitz", "buffered-toeplitz"),
    "dense": ("best matrix", "optimal"),
    "lower-bound": ("lower bound", None),
}
"""Label, and the mechanism whose look it has."""
FORMULA_LABELS = {
    "mathias-1993": "≤ Mathias 1993",
    "matousek-nikolov-talwar-2020": "≥ Matoušek et al. 2020",
    "henzinger-kalinin-upadhyay-2025-above": "≤ Henzinger et al. 2025",
    "henzinger-kalinin-upadhyay-2025-below": "≥ Henzinger et al. 2025",
}
LONG = 64
"""Horizons from which bounds that hold up to o(1) are drawn."""


def published_norms(table: pd.DataFrame) -> Figure:
    """Error of prefix sums against the horizon; below, what it exceeds ln(T)/π by, with the bounds that are proved."""
    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    panels = figure.subplot_mosaic([["all", "all"], ["rms", "largest"]])
    _curves(panels["all"], table, "rms", with_logarithm=True)
    panels["all"].set_ylabel("root mean square error × μ [users]")
    panels["all"].set_title("Running sums of T entries, one of which is protected; ○ reference values", loc="left")
    panels["all"].set_ylim(bottom=0)
    for column, title in (("rms", "Root mean square error ($\\gamma_F$)"), ("largest", "Largest error ($\\gamma_2$)")):
        _curves(panels[column], table, column, with_logarithm=False)
        _formulas(panels[column], table, column)
        panels[column].set_title(title, loc="left")
        panels[column].set_ylim(0.48, 1.3)
    panels["rms"].set_ylabel("error × μ, less ln(T)/π [users]")
    letter_panels(panels.values())
    for panel in panels.values():
        panel.set_xscale("log", base=2)
        panel.set_xlabel("horizon T [ticks]")
        plain_ticks(panel.xaxis, [1, 8, 64, 365, 4096])
    return figure


def _curves(panel: Axes, table: pd.DataFrame, column: str, *, with_logarithm: bool) -> None:
    for subject, (label, mechanism) in STROKES.items():
        rows = table[(table["subject"] == subject) & table[column].notna()].sort_values("horizon")
        if rows.empty or (not with_logarithm and subject.endswith("tree")):
            continue
        less = 0.0 if with_logarithm else np.log(rows["horizon"]) / np.pi
        heights = rows[column] - less
        colour = TRUTH if mechanism is None else COLOURS[mechanism]
        if mechanism is None:
            panel.plot(rows["horizon"], heights, color=colour, linestyle=":", linewidth=1.6, zorder=3)
        else:
            panel.plot(
                rows["horizon"], heights, color=colour, linestyle=dash(mechanism), linewidth=1.2,
                marker=MARKERS[mechanism], markersize=2.8,
            )  # fmt: skip
        known = rows[f"reference_{column}"] - less
        panel.plot(
            rows["horizon"], known, color=colour, marker="o", markersize=7, markerfacecolor="none", linestyle="none"
        )
        if subject == "lower-bound" and not with_logarithm:
            continue
        if subject == "dense" and column == "rms" and not with_logarithm:
            label = "best matrix, on the lower bound"
        lift = _lift(subject, column, with_logarithm)
        _label(panel, rows["horizon"].iloc[-1], heights.iloc[-1], label, colour, lift)


def _formulas(panel: Axes, table: pd.DataFrame, column: str) -> None:
    for subject, label in FORMULA_LABELS.items():
        rows = table[(table["subject"] == subject) & table[column].notna()].sort_values("horizon")
        if "2025" in subject:
            rows = rows[rows["horizon"] >= LONG]
        if rows.empty:
            continue
        heights = rows[column] - np.log(rows["horizon"]) / np.pi
        panel.plot(rows["horizon"], heights, color="#777777", linestyle="--", linewidth=0.9)
        _label(panel, rows["horizon"].iloc[-1], heights.iloc[-1], label, MUTED, _lift(subject, column, False))


def _lift(subject: str, column: str, with_logarithm: bool) -> int:
    """Points by which a label is moved, where lines end close to each other."""
    if with_logarithm:
        return {"square-root": 5, "toeplitz": -5, "dense": -9, "lower-bound": -20}.get(subject, 0)
    if column == "largest":
        return {"dense": -9}.get(subject, 0)
    return {"dense": 10, "henzinger-kalinin-upadhyay-2025-below": -4}.get(subject, 0)


def _label(panel: Axes, end: float, height: float, text: str, colour: str, lift: int) -> None:
    panel.annotate(
        text,
        (end, height),
        (4, lift),
        textcoords="offset points",
        color=ink(colour),
        verticalalignment="center",
        fontsize=7.5,
        annotation_clip=False,
    )


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {"published_norms": published_norms}
