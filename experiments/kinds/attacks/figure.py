"""The figure of attacks, made from their table only."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from experiments.engine.style import BROKEN, RELEASED, TRUTH

NOTHING, BEYOND = 0.02, 30.0
"""Places of readings that are zero, and of those that are more than this many times what is allowed."""
LABEL_WIDTH = 46
"""Longest name of a target, in characters."""
ROW, GAP = 0.27, 0.34
"""Height of a target and distance between two attacks, in inches."""


def worst_reading(row: pd.Series) -> float:
    """The largest ratio of a reading to what is allowed; 0 over 0 is 0."""
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
    # No layout solver: its last bits differ from run to run, and with so many panels this shows in the file.
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
    panel.set_yticks(range(len(part)), [textwrap.shorten(target, LABEL_WIDTH) for target in part["target"]])
    panel.set_ylim(len(part) - 0.4, -0.6)
    panel.tick_params(axis="y", labelsize=8)
    panel.set_title(str(part["attack"].iloc[0]), loc="left", fontsize=8.5, pad=3)
    panel.grid(visible=False, axis="y")


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {"attacks": attacks}
