"""Figures about one budget: which mechanisms make the most of it, and how to divide it between series."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.engine.labels import letter_panels, plain_ticks
from experiments.engine.numbers import power_of_ten, signed
from experiments.engine.style import COLOURS, MARKERS, MUTED, TRUTH, UNIT_TITLES, ink
from experiments.kinds.mechanisms.analysis import ALIKE, costs, unbeaten, worst_at
from experiments.kinds.mechanisms.error_curves import BAND, SMALL, label_ends, trial_handles

ROW = 0.165
"""Height of a row, in inches."""
COLUMNS = {"RMSE": 1.13, "× the best": 1.34, "numbers kept": 1.63}
"""Right edges of the columns beside a ranking, in widths of its panel."""
METRIC_COLOURS = {"dau": "#D55E00", "wau": "#1B9E77", "mau": "#0072B2"}
METRIC_MARKERS = {"dau": "D", "wau": "s", "mau": "o"}
SHARE_ROOM = 1.8
"""Least ratio of a share and the next one, or the end of the axis, between which its words fit."""


def mechanism_frontier(table: pd.DataFrame) -> Figure:
    """Mechanisms by error, one panel a unit, with what a stream must remember; the unbeaten ones are filled."""
    table = table.assign(analytic_rmse=table["analytic_rmse"].fillna(table["rmse"]))
    parts = [part.sort_values("analytic_rmse") for _, part in table.groupby("unit", sort=False)]
    heights = [len(_ranks(part)) for part in parts]
    tall = ROW * sum(heights) + 0.45 * (len(parts) - 1) + 1.25
    figure = Figure(figsize=(7.2, tall))
    # No layout solver: it cannot place words in widths of a panel.
    gap = 0.45 * len(parts) / (ROW * sum(heights))
    figure.subplots_adjust(left=0.25, right=0.7, bottom=0.5 / tall, top=1 - 0.75 / tall, hspace=gap)
    panels = figure.subplots(len(parts), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for panel, part in zip(panels, parts, strict=True):
        _ranking(panel, part)
        panel.set_title(
            f"{UNIT_TITLES[part['unit'].iloc[0]].capitalize()}, W_BOUND = {part['w_bound'].iloc[0]}", loc="left"
        )
        panel.tick_params(labelbottom=panel is panels[-1])
    panels[0].set_xscale("log")
    panels[0].set_xlim(0.8 * table["rmse_p05"].min(), 1.2 * table["rmse_p95"].max())
    plain_ticks(panels[-1].xaxis, [10, 30, 100, 300, 1000])
    panels[-1].set_xlabel("RMSE of a released day [users]")
    letter_panels(panels)
    one = table.iloc[0]
    full, hollow = (
        Line2D([], [], color=TRUTH, marker="o", markersize=4.5, markerfacecolor=face, linestyle="none")
        for face in (TRUTH, "white")
    )
    figure.legend(
        handles=[full, hollow, Line2D([], [], color=TRUTH, linewidth=1.2)],
        labels=[
            "on the frontier: no other is better with as little memory", "beaten",
            f"5–95 % of {one['trials']:,} trials",
        ],
        loc="upper center", ncols=3,
        title=f"{one['metric'].upper()} released on {one['horizon']} days, ε = {one['epsilon']:g}, "
        f"δ = {power_of_ten(table['delta'].max())} for the whole series",
    )  # fmt: skip
    return figure


def _ranks(part: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of one unit, best first; mechanisms that are one and the same at this point stand together."""
    ranks: list[pd.DataFrame] = []
    for _, row in part.iterrows():
        one = row.to_frame().T
        if ranks and _same(ranks[-1].iloc[0], row):
            ranks[-1] = pd.concat([ranks[-1], one])
        else:
            ranks.append(one)
    return ranks


def _same(one: pd.Series, other: pd.Series) -> bool:
    return bool(other["memory"] == one["memory"] and other["analytic_rmse"] < ALIKE * one["analytic_rmse"])


def _ranking(panel: Axes, part: pd.DataFrame) -> None:
    frontier, ranks = unbeaten(part), _ranks(part)
    best = part["analytic_rmse"].min()
    for place, rows in enumerate(ranks):
        for step, (_, row) in enumerate(rows.iterrows()):
            name, height = str(row["mechanism"]), place + 0.4 * (step - (len(rows) - 1) / 2)
            panel.plot([row["rmse_p05"], row["rmse_p95"]], [height, height], color=COLOURS[name], linewidth=1.2)
            panel.plot(
                [row["rmse"]], [height], color=COLOURS[name], marker=MARKERS[name], markersize=5,
                markerfacecolor=COLOURS[name] if name in frontier else "white",
            )  # fmt: skip
        row = rows.iloc[0]
        ratio = row["analytic_rmse"] / best
        for column, words in zip(
            COLUMNS.values(),
            (_users(row["analytic_rmse"]), "best" if ratio < ALIKE else _users(ratio), f"{row['memory']:.0f}"),
            strict=True,
        ):
            _in_column(panel, column, place, words)
    for title, column in COLUMNS.items():
        _in_column(panel, column, -0.5, title, color=MUTED, verticalalignment="bottom")
    panel.set_yticks(range(len(ranks)), [" = ".join(rows["mechanism"]) for rows in ranks])
    for label, rows in zip(panel.get_yticklabels(), ranks, strict=True):
        label.set_fontweight("bold" if rows["mechanism"].iloc[0] in frontier else "normal")
    panel.set_ylim(len(ranks) - 0.4, -0.6)
    panel.grid(visible=False, axis="y")


def _in_column(panel: Axes, column: float, place: float, words: str, **style: str) -> None:
    panel.text(
        column, place, words, transform=panel.get_yaxis_transform(), horizontalalignment="right", fontsize=SMALL,
        **{"verticalalignment": "center_baseline", **style},  # type: ignore[arg-type]
    )  # fmt: skip


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
    ordered = sorted(best.items(), key=lambda pair: pair[1])
    following = [*(chosen for _, chosen in ordered[1:]), 1.1]
    for (metric, chosen), after in zip(ordered, following, strict=True):
        colour = METRIC_COLOURS[metric]
        panel.plot([100 * chosen], [level], color=colour, marker="o", markersize=7, fillstyle="none")
        panel.vlines(100 * chosen, foot, level, color=colour, linewidth=0.6)
        offset, side = (3, "left") if after > SHARE_ROOM * chosen else (-3, "right")
        panel.annotate(
            f"{signed(100 * chosen, 2)} %", (100 * chosen, foot), (offset, 4), textcoords="offset points",
            horizontalalignment=side, color=ink(colour), fontsize=SMALL,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6},
        )  # fmt: skip


def _bounds(bounds: pd.Series) -> str:
    if bounds.nunique() == 1:
        return f"= {bounds.iloc[0]}"
    return ", ".join(f"{bound} ({str(metric).upper()})" for metric, bound in bounds.items())


def _users(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
