"""Figures of what the error of a release depends on: W_BOUND, the horizon, deletions. Made from their tables only."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.engine.labels import letter_panels
from experiments.engine.style import COLOURS, TRUTH, UNIT_TITLES
from experiments.kinds.mechanisms.error_curves import (
    Stroke,
    bias_curve,
    error_curve,
    heading,
    label_ends,
    logarithmic,
    remark,
    stroke_of,
)

SHADES = (Stroke("#D55E00", "s"), Stroke("#0072B2", "o"), Stroke("#1B9E77", "^"), Stroke("#8073B8", "D"))
"""Of the values that a figure compares, in ascending order; by Okabe and Ito, except two that are darker."""

# Populations are described in the config and not in the table; a test compares.
POPULATION_SIZES = {"w_bound_error": 10_000, "horizon_error": 4_000, "deletion_error": 4_000}
W_BOUND_LOGS = {
    "invoices": ("An online shop", "every invoice counts"),
    "cancellations": ("An online shop", "a cancellation takes its day back"),
    "lasting": (f"{POPULATION_SIZES['w_bound_error']:,} synthetic users", "nothing taken back"),
    "taken_back": (
        f"{POPULATION_SIZES['w_bound_error']:,} synthetic users",
        "30 % of days taken back, half erased and back",
    ),
}
DELETION_LOGS = {
    "lasting": "No user is erased\n",
    "leaving": "80 % are erased\nand stay away",
    "rejoining": "80 % are erased\nand come back",
}
SHOP = (
    "Online shop: UCI Online Retail (Chen, Sain, Guo 2012). On the left every invoice counts as activity, "
    "cancellations too; on the right one cancelled line takes the whole day back, on the day of the cancellation: "
    "harsher than the shop's own view."
)


def w_bound_error(table: pd.DataFrame) -> Figure:
    """RMSE against W_BOUND, one panel a log; for each ε all of it and the noise's part, and the bias that all share."""
    figure = Figure(figsize=(7.2, 7.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for panel, (log, part) in zip(panels.flat, table.groupby("log", sort=False), strict=True):
        ends = []
        for stroke, (epsilon, rows) in zip(SHADES, part.groupby("epsilon"), strict=False):
            curve, colour = rows.sort_values("w_bound"), stroke.colour
            error_curve(panel, curve, "w_bound", stroke)
            panel.plot(curve["w_bound"], curve["analytic_noise_rmse"], color=colour, linewidth=1.0, linestyle="--")
            best = curve.loc[[curve["analytic_rmse"].idxmin()]]
            panel.plot(best["w_bound"], best["analytic_rmse"], color=colour, marker="o", markersize=9, fillstyle="none")
            ends.append((curve["w_bound"].iloc[-1], curve["analytic_rmse"].iloc[-1], f"ε = {epsilon:g}", colour))
        curve = part.drop_duplicates("w_bound").sort_values("w_bound")
        bias_curve(panel, curve, "w_bound")
        remark(panel, f"bias is 0\nfrom {curve.loc[curve['bias_rms'] == 0, 'w_bound'].min()} on", "right")
        logarithmic(panel, 2, 1.3 * table["rmse_p95"].max(), curve["w_bound"].tolist())
        label_ends(panel, ends)
        who, what = W_BOUND_LOGS[str(log)]
        panel.set_title(f"{who}, mean MAU {(part['rmse'] / part['relative_rmse']).mean():,.0f}\n{what}", loc="left")
    letter_panels(panels.flat)
    for panel in panels[-1]:
        panel.set_xlabel("W_BOUND [flips]")
    for panel in panels[:, 0]:
        panel.set_ylabel("RMSE of a released day [users]")
    noise = Line2D([], [], color=TRUTH, linewidth=1.0, linestyle="--", label="noise alone")
    ring = Line2D([], [], color=TRUTH, marker="o", markersize=9, fillstyle="none", linestyle="none", label="least")
    one = table.iloc[0]
    heading(figure, table, f"T = {one['horizon']} days, unit {one['unit']}, {one['mechanism']}", [noise], [ring])
    figure.supxlabel(textwrap.fill(SHOP, 127), fontsize=7)
    return figure


def horizon_error(table: pd.DataFrame) -> Figure:
    """RMSE against the horizon, one panel a unit, a curve for each mechanism."""
    figure = Figure(figsize=(7.2, 5.0), layout="constrained")
    panels = figure.subplots(1, table["unit"].nunique(), sharey=True)
    for panel, (unit, part) in zip(panels, table.groupby("unit", sort=False), strict=True):
        ends = []
        for name, rows in part.groupby("mechanism", sort=False):
            curve, colour = rows.sort_values("horizon"), COLOURS[str(name)]
            error_curve(panel, curve, "horizon", stroke_of(str(name)))
            last = curve["analytic_rmse"].iloc[-1]
            ends.append((curve["horizon"].iloc[-1], last, f"{name}  {_users(last)}", colour))
        curve = part.drop_duplicates("horizon").sort_values("horizon")
        bias_curve(panel, curve, "horizon")
        if (last := curve["bias_rms"].iloc[-1]) > 0:
            ends.append((curve["horizon"].iloc[-1], last, f"truncation bias  {_users(last)}", TRUTH))
            remark(panel, f"no bias up\nto T = {curve.loc[curve['bias_rms'] == 0, 'horizon'].max()}", "left")
        else:
            remark(panel, "no bias: nobody is frozen", "left")
        logarithmic(panel, 6, 1.3 * table["rmse_p95"].max(), curve["horizon"].tolist())
        label_ends(panel, ends)
        panel.set_title(UNIT_TITLES[str(unit)].capitalize(), loc="left")
        panel.set_xlabel("horizon T [days]")
    panels[0].set_ylabel("RMSE of a released day [users]")
    letter_panels(panels)
    one, users = table.iloc[0], POPULATION_SIZES["horizon_error"]
    heading(figure, table, f"W_BOUND = {one['w_bound']}, {users:,} synthetic users, ε = {one['epsilon']:g}")
    return figure


def deletion_error(table: pd.DataFrame) -> Figure:
    """RMSE as a share of the mean count against the rate of deletions, one panel a population, a curve a W_BOUND."""
    share = 100 * table["relative_rmse"] / table["rmse"]
    columns = ["rmse", "rmse_p05", "rmse_p95", "analytic_rmse", "bias_rms"]
    percent = table.assign(**{name: table[name] * share for name in columns}, deleted=100 * table["delete_rate"])
    lowest = 0.2
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    panels = figure.subplots(1, table["log"].nunique(), sharex=True, sharey=True)
    for panel, (log, part) in zip(panels, percent.groupby("log", sort=False), strict=True):
        ends = []
        for stroke, (bound, rows) in zip(SHADES, part.groupby("w_bound"), strict=False):
            curve, colour = rows.sort_values("deleted"), stroke.colour
            error_curve(panel, curve, "deleted", stroke)
            bias_curve(panel, curve, "deleted", colour)
            label = f"W_BOUND = {bound}" if panel is panels[-1] else f"{bound}"
            ends.append((curve["deleted"].iloc[-1], curve["analytic_rmse"].iloc[-1], label, colour))
        logarithmic(panel, lowest, 100)
        remark(panel, f"bias below {lowest:g} % is not drawn", "right")
        label_ends(panel, ends)
        panel.set_title(DELETION_LOGS[str(log)], loc="left")
        panel.set_xlabel("active days taken back later [%]")
    panels[0].set_ylabel("RMSE of a released day [% of the mean MAU]")
    letter_panels(panels)
    one, users = table.iloc[0], POPULATION_SIZES["deletion_error"]
    heading(
        figure,
        table,
        f"T = {one['horizon']} days, {users:,} synthetic users, unit {one['unit']}, {one['mechanism']}, "
        f"ε = {one['epsilon']:g}",
    )
    return figure


def _users(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
