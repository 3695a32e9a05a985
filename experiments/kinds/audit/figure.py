"""The figures of audits and attacks, made from their tables only."""

from __future__ import annotations

import math
import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, NullLocator

from experiments.engine.style import COLOURS, MARKERS, RELEASED, TRUTH

BROKEN = "#B0413E"
GROUPS = {
    "Gaussian noise": (COLOURS["gaussian"], "o", 11.0, "mechanisms with Gaussian noise"),
    "Laplace noise": (COLOURS["laplace"], "v", 6.5, "mechanisms with Laplace noise"),
    "sketches": (COLOURS["honaker-tree"], "s", 5.0, "sketches"),
}
"""Colour, marker, its size in points and name of what is shown alike; a mechanism that stands alone has its own.

What lies on the diagonal at the same places is large and small, so that both are seen.
"""
TICKS = (0.01, 0.1, 0.3, 1, 3, 10, 30, 100)
NOTHING, BEYOND = 0.02, 30.0
"""Where a reading stands that has none of what is allowed, or more than this many times."""
WIDTH = 46
"""Characters of a target's name."""
ROW, GAP = 0.27, 0.34
"""Inches of a target, and between two attacks."""


def audit(table: pd.DataFrame) -> Figure:
    """Measured against claimed ε: who keeps the promise is on the diagonal or below it, who breaks it is above."""
    figure = Figure(figsize=(7.6, 4.8))
    # No solver: its last bits differ from run to run.
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
        colour, marker, size, label = GROUPS.get(group, (COLOURS.get(group), MARKERS.get(group), 6.5, group))
        number = rows["subject"].nunique()
        panel.plot(
            rows["epsilon"], rows["measured"].clip(lower=low * 1.05), color=colour, marker=marker, markersize=size,
            linestyle="none", label=label if number == 1 else f"{label} ({number})", fillstyle="none",
        )  # fmt: skip
    panel.plot(
        twins["epsilon"], twins["measured"], color=BROKEN, marker="X", markersize=6, linestyle="none",
        label=f"broken twins ({len(twins)})",
    )  # fmt: skip
    for axis, ticks in ((panel.xaxis, (0.5, 1, 2, 4, 8)), (panel.yaxis, [t for t in TICKS if low <= t <= high])):
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


def worst_reading(row: pd.Series) -> float:
    """The largest of what was measured over what is allowed; 0 over 0 is 0."""
    worst = 0.0
    for measured, limit in zip(row["measured"], row["limit"], strict=True):
        if limit is None or math.isnan(limit):
            continue
        worst = max(worst, measured / limit if limit > 0 else math.inf if measured > 0 else 0.0)
    return worst


def attacks(table: pd.DataFrame) -> Figure:
    """One panel an attack: the worst reading over what the claim allows, of the project and of broken twins."""
    names = list(dict.fromkeys(table["attack"]))
    heights = [ROW * (len(table[table["attack"] == name]) + 0.6) for name in names]
    tall = sum(heights) + GAP * (len(names) - 1) + 1.2
    figure = Figure(figsize=(7.6, tall))
    # The solver of the other figures' layout is not the same to the last bit from run to run; with so many panels one
    # would see it in the bytes.
    gap = GAP * len(names) / sum(heights)
    figure.subplots_adjust(left=0.37, right=0.96, bottom=0.55 / tall, top=1 - 0.65 / tall, hspace=gap)
    panels = figure.subplots(len(names), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for panel, name in zip(panels, names, strict=True):
        _attack(panel, table[table["attack"] == name])
    panels[-1].set_xscale("log")
    panels[-1].set_xlim(NOTHING / 1.5, BEYOND * 1.5)
    panels[-1].set_xticks([NOTHING, 0.1, 0.3, 1, 3, 10, BEYOND], ["none", "0.1", "0.3", "1", "3", "10", "more"])
    panels[-1].xaxis.set_minor_locator(NullLocator())
    panels[-1].set_xlabel("worst reading over the most that the claim allows")
    handles = [
        Line2D([], [], color=RELEASED, marker="o", linestyle="none", label="this project: holds"),
        Line2D([], [], color=BROKEN, marker="X", linestyle="none", label="broken twin: falls"),
        Line2D([], [], color=TRUTH, linewidth=1.0, label="what the claim allows"),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=3, fontsize=8)
    return figure


def _attack(panel: Axes, part: pd.DataFrame) -> None:
    panel.axvline(1, color=TRUTH, linewidth=1.0)
    for place, (_, row) in enumerate(part.iterrows()):
        colour, marker = (RELEASED, "o") if row["ours"] else (BROKEN, "X")
        panel.plot(
            [min(max(worst_reading(row), NOTHING), BEYOND)], [place], color=colour, marker=marker, markersize=7,
            linestyle="none", clip_on=False,
        )  # fmt: skip
    panel.set_yticks(range(len(part)), [textwrap.shorten(target, WIDTH) for target in part["target"]])
    panel.set_ylim(len(part) - 0.4, -0.6)
    panel.tick_params(axis="y", labelsize=8)
    panel.set_title(str(part["attack"].iloc[0]), loc="left", fontsize=8.5, pad=3)
    panel.grid(visible=False, axis="y")
