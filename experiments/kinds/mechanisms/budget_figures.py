"""Figures about one budget: which mechanisms make the most of it, and how to divide it between series."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, NullLocator

from experiments.engine.labels import letter_panels, plain_ticks
from experiments.engine.numbers import power_of_ten, signed
from experiments.engine.style import COLOURS, TRUTH, UNIT_TITLES, ink
from experiments.kinds.mechanisms.analysis import costs, unbeaten, worst_at
from experiments.kinds.mechanisms.error_curves import BAND, SMALL, label_ends, trial_handles

METRIC_COLOURS = {"dau": "#D55E00", "wau": "#1B9E77", "mau": "#0072B2"}
METRIC_MARKERS = {"dau": "D", "wau": "s", "mau": "o"}
SHARE_ROOM = 1.8
"""Least ratio of two shares whose words stand beside each other."""


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
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    panels = figure.subplots(1, table["unit"].nunique(), squeeze=False)[0]
    for panel, (unit, part) in zip(panels, table.groupby("unit", sort=False), strict=True):
        _shares(panel, part)
        bounds = part.groupby("metric", sort=False)["w_bound"].first()
        panel.set_title(f"{UNIT_TITLES[str(unit)].capitalize()}\nW_BOUND {_bounds(bounds)}", loc="left")
        panel.set_xlabel("share of the budget that the series has [%]")
    panels[0].set_ylabel("RMSE of a released day [% of the mean count]")
    letter_panels(panels)
    one = table.iloc[0]
    handles = [
        *trial_handles(one["trials"]),
        Line2D([], [], color=TRUTH, linestyle=":", label="equal shares"),
        Line2D(
            [], [], color=TRUTH, linestyle="--", marker="o", markersize=7, fillstyle="none",
            label="all three err alike: ringed shares add up to 100 %",
        ),
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), columnspacing=1.0, handlelength=1.8,
        title=f"DAU, WAU and MAU released together on {one['horizon']} days, {one['mechanism']}, "
        f"ε = {one['epsilon']:g}, δ = {power_of_ten(table['delta'].max())} for all three",
    )  # fmt: skip
    return figure


def _shares(panel: Axes, part: pd.DataFrame) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    lowest, ends = part["share"].min(), []
    for metric, rows in part.groupby("metric", sort=False):
        curve, colour = rows.sort_values("share"), METRIC_COLOURS[str(metric)]
        percent = 100 * curve["relative_rmse"] / curve["rmse"]
        share = 100 * curve["share"]
        panel.fill_between(
            share, percent * curve["rmse_p05"], percent * curve["rmse_p95"], color=colour, alpha=BAND, linewidth=0
        )
        panel.plot(share, percent * curve["analytic_rmse"], color=colour, linewidth=1.1)
        panel.plot(
            share, percent * curve["rmse"], color=colour, marker=METRIC_MARKERS[str(metric)], markersize=3.4,
            linestyle="none",
        )  # fmt: skip
        ends.append((share.iloc[-1], (percent * curve["analytic_rmse"]).iloc[-1], str(metric).upper(), colour))
    level = 100 * float(np.sqrt(sum(cost**2 for cost in costs(part).values())))
    panel.axvline(100 / 3, color=TRUTH, linestyle=":", linewidth=1.0)
    panel.set_xlim(100 * lowest / 1.2, 110)
    low, high = panel.get_ylim()
    # Room below the curves, in which the shares are written.
    panel.set_ylim(low / (high / low) ** 0.15, high)
    _best_shares(panel, worst_at(part), level, 100 * lowest)
    plain_ticks(panel.xaxis, [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick >= 100 * lowest])
    plain_ticks(panel.yaxis, [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low <= tick <= high])
    label_ends(panel, ends)


def _best_shares(panel: Axes, best: dict[str, float], level: float, lowest: float) -> None:
    """A ring where each curve crosses the level of equal errors, and its share at the foot of a line from there."""
    foot = panel.get_ylim()[0]
    panel.plot(
        [lowest, 100 * max(best.values())], [level, level], color=TRUTH, linestyle="--", linewidth=0.9, zorder=1.5
    )
    widths = [1.0]
    for metric, chosen in sorted(best.items(), key=lambda pair: pair[1]):
        colour = METRIC_COLOURS[metric]
        panel.plot([100 * chosen], [level], color=colour, marker="o", markersize=7, fillstyle="none")
        panel.vlines(100 * chosen, foot, level, color=colour, linewidth=0.6)
        # To the left of its line where the one before it leaves room for it.
        side, offset = ("right", -2) if chosen > SHARE_ROOM * widths[-1] or len(widths) == 1 else ("left", 2)
        widths.append(chosen)
        panel.annotate(
            f"{signed(100 * chosen, 2)} %", (100 * chosen, foot), (offset, 4 if side == "right" else 4),
            textcoords="offset points", horizontalalignment=side, color=ink(colour), fontsize=SMALL,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6},
        )  # fmt: skip


def _bounds(bounds: pd.Series) -> str:
    if bounds.nunique() == 1:
        return f"= {bounds.iloc[0]}"
    return ", ".join(f"{bound} ({str(metric).upper()})" for metric, bound in bounds.items())


def _users(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
