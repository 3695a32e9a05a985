"""Figures of the error of a release against ε, made from their tables only."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from experiments.engine.labels import letter_panels, plain_ticks
from experiments.engine.numbers import power_of_ten
from experiments.engine.style import TRUTH, UNIT_TITLES
from experiments.kinds.mechanisms.analysis import MEASURES
from experiments.kinds.mechanisms.error_curves import error_curve, logarithmic, mechanism_handles, stroke_of

EPSILON_TICKS = (0.1, 0.5, 2, 8)
ACROSS = 4
"""Most entries of a legend beside each other."""


def epsilon_vs_error(table: pd.DataFrame) -> Figure:
    """RMSE against ε, one panel for every unit and W_BOUND; bands over trials, the analytic curve on top."""
    units = list(dict.fromkeys(table["unit"]))
    bounds = sorted(table["w_bound"].unique())
    figure = Figure(figsize=(7.2, 2.5 * len(units) + 1.0), layout="constrained")
    panels = figure.subplots(len(units), len(bounds), sharex=True, sharey="row", squeeze=False)
    for row, unit in enumerate(units):
        for column, bound in enumerate(bounds):
            panel = panels[row, column]
            part = table[(table["unit"] == unit) & (table["w_bound"] == bound)]
            _error_curves(panel, part)
            panel.set_title(f"W_BOUND = {bound}" if row == 0 else "", loc="left")
            if row == len(units) - 1:
                panel.set_xlabel("ε of the series")
            if column == 0:
                panel.set_ylabel(f"{UNIT_TITLES[unit]}\nRMSE of a released day [users]")
    letter_panels(panels.flat)
    metric, horizon = table["metric"].iloc[0].upper(), int(table["horizon"].iloc[0])
    _legend(
        figure,
        [*mechanism_handles(table), Line2D([], [], color=TRUTH, linestyle=":", label="truncation bias alone")],
        f"{metric} released on {horizon} days, δ = {power_of_ten(table['delta'].max())}\nPoints and bands: mean and "
        f"5–95 % of {int(table['trials'].iloc[0]):,} trials; lines: formula",
    )
    return figure


def _legend(figure: Figure, handles: list[Line2D], title: str) -> None:
    legend = figure.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), ACROSS), columnspacing=1.4,
        handlelength=3.2, title=title,
    )  # fmt: skip
    legend.get_title().set_multialignment("center")


def _error_curves(panel: Axes, part: pd.DataFrame) -> None:
    for name, curve in part.groupby("mechanism", sort=False):
        error_curve(panel, curve, "epsilon", stroke_of(str(name)))
    # All mechanisms that freeze users count the same ones.
    bias = part["bias_rms"].max()
    if bias > 0:
        panel.axhline(bias, color=TRUTH, linestyle=":", linewidth=1.0)
    panel.set_xscale("log")
    panel.set_yscale("log")
    plain_ticks(panel.xaxis, _spaced(np.unique(part["epsilon"])))
    plain_ticks(panel.yaxis)


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
    figure = Figure(figsize=(7.2, 2.5 * len(units) + 1.0), layout="constrained")
    rows = figure.subplots(len(units), len(MEASURES), sharex=True, squeeze=False)
    for panels, unit in zip(rows, units, strict=True):
        part = table[table["unit"] == unit]
        low, high = 0.7 * part["mae_p05"].min(), 1.4 * part["p95_error_p95"].max()
        for panel, (name, title) in zip(panels, MEASURES.items(), strict=True):
            for mechanism, curve in part.groupby("mechanism", sort=False):
                error_curve(panel, curve.sort_values("epsilon"), "epsilon", stroke_of(str(mechanism)), name)
            if name == "rmsre_100":
                low, high = 0.7 * part[f"{name}_p05"].min(), 1.4 * part[f"{name}_p95"].max()
                panel.yaxis.tick_right()
                panel.spines.right.set_visible(True)
                panel.spines.left.set_visible(False)
            logarithmic(panel, low, high, EPSILON_TICKS)
            panel.set_title(title.replace(" [", "\n[") if unit == units[0] else "", loc="left")
            if name in ("mae", "p95_error"):
                # They share the axis of the first panel.
                panel.tick_params(labelleft=False)
        panels[0].set_ylabel(UNIT_TITLES[unit])
    for panel in rows[-1]:
        panel.set_xlabel("ε of the series")
    letter_panels(rows.flat)
    one = table.iloc[0]
    _legend(
        figure,
        mechanism_handles(table),
        f"{one['metric'].upper()} released on {one['horizon']} days, W_BOUND = {one['w_bound']}, "
        f"δ = {power_of_ten(table['delta'].max())}\nPoints: mean over {one['trials']:,} trials; bands: 5–95 % of them; "
        "lines: formula",
    )
    return figure
