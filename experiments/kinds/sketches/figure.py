"""Figures of the experiments with sketches, made from tables only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.engine.labels import letter_panels, plain_ticks
from experiments.engine.numbers import signed
from experiments.engine.style import MUTED, SKETCH_COLOURS, SKETCH_MARKERS, TRUTH

BASELINE = "baseline: not private"
TITLES = {
    "noise for one user": "Noise hides one user",
    "private by itself": "Private by itself",
    BASELINE: "Baseline: not private",
}
"""By the kind of privacy, in the order of the panels."""
OTHERS = "#D5D5D5"
"""Of the lines that another panel is about."""
DAYS_ACROSS = 4
"""Panels of days beside each other."""


def sketch_memory(table: pd.DataFrame) -> Figure:
    """Relative error against bytes, a panel for each kind of privacy; points are trials, lines the formula."""
    one = table.iloc[0]
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    panels = figure.subplots(1, table["privacy"].nunique(), sharex=True, sharey=True, squeeze=False)[0]
    _errors(panels, table)
    letter_panels(panels)
    _legend(
        figure,
        f"One count of {int(one['users']):,} users, published once with ε = {one['epsilon']:g}, one user protected",
        int(one["trials"]),
    )
    return figure


def sketch_turnstile(table: pd.DataFrame) -> Figure:
    """Relative error against bytes when users leave, and below the counts that the largest sketches publish."""
    one = table.iloc[0]
    names = list(dict.fromkeys(table.sort_values("privacy", key=_order, kind="stable")["sketch"]))
    lines = -(-len(names) // DAYS_ACROSS)
    figure = Figure(figsize=(7.2, 3.6 + 1.35 * lines), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(3.2, 1.35 * lines + 0.2))[:, 0]
    panels = above.subplots(1, table["privacy"].nunique(), sharex=True, sharey=True, squeeze=False)[0]
    _errors(panels, table)
    floor = 100 * table["missed"].max()
    for panel in panels:
        panel.axhline(floor, color=TRUTH, linestyle=":", linewidth=1.0)
    left = Line2D([], [], color=TRUTH, linestyle=":", linewidth=1.0, label=f"the {floor:.0f} % who left, counted still")
    days = below.subplots(lines, DAYS_ACROSS, sharex=True, sharey=True, squeeze=False)
    for panel, name in zip(days.flat, names, strict=False):
        _days(panel, table[table["sketch"] == name].sort_values("bytes").iloc[-1])
    _finish_days(days, len(names))
    letter_panels([*panels, *days.flat[: len(names)]])
    _legend(
        above,
        f"Users of the last {int(one['window'])} days, on {int(one['ticks'])} days; "
        f"{100 * one['delete_rate']:.0f} % of active days are taken back, {100 * one['erase_rate']:.0f} % of users "
        f"erased\nε = {one['epsilon']:g} for each day by itself, one user protected",
        int(one["trials"]),
        [left],
    )
    return figure


def _order(privacy: pd.Series) -> pd.Series:
    return privacy.map({name: place for place, name in enumerate(TITLES)})


def _errors(panels: Sequence[Axes], table: pd.DataFrame) -> None:
    """One kind of privacy a panel, in colours; the others stand behind it in grey."""
    kinds = [name for name in TITLES if name in set(table["privacy"])]
    for panel, kind in zip(panels, kinds, strict=True):
        for name, rows in table.groupby("sketch", sort=False):
            rows = rows.sort_values("bytes")
            own, formula = rows["privacy"].iloc[0] == kind, 100 * rows["formula"]
            line: dict[str, Any] = {
                "color": SKETCH_COLOURS[str(name)] if own else OTHERS,
                "linewidth": 1.0,
                "zorder": 2 if own else 1,
            }
            if name == "exact":
                panel.axhline(formula.iloc[0], **line)
            panel.plot(rows["bytes"], formula, **line)
            if own:
                panel.plot(rows["bytes"], 100 * rows["rmse"], **_mark(str(name)), label=name)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(TITLES[kind], loc="left")
        # Between the errors of sketches and that of exact counting.
        panel.legend(loc="lower left", bbox_to_anchor=(0, 0.3 if kind == kinds[0] else 0.06), fontsize=7)
        panel.set_xlabel("size of one sketch")
        panel.xaxis.set_major_formatter(FuncFormatter(_bytes))
        panel.xaxis.set_minor_locator(NullLocator())
    panels[0].yaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{signed(value)} %"))
    panels[0].yaxis.set_minor_locator(NullLocator())
    panels[0].set_ylim(top=100)
    panels[0].set_ylabel("RMSE of a published count")


def _days(panel: Axes, largest: pd.Series) -> None:
    """The counts that one sketch publishes day by day, beside the truth."""
    ticks = np.arange(1 - int(largest["ticks"]), 1)
    panel.plot(ticks, largest["released"], color=SKETCH_COLOURS[largest["sketch"]], linewidth=1.3)
    panel.plot(ticks, largest["truth"], color=TRUTH, linewidth=0.8)
    panel.set_title(f"{largest['sketch']}, {_bytes(largest['bytes'], 0)}", loc="left", fontsize=7.5)
    panel.text(
        0.97, 0.06, f"off by {signed(100 * largest['rmse'], 2)} %", transform=panel.transAxes, fontsize=7, color=MUTED,
        horizontalalignment="right",
    )  # fmt: skip


def _finish_days(panels: Any, count: int) -> None:
    """Labels on the outer panels alone; a cell without a sketch explains the lines."""
    for panel in panels.flat[count:]:
        panel.set_axis_off()
    plain_ticks(panels[0, 0].xaxis, [-28, -14, 0])
    plain_ticks(panels[0, 0].yaxis)
    for panel in panels[-1, : count - DAYS_ACROSS * (len(panels) - 1)]:
        panel.set_xlabel("days before the last one")
    panels[len(panels) // 2, 0].set_ylabel("users in the window")
    lines = [
        Line2D([], [], color=TRUTH, linewidth=0.8, label="the truth"),
        Line2D([], [], color=MUTED, linewidth=1.3, label="the largest sketch"),
    ]
    panels.flat[-1].legend(handles=lines, loc="center", title="counts of a day", fontsize=7, title_fontsize=7.5)


def _legend(figure: Any, title: str, trials: int, more: Sequence[Line2D] = ()) -> None:
    dots = Line2D([], [], color=TRUTH, marker="o", markersize=4, linestyle="none")
    dots.set_label(f"{trials} trials with fresh salts and noise")
    handles = [
        dots,
        Line2D([], [], color=TRUTH, linewidth=1.0, label="formula"),
        Line2D([], [], color=OTHERS, linewidth=1.0, label="the other sketches"),
        *more,
    ]
    legend = figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), columnspacing=1.2)
    legend.set_title(title)
    legend.get_title().set_multialignment("center")


def _mark(name: str) -> dict[str, Any]:
    """The mark of a sketch; of two with one marker the first is large and hollow, to be seen around the second."""
    first = next(one for one, marker in SKETCH_MARKERS.items() if marker == SKETCH_MARKERS[name]) == name
    return {
        "color": SKETCH_COLOURS[name],
        "marker": SKETCH_MARKERS[name],
        "markersize": 6.5 if first else 3.8,
        "markerfacecolor": "none" if first else SKETCH_COLOURS[name],
        "linestyle": "none",
    }


def _bytes(value: float, position: int) -> str:
    for unit in ("B", "kB"):
        if value < 1000:
            return f"{signed(value, 2)} {unit}"
        value /= 1000
    return f"{signed(value, 2)} MB"


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "sketch_memory": sketch_memory,
    "sketch_turnstile": sketch_turnstile,
}
