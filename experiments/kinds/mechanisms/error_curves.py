"""What figures of errors have in common: curves with bands, their labels, logarithmic axes, the heading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator

from experiments.engine.labels import plain_ticks, spread
from experiments.engine.numbers import power_of_ten
from experiments.engine.style import COLOURS, MARKERS, MUTED, TRUTH, dash, ink

SMALL = 7.5
"""Size of labels and remarks."""
LABEL_ROOM = 0.04
"""Least distance of two labels, as a share of the height of a panel."""
BAND = 0.18
"""Opacity of bands."""
MARK = 3.4
"""Size of markers, in points."""
LINE = 1.1
"""Width of lines, in points."""

End = tuple[float, float, str, str]
"""Where a curve ends, its label and its colour."""


@dataclass(frozen=True)
class Stroke:
    """The look of a curve: colour, marker, and the lengths of its dashes."""

    colour: str
    marker: str
    dashes: tuple[float, tuple[float, ...]] = (0.0, ())


def stroke_of(mechanism: str) -> Stroke:
    """The stroke of a mechanism."""
    return Stroke(COLOURS[mechanism], MARKERS[mechanism], dash(mechanism))


def error_curve(panel: Axes, curve: pd.DataFrame, along: str, stroke: Stroke, measure: str = "rmse") -> None:
    """The band over trials and their mean, and the formula as a line."""
    colour = stroke.colour
    panel.fill_between(
        curve[along], curve[f"{measure}_p05"], curve[f"{measure}_p95"], color=colour, alpha=BAND, linewidth=0
    )
    panel.plot(curve[along], curve[f"analytic_{measure}"], color=colour, linewidth=LINE, linestyle=stroke.dashes)
    panel.plot(curve[along], curve[measure], color=colour, marker=stroke.marker, markersize=MARK, linestyle="none")


def bias_curve(panel: Axes, curve: pd.DataFrame, along: str, colour: str = TRUTH) -> None:
    """The truncation bias where there is one: a logarithmic axis cannot show 0."""
    panel.plot(curve[along], curve["bias_rms"].where(curve["bias_rms"] > 0), color=colour, linestyle=":")


def logarithmic(panel: Axes, low: float, high: float, places: Sequence[float] = ()) -> None:
    """Logarithmic axes in plain numbers: errors between `low` and `high`, and, where places are given, along them."""
    panel.set_yscale("log")
    panel.set_ylim(low, high)
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    if places:
        panel.set_xscale("log")
        plain_ticks(panel.xaxis, places)
    plain_ticks(panel.yaxis)


def label_ends(panel: Axes, ends: Iterable[End]) -> None:
    """Labels to the right of a panel whose limits are set, each joined to the end of its curve."""
    ordered = sorted(ends, key=lambda end: end[1])
    low, high = np.log(panel.get_ylim())
    heights = [float((np.log(end[1]) - low) / (high - low)) for end in ordered]
    for height, (x, y, text, colour) in zip(spread(heights, LABEL_ROOM), ordered, strict=True):
        panel.annotate(
            text,
            (x, y),
            (1.05, height),
            textcoords="axes fraction",
            color=ink(colour),
            verticalalignment="center",
            fontsize=SMALL,
            arrowprops={
                "arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3, "relpos": (0, 0.5),
            },
        )  # fmt: skip


def remark(panel: Axes, text: str, side: str) -> None:
    """A few words at the foot of a panel, on its left or right side."""
    place = {"left": 0.02, "right": 0.98}[side]
    panel.text(place, 0.02, text, transform=panel.transAxes, horizontalalignment=side, fontsize=SMALL, color=MUTED)


def mechanism_handles(table: pd.DataFrame) -> list[Line2D]:
    """A mark for each mechanism, in the order of the table."""
    strokes = {name: stroke_of(name) for name in dict.fromkeys(table["mechanism"])}
    return [
        Line2D(
            [],
            [],
            color=one.colour,
            marker=one.marker,
            markersize=MARK,
            linestyle=one.dashes,
            linewidth=LINE,
            label=name,
        )
        for name, one in strokes.items()
    ]


def trial_handles(trials: int) -> list[Artist]:
    """What `error_curve` draws: trials, their band, the formula."""
    return [
        Line2D([], [], color=TRUTH, marker="o", markersize=MARK, linestyle="none", label=f"{trials:,} trials"),
        Patch(color=TRUTH, alpha=BAND, linewidth=0, label="5–95 % of them"),
        Line2D([], [], color=TRUTH, linewidth=LINE, label="formula"),
    ]


def heading(
    figure: Figure, table: pd.DataFrame, setting: str, before: Sequence[Line2D] = (), after: Sequence[Line2D] = ()
) -> None:
    """The setting, and under it what the lines mean; `before` and `after` stand on either side of the bias."""
    one = table.iloc[0]
    handles = [
        *trial_handles(one["trials"]),
        *before,
        Line2D([], [], color=TRUTH, linestyle=":", label="truncation bias alone"),
        *after,
    ]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=len(handles),
        columnspacing=1.2,
        title=f"{one['metric'].upper()} released every day, {setting}, δ = {power_of_ten(table['delta'].max())}",
    )
