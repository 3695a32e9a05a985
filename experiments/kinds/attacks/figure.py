"""The figure of attacks, made from their table only: a table whose last column is drawn."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from experiments.engine.numbers import signed
from experiments.engine.style import BROKEN, MUTED, RELEASED, TRUTH
from experiments.kinds.attacks.readings import BEYOND, NOTHING, over_limit

ATTACK_WIDTH, LABEL_WIDTH = 24, 46
"""Longest names of an attack and a target, in characters."""
WIDTH, ROW = 7.2, 0.165
"""Width of the figure and height of a row, in inches."""
LEFT, RIGHT, ABOVE, BELOW = 3.75, 0.75, 0.55, 0.45
"""Room beside, above and below the dots, in inches."""
OURS = "this project"


def worst_reading(row: pd.Series) -> float:
    """The largest ratio of a reading to what is allowed."""
    return max(map(over_limit, row["measured"], row["limit"]), default=0.0)


def attacks(table: pd.DataFrame) -> Figure:
    """A row for each target of an attack: the worst reading over what the claim allows, as a dot and as a number."""
    tall = ABOVE + ROW * len(table) + BELOW
    figure = Figure(figsize=(WIDTH, tall))
    # No layout solver: its last bits differ from run to run.
    panel = figure.add_axes((LEFT / WIDTH, BELOW / tall, (WIDTH - LEFT - RIGHT) / WIDTH, ROW * len(table) / tall))
    panel.set_xscale("log")
    panel.set_xlim(NOTHING / 1.5, BEYOND * 1.5)
    panel.set_xticks([NOTHING, 0.1, 0.3, 1, 3, 10, BEYOND], ["none", "0.1", "0.3", "1", "3", "10", "more"])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("worst reading over the most that the claim allows")
    panel.set_ylim(len(table) - 0.5, -0.5)
    panel.set_yticks([])
    panel.spines.left.set_visible(False)
    panel.axvline(1, color=TRUTH, linewidth=0.9)
    _rows(panel, table)
    for place, words in ((-LEFT + 0.1, "attack"), (-LEFT + 1.25, "target"), (WIDTH - LEFT - RIGHT + 0.15, "× allowed")):
        _write(panel, place, -0.95, words, color=MUTED)
    handles = [
        Line2D([], [], color=RELEASED, marker="o", markersize=4, linestyle="none", label=f"{OURS}: holds"),
        Line2D([], [], color=BROKEN, marker="X", markersize=4.5, linestyle="none", label="broken on purpose: falls"),
        Line2D([], [], color=TRUTH, linewidth=0.9, label="what the claim allows"),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=3)
    return figure


def _rows(panel: Axes, table: pd.DataFrame) -> None:
    before = None
    for place, (_, row) in enumerate(table.iterrows()):
        if row["attack"] != before:
            before = row["attack"]
            panel.plot(
                [-(LEFT - 0.1) / (WIDTH - LEFT - RIGHT), 1], [place - 0.5, place - 0.5], color="#BBBBBB", linewidth=0.6,
                transform=panel.get_yaxis_transform(), clip_on=False,
            )  # fmt: skip
            _write(panel, -LEFT + 0.1, place, textwrap.shorten(str(before), ATTACK_WIDTH), fontweight="bold")
        colour, marker, size = (RELEASED, "o", 4.0) if row["ours"] else (BROKEN, "X", 4.5)
        worst = worst_reading(row)
        panel.plot(
            [min(max(worst, NOTHING), BEYOND)], [place], color=colour, marker=marker, markersize=size,
            linestyle="none", clip_on=False,
        )  # fmt: skip
        _write(panel, -LEFT + 1.25, place, OURS if row["ours"] else textwrap.shorten(row["target"], LABEL_WIDTH))
        _write(panel, WIDTH - LEFT - RIGHT + 0.15, place, "∞" if math.isinf(worst) else signed(worst, 2), color=MUTED)


def _write(panel: Axes, inches: float, place: float, words: str, **style: str) -> None:
    """Words in a row, so many inches to the right of the panel's left edge."""
    panel.text(
        inches / (WIDTH - LEFT - RIGHT), place, words, transform=panel.get_yaxis_transform(),
        verticalalignment="center_baseline", fontsize=7.5, **style,  # type: ignore[arg-type]
    )  # fmt: skip


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {"attacks": attacks}
