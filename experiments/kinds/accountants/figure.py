"""The figure of accountants, made from their table only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.engine.labels import spread

ACCOUNTANT_COLOURS = {
    "naive": "#999999",
    "advanced": "#E69F00",
    "zcdp": "#56B4E9",
    "rdp": "#0072B2",
    "gdp": "#1B9E77",
    "pld": "#D55E00",
}
"""By Okabe and Ito, except two that are darker to be readable on white."""

TITLES = {
    "gaussian": "Gaussian noise, σ = {:g} × sensitivity",
    "discrete-laplace": "Discrete Laplace noise, ε = {:g} a release",
}
LABEL_ROOM = 0.052
"""Least distance of two labels, as a share of the height of a panel."""


def accountants_year(table: pd.DataFrame) -> Figure:
    """ε against the number of daily releases, one panel a release, labelled at the ends of the lines."""
    releases = list(dict.fromkeys(table["release"]))
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    panels = figure.subplots(1, len(releases), sharey=True, squeeze=False)[0]
    table = table.dropna(subset=["epsilon"])
    for panel, release in zip(panels, releases, strict=True):
        part = table[table["release"] == release]
        for name, rows in part.groupby("accountant", sort=False):
            panel.plot(rows["count"], rows["epsilon"], color=ACCOUNTANT_COLOURS[str(name)], linewidth=1.3)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(TITLES[release].format(part["parameter"].iloc[0]), loc="left")
        panel.set_xlabel("releases, one a day [days]")
        panel.set_xticks([1, 7, 30, 90, 365])
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    low, high = table["epsilon"].min() / 1.4, table["epsilon"].max() * 1.4
    for panel, release in zip(panels, releases, strict=True):
        panel.set_ylim(low, high)
        _label_ends(panel, table[table["release"] == release], low, high)
    panels[0].set_ylabel(f"ε of all releases together, δ = {table['delta'].iloc[0]:g}")
    return figure


def _label_ends(panel: Axes, part: pd.DataFrame, low: float, high: float) -> None:
    last = part[part["count"] == part["count"].max()].sort_values("epsilon")
    heights = np.log(last["epsilon"].to_numpy() / low) / np.log(high / low)
    for height, (_, row) in zip(spread(heights.tolist(), LABEL_ROOM), last.iterrows(), strict=True):
        panel.annotate(
            f"{row['accountant']}  {row['epsilon']:.1f}",
            (1.02, height),
            xycoords="axes fraction",
            color=ACCOUNTANT_COLOURS[row["accountant"]],
            verticalalignment="center",
            fontsize=8,
        )


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {"accountants_year": accountants_year}
