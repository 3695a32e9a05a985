"""Figures of the error of a release against ε, made from their tables only."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, NullLocator
from numpy.typing import NDArray

from experiments.engine.style import COLOURS, MARKERS, TRUTH, UNIT_TITLES
from experiments.kinds.mechanisms.analysis import MEASURES
from experiments.kinds.mechanisms.error_curves import BAND, logarithmic, mechanism_handles

EPSILON_TICKS = (0.1, 0.5, 2, 8)


def epsilon_vs_error(table: pd.DataFrame) -> Figure:
    """RMSE against ε, one panel for every unit and W_BOUND; bands over trials, the analytic curve on top."""
    units = list(dict.fromkeys(table["unit"]))
    bounds = sorted(table["w_bound"].unique())
    figure = Figure(figsize=(max(1.95 * len(bounds), 4.0) + 0.6, 2.75 * len(units) + 0.9), layout="constrained")
    panels = figure.subplots(len(units), len(bounds), sharex=True, sharey="row", squeeze=False)
    for row, unit in enumerate(units):
        for column, bound in enumerate(bounds):
            panel = panels[row, column]
            part = table[(table["unit"] == unit) & (table["w_bound"] == bound)]
            _error_curves(panel, part)
            if row == 0:
                panel.set_title(f"W_BOUND = {bound}", loc="left")
            if row == len(units) - 1:
                panel.set_xlabel("ε of the series")
            if column == 0:
                panel.set_ylabel(f"{UNIT_TITLES[unit]}\nRMSE of a released day [users]")
    metric, horizon = table["metric"].iloc[0].upper(), int(table["horizon"].iloc[0])
    handles = [*mechanism_handles(table), Line2D([], [], color=TRUTH, linestyle=":", label="truncation bias alone")]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), 2 * len(bounds)), fontsize=7.5,
        columnspacing=1.0, handlelength=1.5, title_fontsize=8.5,
        title=textwrap.fill(
            f"{metric} released on {horizon} days, δ = {table['delta'].max():g}. Points and bands: mean and 5–95 % of "
            f"{int(table['trials'].iloc[0]):,} trials; lines: formula", 28 * len(bounds),
        ),
    )  # fmt: skip
    return figure


def _error_curves(panel: Axes, part: pd.DataFrame) -> None:
    for name, curve in part.groupby("mechanism", sort=False):
        colour = COLOURS[str(name)]
        epsilon = curve["epsilon"].to_numpy()
        panel.fill_between(epsilon, curve["rmse_p05"], curve["rmse_p95"], color=colour, alpha=0.25, linewidth=0)
        panel.plot(epsilon, curve["rmse"], color=colour, marker=MARKERS[str(name)], markersize=3, linestyle="none")
        panel.plot(epsilon, curve["analytic_rmse"], color=colour, linewidth=1.0)
    # All mechanisms that freeze users count the same ones.
    bias = part["bias_rms"].max()
    if bias > 0:
        panel.axhline(bias, color=TRUTH, linestyle=":", linewidth=1.0)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xticks(_spaced(np.unique(part["epsilon"])))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(FormatStrFormatter("%g"))
        axis.set_minor_locator(NullLocator())


def _spaced(values: NDArray[np.float64]) -> list[float]:
    """Those of the ascending values that leave room for a label on a logarithmic axis."""
    kept: list[float] = []
    for value in values:
        if not kept or value >= 3.5 * kept[-1]:
            kept.append(float(value))
    return kept


def epsilon_measures(table: pd.DataFrame) -> Figure:
    """Four measures of error against ε, one row of panels a unit; points, bands over trials, formulas as lines."""
    units = list(dict.fromkeys(table["unit"]))
    percent = [name for name in table.columns if "rmsre" in name]
    table = table.assign(**{name: 100 * table[name] for name in percent})
    figure = Figure(figsize=(8.4, 2.75 * len(units) + 0.8), layout="constrained")
    rows = figure.subplots(len(units), len(MEASURES), sharex=True, squeeze=False)
    for panels, unit in zip(rows, units, strict=True):
        part = table[table["unit"] == unit]
        low, high = 0.7 * part["mae_p05"].min(), 1.4 * part["p95_error_p95"].max()
        for panel, (name, title) in zip(panels, MEASURES.items(), strict=True):
            _measure(panel, part, name)
            if name == "rmsre_100":
                low, high = 0.7 * part[f"{name}_p05"].min(), 1.4 * part[f"{name}_p95"].max()
                panel.yaxis.tick_right()
                panel.spines.right.set_visible(True)
                panel.spines.left.set_visible(False)
            logarithmic(panel, low, high, EPSILON_TICKS)
            if unit == units[0]:
                panel.set_title(title, loc="left", fontsize=8.5)
            if name in ("mae", "p95_error"):
                # They share the axis of the first panel.
                panel.tick_params(labelleft=False)
        panels[0].set_ylabel(UNIT_TITLES[unit])
    for panel in rows[-1]:
        panel.set_xlabel("ε of the series")
    one = table.iloc[0]
    handles = mechanism_handles(table)
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=len(handles),
        fontsize=8,
        columnspacing=1.2,
        handlelength=1.5,
        title=f"{one['metric'].upper()} released on {one['horizon']} days, W_BOUND = {one['w_bound']}, "
        f"δ = {table['delta'].max():g}. Points: mean over {one['trials']:,} trials; bands: 5–95 % of them; "
        "lines: formula",
        title_fontsize=8.5,
    )
    return figure


def _measure(panel: Axes, part: pd.DataFrame, name: str) -> None:
    for mechanism, curve in part.groupby("mechanism", sort=False):
        colour, curve = COLOURS[str(mechanism)], curve.sort_values("epsilon")
        panel.fill_between(
            curve["epsilon"], curve[f"{name}_p05"], curve[f"{name}_p95"], color=colour, alpha=BAND, linewidth=0
        )
        panel.plot(curve["epsilon"], curve[f"analytic_{name}"], color=colour, linewidth=1.0)
        panel.plot(
            curve["epsilon"], curve[name], color=colour, marker=MARKERS[str(mechanism)], markersize=2.8,
            linestyle="none",
        )  # fmt: skip
