"""The figure of questions, made from their table only."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from experiments.engine.labels import letter_panels, plain_ticks
from experiments.engine.numbers import power_of_ten
from experiments.engine.style import MUTED

SHARING_COLOURS = {"apart": "#E69F00", "even": "#0072B2", "equal-error": "#D55E00"}
"""By Okabe and Ito."""
SHARING_MARKERS = {"apart": "s", "even": "o", "equal-error": "D"}
SHARING_TITLES = {
    "apart": "one release a question, ε added up",
    "even": "one release, equal shares",
    "equal-error": "one release, shares for equal errors",
}
CELL_TITLES = {"dau": "DAU", "wau": "WAU", "mau": "MAU", "week": "ISO week", "month": "month"}


def whole_dashboard(table: pd.DataFrame) -> Figure:
    """Largest standard deviation against ε: a column a cell, a row a breakdown, a line a way to share the budget."""
    cells, breakdowns = (list(dict.fromkeys(table[name])) for name in ("cell", "breakdown"))
    figure = Figure(figsize=(7.2, 1.75 * len(breakdowns) + 0.5), layout="constrained")
    panels = figure.subplots(len(breakdowns), len(cells), sharex=True, sharey=True, squeeze=False)
    for row, by in zip(panels, breakdowns, strict=True):
        for panel, cell in zip(row, cells, strict=True):
            part = table[(table["cell"] == cell) & (table["breakdown"] == by)]
            for sharing, line in part.groupby("sharing", sort=False):
                panel.plot(
                    line["epsilon"], line["max_std"], color=SHARING_COLOURS[str(sharing)],
                    marker=SHARING_MARKERS[str(sharing)], markersize=3.5, markerfacecolor="white",
                    linewidth=1.1, label=SHARING_TITLES[str(sharing)],
                )  # fmt: skip
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_title(_title(cell), loc="left")
        kinds = table.loc[table["breakdown"] == by, "kind"]
        row[0].set_ylabel(f"by {by} ({kinds.iloc[0]})" if by else "in all")
    for panel in panels[-1]:
        plain_ticks(panel.xaxis, sorted(set(table["epsilon"])))
    plain_ticks(panels[0][0].yaxis, [3, 10, 30, 100, 300, 1000])
    figure.supylabel("largest standard deviation [users]", fontsize=8)
    figure.supxlabel(f"ε of all questions together, δ = {power_of_ten(table['delta'].iloc[0])}", fontsize=8)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=7.5, labelcolor=MUTED, frameon=False)
    letter_panels(panels.flat)
    return figure


def _title(cell: str) -> str:
    metric, _, flows = cell.partition("/")
    title = CELL_TITLES.get(metric, metric)
    return f"flows of {title}" if flows else title


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {"whole_dashboard": whole_dashboard}
