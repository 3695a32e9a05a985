"""The rows of a release in a file, and their figure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from dp.questions import SeriesName
from experiments.engine.labels import letter_panels, plain_ticks
from experiments.engine.numbers import power_of_ten
from experiments.engine.style import RELEASED, SETTINGS

HEIGHT, STRIP = 1.35, 0.6
"""Heights of a panel of counts and of one of errors, in inches."""
AREA = "#C8C8C8"
"""Of the true counts, light enough for what stands on it."""
MOST_SERIES = 24
"""In one figure; more have panels too low to be read on a screen."""
RELEASE_COLUMNS = frozenset(
    {"metric", "day", "estimate", "ci_low", "ci_high", "ci_level", "std", "epsilon_total", "delta_total"}
    | {"mechanism", "unit", "w_bound"}
)
TRUTH_COLUMNS = frozenset({"metric", "day", "count"})


def read_rows(path: Path, needed: frozenset[str]) -> pd.DataFrame:
    """The rows of a release or of exact counts, from the CSV, JSON or Parquet file that a command wrote.

    Raises:
        ValueError: the file's name ends otherwise, or columns that are needed are missing.
    """
    match path.suffix:
        case ".csv":
            table = pd.read_csv(path)
        case ".json":
            table = pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))
        case ".parquet":
            table = pd.read_parquet(path)
        case _:
            raise ValueError(f"{path}: rows are read from .csv, .json or .parquet files")
    if {"question", "breakdown", "segment"} <= set(table.columns):
        names = zip(table["question"], table["breakdown"], table["segment"], strict=True)
        table["metric"] = [SeriesName(name, *(None if pd.isna(one) else one for one in by)).key for name, *by in names]
    if missing := needed - set(table.columns):
        kind = "exact" if needed == TRUTH_COLUMNS else "release"
        raise ValueError(f"{path} has no column {', '.join(sorted(missing))}; it is no output of 'dpdau {kind}'")
    for column in {"estimate", "ci_low", "ci_high"} & set(table.columns):
        # What was withheld (--suppress-below) is not drawn.
        table[column] = pd.to_numeric(table[column], errors="coerce")
    return table.assign(day=pd.to_datetime(table["day"]))


def chosen_rows(rows: pd.DataFrame, only: Sequence[str]) -> pd.DataFrame:
    """The rows of some metrics or questions, such as mau, mau/new or mau/country; all where none is named.

    Raises:
        ValueError: a name has no rows, or there are more series than a figure holds.
    """
    names = rows["metric"].str.partition("=")[0]
    if unknown := [name for name in only if name not in set(names)]:
        raise ValueError(f"there are no rows of {unknown[0]!r}; choose from {', '.join(dict.fromkeys(names))}")
    chosen = rows[names.isin(only)] if only else rows
    if (number := chosen["metric"].nunique()) > MOST_SERIES:
        raise ValueError(
            f"there are {number} series, of which a figure holds {MOST_SERIES}; choose from "
            f"{', '.join(dict.fromkeys(names))}"
        )
    return chosen


def release_figure(
    released: pd.DataFrame, truth: pd.DataFrame | None, *, title: str | None = None, note: str | None = None
) -> Figure:
    """Released counts with their intervals, one panel a metric.

    Where the true counts are given (which are not private), they stand behind as an area, and a second panel shows by
    how much each release is off, beside the ends of its interval.
    """
    with mpl.rc_context(SETTINGS):
        metrics = list(dict.fromkeys(released["metric"]))
        heights = [HEIGHT] if truth is None else [HEIGHT, STRIP]
        figure = Figure(figsize=(7.2, (sum(heights) + 0.25) * len(metrics) + 0.9), layout="constrained")
        panels = figure.subplots(
            len(heights) * len(metrics), 1, sharex=True, squeeze=False, height_ratios=heights * len(metrics)
        )[:, 0]
        for panel, metric in zip(panels[:: len(heights)], metrics, strict=True):
            part = released[released["metric"] == metric]
            if truth is not None:
                known = truth[truth["metric"] == metric]
                panel.fill_between(known["day"], known["count"], color=AREA, linewidth=0, label="truth (not private)")
            _counts(panel, part)
        if truth is not None:
            for panel, metric in zip(panels[1::2], metrics, strict=True):
                _errors(panel, released[released["metric"] == metric], truth[truth["metric"] == metric])
        for panel in panels:
            panel.margins(x=0.01)
            plain_ticks(panel.yaxis)
        panels[0].set_ylim(top=panels[0].get_ylim()[1] * 1.25)
        panels[0].legend(ncols=4, loc="upper left")
        panels[-1].xaxis.set_major_formatter(
            ConciseDateFormatter(panels[-1].xaxis.get_major_locator())  # type: ignore[no-untyped-call]
        )
        letter_panels(panels)
        one = released.iloc[0]
        figure.suptitle(
            (f"{title}\n" if title else "")
            + f"ε = {one['epsilon_total']:g}, δ = {power_of_ten(one['delta_total'])} for all days and series together; "
            f"{one['mechanism']}, unit {one['unit']}{_bound_words(released['w_bound'])}",
            fontsize=8.5,
        )
        if note:
            figure.supxlabel(textwrap.fill(note, 118), fontsize=7)
        return figure


def _counts(panel: Axes, part: pd.DataFrame) -> None:
    one = part.iloc[0]
    panel.fill_between(
        part["day"], part["ci_low"], part["ci_high"], color=RELEASED, alpha=0.3, linewidth=0,
        label=f"{100 * one['ci_level']:g} % interval",
    )  # fmt: skip
    if "sketch_std" in part:
        panel.fill_between(
            part["day"], part["noise_low"], part["noise_high"], color=RELEASED, alpha=0.4, linewidth=0,
            label="noise's part of it",
        )  # fmt: skip
    panel.plot(part["day"], part["estimate"], color=RELEASED, linewidth=1.0, label="released")
    name = one["metric"] if "question" in part else one["metric"].upper()
    window = f", trailing {one['window']} day{'s' if one['window'] > 1 else ''}" if "window" in part else ""
    panel.set_ylabel("users" if "question" in part else f"{name} [users]")
    panel.set_title(f"{name}{window}: {_noise_words(part)}", loc="left")


def _errors(panel: Axes, part: pd.DataFrame, known: pd.DataFrame) -> None:
    """By how much each release is off, between the ends of its interval."""
    # A release has counts of its own where they were made to agree.
    both = part.merge(known[["day", "count"]].rename(columns={"count": "truth"}), on="day")
    panel.fill_between(
        both["day"], both["ci_low"] - both["estimate"], both["ci_high"] - both["estimate"], color=RELEASED, alpha=0.15,
        linewidth=0,
    )  # fmt: skip
    panel.axhline(0, color=AREA, linewidth=1.5)
    error = both["estimate"] - both["truth"]
    panel.plot(both["day"], error, color=RELEASED, linewidth=0.7)
    outside = int(((both["truth"] < both["ci_low"]) | (both["truth"] > both["ci_high"])).sum())
    drawn = int(both["estimate"].notna().sum())
    panel.set_title(f"Released less true: outside the interval on {outside} of {drawn} days", loc="left")
    panel.set_ylabel("error [users]")


def _noise_words(part: pd.DataFrame) -> str:
    deviation = part["std"].iloc[-1]
    if np.isnan(deviation):
        blind = int(part["ci_low"].isna().sum())
        return "the error depends on the counts" + (f"; {blind} days have no interval" if blind else "")
    if "sketch_std" in part:
        return (
            f"noise has a standard deviation of {deviation:.1f} users, the sample of "
            f"{100 * part['rate'].iloc[-1]:g} % one of {part['sketch_std'].iloc[-1]:.1f}"
        )
    return f"the noise has a standard deviation of {deviation:.1f} users"


def _bound_words(bounds: pd.Series) -> str:
    if bounds.isna().any():
        return ""
    lowest, highest = int(bounds.min()), int(bounds.max())
    return f", W_BOUND {lowest}" if lowest == highest else f", W_BOUND {lowest} to {highest}"
