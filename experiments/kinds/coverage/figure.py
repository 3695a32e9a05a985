"""The figure of interval coverage, made from its table only."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.engine.labels import letter_panels, plain_ticks
from experiments.engine.numbers import power_of_ten
from experiments.engine.style import COLOURS, MARKERS, MUTED, TRUTH, dash

APART = 0.36
"""Distance of the two marks of one mechanism, in units of the distance between two mechanisms."""
LOWEST, HIGHEST = 92.0, 100.6
"""Range of the coverage of intervals without bias, in per cent."""


def interval_coverage(table: pd.DataFrame) -> Figure:
    """Share of intervals, and of bands, that hold the count; below, those that hold the true one. A column for each ε.

    A table without the unit user gives two rows of panels.
    """
    whole = table["unit"] == "user"
    columns = list(dict.fromkeys(table["epsilon"]))
    heights = [2.6, 2.6, *([1.9] if whole.any() else [])]
    figure = Figure(figsize=(7.2, sum(heights) + 1.3), layout="constrained")
    rows = figure.subplots(len(heights), len(columns), squeeze=False, height_ratios=heights, sharey="row")
    one = table.iloc[0]
    for place, epsilon in enumerate(columns):
        part = table[table["epsilon"] == epsilon]
        for panels, names in (
            (rows[0], ("one_day", "one_day_low", "one_day_high", "pointwise")),
            (rows[1], ("band", "band_low", "band_high", "band")),
        ):
            _dots(panels[place], part[part["unit"] != "user"], names, one["level"])
            panels[place].set_title(f"ε = {epsilon:g}", loc="left")
        if whole.any():
            _true_coverage(rows[2][place], part[part["unit"] == "user"], one["level"])
            rows[2][place].set_title(f"ε = {epsilon:g}", loc="left")
    middle = len(columns) // 2
    rows[0][middle].set_xlabel(f"days whose {100 * one['level']:g} % interval holds the count [%]")
    rows[1][middle].set_xlabel(
        f"trials whose {100 * one['level']:g} % band holds the counts of all {one['horizon']} days [%]"
    )
    if whole.any():
        rows[2][middle].set_xlabel("W_BOUND [flips], the whole user protected")
        rows[2][0].set_ylabel("days whose interval\nholds the true count [%]")
        rows[2][0].legend(loc="lower right", fontsize=7)
    letter_panels(rows.flat)
    _explain(figure, table)
    return figure


def _dots(panel: Axes, part: pd.DataFrame, columns: tuple[str, str, str, str], level: float) -> None:
    names = list(dict.fromkeys(part["mechanism"]))
    rates = sorted(set(part["rate"]), reverse=True)
    panel.axvline(100 * level, color=TRUTH, linewidth=0.8, zorder=1)
    for _, row in part.iterrows():
        middle, low, high, mean = (100 * row[column] for column in columns)
        name = str(row["mechanism"])
        height = names.index(name) + APART * (rates.index(row["rate"]) - (len(rates) - 1) / 2)
        panel.plot([low, high], [height, height], color=COLOURS[name], linewidth=1.0)
        panel.plot(
            [middle], [height], color=COLOURS[name], marker=MARKERS[name], markersize=4, markeredgewidth=0.8,
            markerfacecolor=COLOURS[name] if row["rate"] == 1 else "white", clip_on=False,
        )  # fmt: skip
        if columns[0] != columns[3]:
            panel.plot([mean], [height], color=TRUTH, marker="|", markersize=4, markeredgewidth=0.7)
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_xlim(LOWEST, HIGHEST)
    plain_ticks(panel.xaxis, [92, 94, 96, 98, 100])
    panel.grid(visible=False, axis="y")


def _true_coverage(panel: Axes, part: pd.DataFrame, level: float) -> None:
    panel.axhline(100 * level, color=TRUTH, linewidth=0.8, zorder=1)
    for name, rows in part.groupby("mechanism", sort=False):
        curve, colour = rows.sort_values("w_bound"), COLOURS[str(name)]
        middle = 100 * curve["true_one_day"]
        panel.vlines(
            curve["w_bound"], 100 * curve["true_one_day_low"], 100 * curve["true_one_day_high"], color=colour,
            linewidth=1.0,
        )  # fmt: skip
        panel.plot(
            curve["w_bound"], middle, color=colour, marker=MARKERS[str(name)], markersize=4, linestyle=dash(str(name)),
            linewidth=1.1, label=str(name),
        )  # fmt: skip
    panel.set_ylim(0, 103)
    plain_ticks(panel.xaxis, sorted(set(part["w_bound"])))
    plain_ticks(panel.yaxis, [0, 25, 50, 75, 95])


def _explain(figure: Figure, table: pd.DataFrame) -> None:
    one, whole = table.iloc[0], table[table["unit"] == "user"]
    full, hollow = (
        Line2D([], [], color=MUTED, marker="o", markersize=4, markerfacecolor=face, linewidth=1.0)
        for face in (MUTED, "white")
    )
    mean = Line2D([], [], color=TRUTH, marker="|", markersize=6, linestyle="none")
    level = Line2D([], [], color=TRUTH, linewidth=0.8)
    trials = f"{table['trials'].max():,} trials (a sample with sparse-vector: {table['trials'].min():,})"
    legend = figure.legend(
        handles=[full, hollow, mean, level],
        labels=[
            "all users, with a 95 % confidence interval", f"a sample of {100 * table['rate'].min():g} %",
            "all days of all trials", f"{100 * one['level']:g} %",
        ],
        loc="outside upper center",
        ncols=4,
        title=f"Users of the last {one['window']} days, on {one['horizon']} days, "
        f"δ = {power_of_ten(table['delta'].max())}, {trials}\nMarks of days: one day of each trial, drawn at random",
    )  # fmt: skip
    legend.get_title().set_multialignment("center")
    note = f"Above: unit {one['unit']}, W_BOUND {one['w_bound']}."
    if len(whole):
        note += (
            " Below: unit user. Intervals are for the count without frozen users and hold it as often as above; that "
            f"count is too low by {_missing(whole)} (root mean square)."
        )
    figure.supxlabel(textwrap.fill(note, 118), fontsize=7.5)


def _missing(whole: pd.DataFrame) -> str:
    """What truncation takes from the count under each bound, in words."""
    bias = whole.groupby("w_bound")["bias_rms"].first()
    words = [f"{value:.0f} users at W_BOUND {bound}" for bound, value in bias.items()]
    return ", ".join([words[0], *(word.replace(" users at W_BOUND", " at") for word in words[1:])])


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {"interval_coverage": interval_coverage}
