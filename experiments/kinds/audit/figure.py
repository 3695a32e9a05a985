"""The figure of audits, made from their table only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, NullLocator

from experiments.engine.style import BROKEN, COLOURS, MARKERS, TRUTH

GROUP_STYLES = {
    "Gaussian noise": (COLOURS["gaussian"], "o", 11.0, "mechanisms with Gaussian noise"),
    "Laplace noise": (COLOURS["laplace"], "v", 6.5, "mechanisms with Laplace noise"),
    "sketches": (COLOURS["honaker-tree"], "s", 5.0, "sketches"),
}
"""Colour, marker, size in points and label of each group; mechanisms outside the groups have their own.

Groups whose points coincide on the diagonal have different sizes, so that both are visible.
"""
AXIS_TICKS = (0.01, 0.1, 0.3, 1, 3, 10, 30, 100)


def audit(table: pd.DataFrame) -> Figure:
    """Measured against claimed ε: kept promises lie on the diagonal or below it, broken ones above."""
    figure = Figure(figsize=(7.6, 4.8))
    # No layout solver: its last bits differ from run to run.
    figure.subplots_adjust(left=0.075, right=0.985, bottom=0.235, top=0.91, wspace=0.62)
    diagonal, named = figure.subplots(1, 2)
    twins = table[table["kind"] == "twin"].dropna(subset=["measured"])
    _against_claims(diagonal, table[table["kind"] != "twin"], twins)
    _twins_by_name(named, twins)
    figure.legend(loc="lower left", bbox_to_anchor=(0.06, 0.0), fontsize=8, ncols=3, columnspacing=1.2, frameon=False)
    return figure


def _against_claims(panel: Axes, honest: pd.DataFrame, twins: pd.DataFrame) -> None:
    low, high = 0.03, 1.6 * twins["measured"].max()
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlim(0.3, 12)
    panel.set_ylim(low, high)
    line = np.array([low / 10, high * 10])
    panel.plot(line, line, color=TRUTH, linewidth=1.0)
    panel.fill_between(line, line, high * 10, color=BROKEN, alpha=0.06, linewidth=0)
    for group in dict.fromkeys(honest["group"]):
        rows = honest[honest["group"] == group]
        colour, marker, size, label = GROUP_STYLES.get(group, (COLOURS.get(group), MARKERS.get(group), 6.5, group))
        number = rows["subject"].nunique()
        panel.plot(
            rows["epsilon"], rows["measured"].clip(lower=low * 1.05), color=colour, marker=marker, markersize=size,
            linestyle="none", label=label if number == 1 else f"{label} ({number})", fillstyle="none",
        )  # fmt: skip
    panel.plot(
        twins["epsilon"], twins["measured"], color=BROKEN, marker="X", markersize=6, linestyle="none",
        label=f"broken twins ({len(twins)})",
    )  # fmt: skip
    for axis, ticks in ((panel.xaxis, (0.5, 1, 2, 4, 8)), (panel.yaxis, [t for t in AXIS_TICKS if low <= t <= high])):
        axis.set_ticks(ticks)
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_minor_locator(NullLocator())
    panel.set_xlabel("ε that is promised")
    panel.set_ylabel("ε that the attack proves, at least")
    panel.set_title(f"{honest['trials'].max():,.0f} releases at each point", fontsize=9)
    panel.text(0.03, 0.97, "promise broken", transform=panel.transAxes, color=BROKEN, va="top", fontsize=8.5)
    panel.text(0.97, 0.03, "promise kept,\nas far as the attack can tell", transform=panel.transAxes, ha="right",
               fontsize=8.5)  # fmt: skip


def _twins_by_name(panel: Axes, twins: pd.DataFrame) -> None:
    ordered = twins.assign(times=twins["measured"] / twins["epsilon"]).sort_values("times")
    places = range(len(ordered))
    panel.axvline(1, color=TRUTH, linewidth=1.0)
    panel.hlines(places, 1, ordered["times"], color=BROKEN, linewidth=0.8)
    panel.plot(ordered["times"], places, color=BROKEN, marker="X", markersize=6, linestyle="none")
    panel.set_yticks(places, ordered["subject"].tolist(), fontsize=8)
    panel.set_ylim(-0.7, len(ordered) - 0.3)
    panel.set_xscale("log")
    panel.set_xticks([1, 2, 5, 10, 20, 50])
    panel.set_xlim(0.9, 1.3 * max(20, ordered["times"].max()))
    panel.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("ε that is proved over ε that is promised")
    panel.set_title("broken twins", fontsize=9)


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {"audit": audit}
