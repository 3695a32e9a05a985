"""Figures about one budget: which mechanisms make the most of it, and how to divide it between series."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, NullLocator

from experiments.engine.style import COLOURS, TRUTH, UNIT_TITLES
from experiments.kinds.mechanisms.analysis import costs, unbeaten, worst_at
from experiments.kinds.mechanisms.error_curves import BAND, SMALL, trial_handles

METRIC_SIDES: dict[str, Any] = {"dau": "center", "wau": "bottom", "mau": "top"}
"""The side of its curve's end on which a name stands; the curves of WAU and MAU end near each other."""
METRIC_COLOURS = {"dau": "#D55E00", "wau": "#1B9E77", "mau": "#0072B2"}


def mechanism_frontier(table: pd.DataFrame) -> Figure:
    """Mechanisms by error, one panel a unit, with what a stream must remember; the unbeaten ones are filled."""
    table = table.assign(analytic_rmse=table["analytic_rmse"].fillna(table["rmse"]))
    parts = [part.sort_values("analytic_rmse") for _, part in table.groupby("unit", sort=False)]
    figure = Figure(figsize=(8.4, 4.6), layout="constrained")
    panels = figure.subplots(1, len(parts), squeeze=False)[0]
    for panel, part in zip(panels, parts, strict=True):
        _ranking(panel, part)
    one = table.iloc[0]
    handles = [
        Line2D(
            [],
            [],
            color=TRUTH,
            marker="o",
            linestyle="none",
            label="on the frontier: no other is better with as little memory",
        ),
        Line2D([], [], color=TRUTH, marker="o", markerfacecolor="white", linestyle="none", label="beaten"),
        Line2D([], [], color=TRUTH, linewidth=1.2, label=f"5–95 % of {one['trials']:,} trials"),
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=3, fontsize=8,
        title=f"{one['metric'].upper()} released on {one['horizon']} days, ε = {one['epsilon']:g}, "
        f"δ = {table['delta'].max():g} for the whole series",
        title_fontsize=9,
    )  # fmt: skip
    return figure


def _ranking(panel: Axes, part: pd.DataFrame) -> None:
    frontier = unbeaten(part)
    best = part["analytic_rmse"].min()
    for place, (_, row) in enumerate(part.iterrows()):
        name = str(row["mechanism"])
        colour = COLOURS[name]
        panel.plot([row["rmse_p05"], row["rmse_p95"]], [place, place], color=colour, linewidth=1.2)
        face = colour if name in frontier else "white"
        panel.plot([row["rmse"]], [place], color=colour, marker="o", markersize=6, markerfacecolor=face)
        words = f"{_users(row['analytic_rmse'])}   × {_users(row['analytic_rmse'] / best)}"
        panel.annotate(
            words, (row["rmse_p95"], place), (6, 0),
            textcoords="offset points", verticalalignment="center", fontsize=SMALL,
        )  # fmt: skip
        panel.annotate(
            f"{row['memory']:.0f}", (1.0, place), xycoords=("axes fraction", "data"), horizontalalignment="right",
            verticalalignment="center", fontsize=SMALL, color="#555555",
        )  # fmt: skip
    panel.set_yticks(range(len(part)), part["mechanism"].tolist())
    for label, name in zip(panel.get_yticklabels(), part["mechanism"], strict=True):
        label.set_color(COLOURS[str(name)])
        label.set_fontweight("bold" if name in frontier else "normal")
    panel.set_ylim(len(part) - 0.4, -1.3)
    panel.set_xscale("log")
    panel.set_xlim(0.7 * best, 12 * part["rmse_p95"].max())
    panel.set_xticks([tick for tick in (10, 30, 100, 300, 1000) if tick >= 0.7 * best])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    panel.grid(visible=False, axis="y")
    panel.text(
        1.0, -0.85, "numbers to\nremember", transform=panel.get_yaxis_transform(), horizontalalignment="right",
        verticalalignment="center", fontsize=SMALL, color="#555555",
    )  # fmt: skip
    panel.set_xlabel("RMSE of a released day [users]; × the best")
    panel.set_title(f"{UNIT_TITLES[part['unit'].iloc[0]]}, W_BOUND = {part['w_bound'].iloc[0]}", loc="left")


