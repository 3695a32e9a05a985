"""The figure of interval coverage, made from its table only."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MultipleLocator

from experiments.engine.style import COLOURS, TRUTH

SPREAD = 0.72
"""Height of the lines of one mechanism, in units of the distance between two mechanisms."""


def interval_coverage(table: pd.DataFrame) -> Figure:
    """Share of intervals, and of bands, that hold the truth; a line for each ε and rate, mechanism by mechanism."""
    names = list(dict.fromkeys(table["mechanism"]))
    kinds = [(rate, epsilon) for rate in dict.fromkeys(table["rate"]) for epsilon in dict.fromkeys(table["epsilon"])]
    one = table.iloc[0]
    figure = Figure(figsize=(7.2, 6.6), layout="constrained")
    pointwise, together = figure.subplots(1, 2, sharey=True)
    for panel, columns in (
        (pointwise, ("pointwise", "one_day_low", "one_day_high", "pointwise_whole")),
        (together, ("band", "band_low", "band_high", "band_whole")),
    ):
        for _, row in table.iterrows():
            place = kinds.index((row["rate"], row["epsilon"]))
            height = names.index(row["mechanism"]) + SPREAD * (place / max(len(kinds) - 1, 1) - 0.5)
            _mark(panel, height, row, columns)
        panel.axvline(100 * one["level"], color=TRUTH, linewidth=0.9, zorder=1)
        for place in range(1, len(names)):
            panel.axhline(place - 0.5, color="#DDDDDD", linewidth=0.6)
        panel.grid(visible=False, axis="y")
        panel.xaxis.set_major_locator(MultipleLocator(2))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g} %"))
    pointwise.set_yticks(range(len(names)), names)
    for label, name in zip(pointwise.get_yticklabels(), names, strict=True):
        label.set_color(COLOURS[name])
    pointwise.set_ylim(len(names) - 0.5, -0.5)
    pointwise.set_title("Day by day", loc="left")
    together.set_title(f"All {int(one['horizon'])} days at once", loc="left")
    pointwise.set_xlabel(f"days whose {100 * one['level']:g} % interval holds the count")
    together.set_xlabel(f"trials whose {100 * one['level']:g} % band holds every count")
    full, hollow = (
        Line2D([], [], color=TRUTH, marker="o", markersize=4, markerfacecolor=face) for face in (TRUTH, "white")
    )
    inwards = Line2D([], [], color=TRUTH, marker="|", markersize=7, linestyle="none")
    sample = f"sample of {100 * table['rate'].min():g} %"
    figure.legend(
        handles=[full, hollow, inwards],
        labels=["all users counted", sample, "ends drawn inwards to whole numbers"],
        loc="outside lower center",
        ncols=3,
    )
    order = ", ".join(f"{epsilon:g}" for epsilon in dict.fromkeys(table["epsilon"]))
    figure.suptitle(
        f"Users of the last {int(one['window'])} days, unit {one['unit']}, W_BOUND {int(one['w_bound'])}, "
        f"δ = {table['delta'].max():g}; from top to bottom for each mechanism ε = {order}, twice\n"
        f"Points: {int(table['trials'].max()):,} trials (sparse-vector, sample: {int(table['trials'].min()):,}); "
        "lines: Clopper–Pearson bands, left for one random day of each trial",
        fontsize=8,
    )
    return figure


def _mark(panel: Axes, height: float, row: pd.Series, columns: tuple[str, str, str, str]) -> None:
    middle, low, high, whole = (100 * row[column] for column in columns)
    colour = COLOURS[row["mechanism"]]
    panel.plot([low, high], [height, height], color=colour, linewidth=1.0)
    face = colour if row["rate"] == 1 else "white"
    panel.plot([middle], [height], color=colour, marker="o", markersize=3.2, markerfacecolor=face)
    panel.plot([whole], [height], color=colour, marker="|", markersize=6)


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {"interval_coverage": interval_coverage}
