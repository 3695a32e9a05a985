"""The figure of accountants, made from their table only."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.engine.labels import letter_panels, plain_ticks, spread
from experiments.engine.numbers import power_of_ten
from experiments.engine.style import MUTED, ink

ACCOUNTANT_COLOURS = {
    "naive": "#777777",
    "advanced": "#E69F00",
    "zcdp": "#56B4E9",
    "rdp": "#0072B2",
    "gdp": "#1B9E77",
    "pld": "#D55E00",
}
"""By Okabe and Ito, except two that are darker to be readable on white."""
ACCOUNTANT_MARKERS = {"naive": "v", "advanced": "s", "zcdp": "^", "rdp": "D", "gdp": "o", "pld": "P"}
ACCOUNTANT_TITLES = {
    "naive": "adding up", "advanced": "advanced", "zcdp": "zCDP", "rdp": "RDP", "gdp": "GDP", "pld": "PLD",
}  # fmt: skip

TITLES = {
    "gaussian": "Gaussian noise, σ = {:g} × sensitivity",
    "discrete-laplace": "Discrete Laplace noise, ε = {:g} a release",
}
LABEL_ROOM = 0.075
"""Least distance of two labels, as a share of the height of a panel."""
ALIKE = 1.005
"""Answers whose ratio is less than this have one label."""
LEAST_EXCESS = 2.0
"""In per cent; what is nearer to the truth is not drawn."""
EVERY = 4
"""Of the points of a line, one in this many has a marker, so that lines that coincide show each their own."""


def accountants_year(table: pd.DataFrame) -> Figure:
    """ε against the number of daily releases, a column a kind of release; below, by how much it is above the least."""
    releases = list(dict.fromkeys(table["release"]))
    table = table.dropna(subset=["epsilon"])
    least = table.groupby(["release", "count"])["epsilon"].transform("min")
    table = table.assign(excess=100 * (table["epsilon"] / least - 1))
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    rows = figure.subplots(2, len(releases), sharex=True, sharey="row", squeeze=False)
    low, high = table["epsilon"].min() / 1.4, table["epsilon"].max() * 1.4
    for panels, release in zip(rows.T, releases, strict=True):
        part = table[table["release"] == release]
        _lines(panels[0], part, "epsilon")
        panels[0].set_ylim(low, high)
        panels[0].set_title(TITLES[release].format(part["parameter"].iloc[0]), loc="left")
        _label_ends(panels[0], part, "epsilon", "{:.1f}")
        _lines(panels[1], part.assign(excess=part["excess"].where(part["excess"] > LEAST_EXCESS)), "excess")
        panels[1].set_ylim(LEAST_EXCESS, 1.5 * table["excess"].max())
        panels[1].set_title(f"Above the least: 0 % for {_listed(_best(part))}", loc="left")
        panels[1].set_xlabel("releases, one a day [days]")
        _label_ends(panels[1], part[part["excess"] > LEAST_EXCESS], "excess", "+{:,.0f} %")
        plain_ticks(panels[1].xaxis, [1, 7, 30, 90, 365])
    plain_ticks(rows[0][0].yaxis, [0.1, 1, 10, 100])
    plain_ticks(rows[1][0].yaxis, [5, 10, 30, 100, 300, 1000])
    rows[0][0].set_ylabel(f"ε of all releases together, δ = {power_of_ten(table['delta'].iloc[0])}")
    rows[1][0].set_ylabel("excess over the least ε [%]")
    letter_panels(rows.flat)
    return figure


def _lines(panel: Axes, part: pd.DataFrame, column: str) -> None:
    for place, (name, rows) in enumerate(part.groupby("accountant", sort=False)):
        panel.plot(
            rows["count"], rows[column], color=ACCOUNTANT_COLOURS[str(name)], marker=ACCOUNTANT_MARKERS[str(name)],
            markersize=4.5, markeredgewidth=0.9, markerfacecolor="white", markevery=(place % EVERY, EVERY),
            linewidth=1.1, linestyle="-" if place % 2 else (0, (6, 2)),
        )  # fmt: skip
    panel.set_xscale("log")
    panel.set_yscale("log")


def _best(part: pd.DataFrame) -> list[str]:
    """The accountants that report the least ε for the most releases."""
    last = part[part["count"] == part["count"].max()]
    return [str(name) for name in last.loc[last["excess"] < 100 * (ALIKE - 1), "accountant"]]


def _label_ends(panel: Axes, part: pd.DataFrame, column: str, words: str) -> None:
    """Names and values beside the ends of lines, those that end together in one label."""
    last = part[part["count"] == part["count"].max()].sort_values(column)
    groups: list[list[tuple[str, float]]] = []
    for name, value in zip(last["accountant"], last[column], strict=True):
        if groups and value < ALIKE * groups[-1][0][1]:
            groups[-1].append((name, value))
        else:
            groups.append([(name, value)])
    low, high = np.log(panel.get_ylim())
    heights = [float((np.log(group[0][1]) - low) / (high - low)) for group in groups]
    for height, group in zip(spread(heights, LABEL_ROOM), groups, strict=True):
        panel.annotate(
            f"{_listed(name for name, _ in group)}  {words.format(group[0][1])}",
            (1.02, height),
            xycoords="axes fraction",
            color=ink(ACCOUNTANT_COLOURS[group[0][0]]) if len(group) == 1 else MUTED,
            verticalalignment="center",
            fontsize=7.5,
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(ACCOUNTANT_TITLES[name] for name in names)


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {"accountants_year": accountants_year}