def budget_split(table: pd.DataFrame) -> Figure:
    """Relative error of each metric against its share of the budget, one panel a unit, with two ways to divide it."""
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    panels = figure.subplots(1, table["unit"].nunique(), squeeze=False)[0]
    for panel, (unit, part) in zip(panels, table.groupby("unit", sort=False), strict=True):
        _shares(panel, part)
        bounds = part.groupby("metric", sort=False)["w_bound"].first()
        panel.set_title(f"{UNIT_TITLES[str(unit)]}\nW_BOUND {_bounds(bounds)}", loc="left")
        panel.set_xlabel("share of the budget that the series has [%]")
    panels[0].set_ylabel("RMSE of a released day [% of the mean count]")
    one = table.iloc[0]
    handles = [
        *trial_handles(one["trials"]),
        Line2D([], [], color=TRUTH, linestyle=":", label="equal shares"),
        Line2D(
            [], [], color=TRUTH, linestyle="--", label="the least largest error: shares on this line add up to 100 %"
        ),
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), fontsize=8, columnspacing=1.2,
        title=f"DAU, WAU and MAU released together on {one['horizon']} days, {one['mechanism']}, "
        f"ε = {one['epsilon']:g}, δ = {table['delta'].max():g} for all three",
        title_fontsize=9,
    )  # fmt: skip
    return figure


def _shares(panel: Axes, part: pd.DataFrame) -> None:
    panel.set_xscale("log")
    lowest, highest = part["share"].min(), 1.0
    panel.set_xlim(100 * lowest / 1.3, 170)
    for metric, rows in part.groupby("metric", sort=False):
        curve, colour = rows.sort_values("share"), METRIC_COLOURS[str(metric)]
        percent = 100 * curve["relative_rmse"] / curve["rmse"]
        share = 100 * curve["share"]
        panel.fill_between(
            share, percent * curve["rmse_p05"], percent * curve["rmse_p95"], color=colour, alpha=BAND, linewidth=0
        )
        panel.plot(share, percent * curve["analytic_rmse"], color=colour, linewidth=1.3)
        panel.plot(share, percent * curve["rmse"], color=colour, marker="o", markersize=3.2, linestyle="none")
        panel.annotate(
            str(metric).upper(), (share.iloc[-1], (percent * curve["analytic_rmse"]).iloc[-1]), (7, 0),
            textcoords="offset points", verticalalignment=METRIC_SIDES[str(metric)], color=colour, fontweight="bold",
        )  # fmt: skip
    level = 100 * float(np.sqrt(sum(cost**2 for cost in costs(part).values())))
    panel.axvline(100 / 3, color=TRUTH, linestyle=":", linewidth=1.0)
    best = sorted(worst_at(part).items(), key=lambda pair: pair[1])
    panel.plot([100 * lowest, 100 * best[-1][1]], [level, level], color=TRUTH, linestyle="--", linewidth=1.0)
    for place, (metric, chosen) in enumerate(best):
        panel.plot([100 * chosen], [level], color=METRIC_COLOURS[metric], marker="o", markersize=8, fillstyle="none")
        # The two smallest may be close to each other, and the largest to the name of its curve.
        offset, side = ((4, 6), "left") if place == 1 else ((-5, -12), "right")
        panel.annotate(
            f"{100 * chosen:.2g} %", (100 * chosen, level), offset, textcoords="offset points",
            horizontalalignment=side, color=METRIC_COLOURS[metric], fontsize=SMALL,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )  # fmt: skip
    panel.set_yscale("log")
    panel.set_xticks([tick for tick in (1, 2, 5, 10, 20, 50, 100) if 100 * lowest <= tick <= 100 * highest])
    panel.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    panel.xaxis.set_minor_locator(NullLocator())
    low, high = panel.get_ylim()
    panel.set_yticks([tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low <= tick <= high])
    panel.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    panel.yaxis.set_minor_locator(NullLocator())


def _bounds(bounds: pd.Series) -> str:
    if bounds.nunique() == 1:
        return f"= {bounds.iloc[0]}"
    return ", ".join(f"{bound} ({str(metric).upper()})" for metric, bound in bounds.items())


def _users(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
