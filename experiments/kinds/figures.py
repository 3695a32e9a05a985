"""Figures, made from tables only."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, NullLocator
from numpy.typing import NDArray

from experiments.engine.files import write_atomically
from experiments.engine.style import COLOURS, MARKERS, RELEASED, SETTINGS, TRUTH, UNIT_TITLES
from experiments.kinds.accountants.figure import accountants_year
from experiments.kinds.audit.figure import attacks, audit
from experiments.kinds.coverage.figure import interval_coverage
from experiments.kinds.mechanisms.budget_figures import budget_split, epsilon_measures, mechanism_frontier
from experiments.kinds.mechanisms.error_curves import mechanism_handles
from experiments.kinds.mechanisms.error_figures import deletion_error, horizon_error, w_bound_error
from experiments.kinds.published.figure import published_norms
from experiments.kinds.sketches.figure import sketch_memory, sketch_turnstile


def draw(figure: str, table: Path) -> Figure:
    """The figure of that name for a table.

    Raises:
        ValueError: there is no figure of that name.
    """
    if figure not in FIGURES:
        raise ValueError(f"figure is {figure!r}; choose one of {', '.join(FIGURES)}")
    with mpl.rc_context(SETTINGS):
        return FIGURES[figure](pd.read_parquet(table))


def save(figure: Figure, path: Path) -> None:
    """Write a figure by the suffix of its name; without dates, so that the bytes depend on the data alone."""
    kind = path.suffix.removeprefix(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    if kind not in metadata:
        raise ValueError(f"{path}: figures are written as .svg, .png or .pdf")
    buffer = io.BytesIO()
    with mpl.rc_context(SETTINGS):
        figure.savefig(buffer, format=kind, metadata=metadata[kind])
    write_atomically(path, buffer.getvalue())


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


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "epsilon_vs_error": epsilon_vs_error,
    "epsilon_measures": epsilon_measures,
    "mechanism_frontier": mechanism_frontier,
    "budget_split": budget_split,
    "sketch_memory": sketch_memory,
    "sketch_turnstile": sketch_turnstile,
    "interval_coverage": interval_coverage,
    "accountants_year": accountants_year,
    "published_norms": published_norms,
    "audit": audit,
    "attacks": attacks,
    "w_bound_error": w_bound_error,
    "horizon_error": horizon_error,
    "deletion_error": deletion_error,
}
