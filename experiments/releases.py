"""The rows of a release in a file, and their figure."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from experiments.engine.style import RELEASED, SETTINGS, TRUTH

RELEASE_COLUMNS = frozenset(
    {"metric", "window", "day", "estimate", "ci_low", "ci_high", "ci_level", "std", "epsilon_total", "delta_total"}
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
    if missing := needed - set(table.columns):
        kind = "exact" if needed == TRUTH_COLUMNS else "release"
        raise ValueError(f"{path} has no column {', '.join(sorted(missing))}; it is no output of 'dpdau {kind}'")
    return table.assign(day=pd.to_datetime(table["day"]))


def release_figure(
    released: pd.DataFrame, truth: pd.DataFrame | None, *, title: str | None = None, note: str | None = None
) -> Figure:
    """Released counts with their intervals, one panel a metric, the true counts (not private) on top where given."""
    with mpl.rc_context(SETTINGS):
        metrics = list(dict.fromkeys(released["metric"]))
        figure = Figure(figsize=(7.2, 2.0 * len(metrics) + 1.0), layout="constrained")
        panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
        for panel, metric in zip(panels, metrics, strict=True):
            part = released[released["metric"] == metric]
            one = part.iloc[0]
            panel.fill_between(
                part["day"], part["ci_low"], part["ci_high"], color=RELEASED, alpha=0.3, linewidth=0,
                label=f"{one['ci_level']:.0%} interval",
            )  # fmt: skip
            if "sketch_std" in part:
                panel.fill_between(
                    part["day"], part["noise_low"], part["noise_high"], color=RELEASED, alpha=0.4, linewidth=0,
                    label="noise's part of it",
                )  # fmt: skip
            panel.plot(part["day"], part["estimate"], color=RELEASED, linewidth=1.1, label="released")
            if truth is not None:
                known = truth[truth["metric"] == metric]
                panel.plot(known["day"], known["count"], color=TRUTH, linewidth=0.8, label="truth (not private)")
            panel.set_ylabel(f"{metric.upper()} [users]")
            panel.set_title(
                f"{metric.upper()}, trailing {one['window']} day{'s' if one['window'] > 1 else ''}: "
                + _noise_words(part),
                loc="left",
            )
            panel.xaxis.set_major_formatter(
                ConciseDateFormatter(panel.xaxis.get_major_locator())  # type: ignore[no-untyped-call]
            )
            panel.margins(x=0.01)
        panels[0].legend(ncols=4, loc="upper left")
        panels[-1].set_xlabel("day")
        one = released.iloc[0]
        figure.suptitle(
            (f"{title}\n" if title else "")
            + f"ε = {one['epsilon_total']:g}, δ = {one['delta_total']:g} for all days and series together; "
            f"{one['mechanism']}, unit {one['unit']}{_bound_words(released['w_bound'])}",
            fontsize=9,
        )
        if note:
            figure.supxlabel(textwrap.fill(note, 120), fontsize=7)
        return figure


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
