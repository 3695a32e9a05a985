"""Figures of the experiments with sketches, made from tables only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from experiments.engine.style import SKETCH_COLOURS, SKETCH_MARKERS, TRUTH

BASELINE = "baseline: not private"
LEGENDS = {
    "noise for one user": "noise hides one user",
    "private by itself": "private by itself",
    BASELINE: BASELINE,
}


def sketch_memory(table: pd.DataFrame) -> Figure:
    """Relative error against bytes, every sketch; points are trials, lines the formula, exact a line across."""
    one = table.iloc[0]
    figure = Figure(figsize=(8.6, 5.0), layout="constrained")
    panel = figure.subplots()
    _errors(panel, table)
    panel.set_ylim(top=100)
    _legend(figure, table)
    figure.suptitle(
        f"One count of {int(one['users']):,} users, published once with ε = {one['epsilon']:g}, one user protected\n"
        f"Points: {int(one['trials'])} trials with fresh salts and noise; lines: formula",
        fontsize=9,
    )
    return figure


def sketch_turnstile(table: pd.DataFrame) -> Figure:
    """Relative error against bytes when users leave, and the published counts of the largest sketches over time."""
    one = table.iloc[0]
    figure = Figure(figsize=(7.8, 8.4), layout="constrained")
    errors, days = figure.subplots(2, 1, height_ratios=(1.1, 1.0))
    _errors(errors, table)
    floor = 100 * table["missed"].max()
    errors.axhline(floor, color=TRUTH, linestyle=":", linewidth=1.0)
    errors.text(
        0.03,
        0.3,
        f"dotted: the {floor:.0f} % who have left\nand are counted still",
        transform=errors.transAxes,
        fontsize=8,
    )
    errors.set_title(f"Error of {int(one['ticks'])} days, by memory", loc="left")
    ticks = np.arange(1 - int(one["ticks"]), 1)
    days.plot(ticks, one["truth"], color=TRUTH, linewidth=1.8, label="truth")
    for name, rows in table.groupby("sketch", sort=False):
        largest = rows.sort_values("bytes").iloc[-1]
        days.plot(ticks, largest["released"], **_stroke(str(name), largest["privacy"]) | {"marker": "none"})
    days.annotate("truth", (ticks[0], one["truth"][0]), (2, -11), textcoords="offset points", fontsize=8)
    days.set_xlabel("days before the last one")
    days.set_ylabel("users in the window")
    days.yaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:,.0f}"))
    days.set_title("Each day by itself, the largest sketches", loc="left")
    _legend(figure, table)
    figure.suptitle(
        f"Users of the last {int(one['window'])} days; {one['delete_rate']:.0%} of active days are taken back and "
        f"{one['erase_rate']:.0%} of users ask to be erased\n"
        f"ε = {one['epsilon']:g} for each day by itself, one user protected. "
        f"Points: {int(one['trials'])} trials with fresh salts and noise; lines: formula",
        fontsize=9,
    )
    return figure


def _errors(panel: Axes, table: pd.DataFrame) -> None:
    for name, rows in table.groupby("sketch", sort=False):
        rows = rows.sort_values("bytes")
        privacy = rows["privacy"].iloc[0]
        stroke = _stroke(str(name), privacy)
        panel.plot(rows["bytes"], 100 * rows["rmse"], **stroke | {"linestyle": "none"})
        if name == "exact":
            panel.axhline(100 * rows["formula"].iloc[0], **stroke | {"marker": "none"})
        panel.plot(rows["bytes"], 100 * rows["formula"], **stroke | {"marker": "none"})
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.xaxis.set_major_formatter(FuncFormatter(_bytes))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g} %"))
    panel.set_xlabel("size of one sketch")
    panel.set_ylabel("root mean square error of a published count")


def _legend(figure: Figure, table: pd.DataFrame) -> None:
    """A legend that groups sketches by the kind of their privacy."""
    handles: list[Line2D] = []
    for privacy, title in LEGENDS.items():
        names = table.loc[table["privacy"] == privacy, "sketch"].unique()
        if not len(names):
            continue
        handles.append(Line2D([], [], linestyle="none", label=title))
        handles += [Line2D([], [], **_stroke(name, privacy), label=name) for name in names]
    legend = figure.legend(handles=handles, loc="outside right center")
    for text in legend.get_texts():
        if text.get_text() in LEGENDS.values():
            text.set_fontweight("bold")


def _stroke(name: str, privacy: str) -> dict[str, Any]:
    """The stroke of a sketch; hollow and dashed if it is not private."""
    colour = SKETCH_COLOURS[name]
    hollow = privacy == BASELINE
    return {
        "color": colour,
        "marker": SKETCH_MARKERS[name],
        "markersize": 5,
        "markerfacecolor": "none" if hollow else colour,
        "linestyle": "--" if hollow else "-",
        "linewidth": 1.0,
    }


def _bytes(value: float, position: int) -> str:
    for unit in ("B", "kB"):
        if value < 1000:
            return f"{value:g} {unit}"
        value /= 1000
    return f"{value:g} MB"


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "sketch_memory": sketch_memory,
    "sketch_turnstile": sketch_turnstile,
}
