"""The figure of audits, made from their table only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from experiments.engine.labels import letter_panels, plain_ticks
from experiments.engine.numbers import signed
from experiments.engine.style import BROKEN, MUTED, RELEASED, TRUTH

MISTAKES = {
    "half-noise": "half the noise",
    "variance-as-deviation": "a variance passed as a deviation",
    "sensitivity-one": "noise for one day of a window of 7",
    "per-release-laplace": "ε a release sold as ε for the series",
    "counter-reset": "an erasure resets the counter of flips",
    "continuous-accounting": "discrete noise accounted as continuous",
    "interval-without-delta": "an interval that forgets δ",
    "noise-on-kmv": "KMV: noise for a change of one",
    "noise-on-hll": "HLL: noise for a change of one",
    "noise-on-theta": "Theta: noise for a change of one",
    "noise-on-cpc": "CPC: noise for a change of one",
    "noise-on-fixed-rate": "a sample: noise for a change of one",
    "half-flips": "bits flipped half as often as needed",
    "same-coins": "two sites flip by one seed",
    "no-phantoms": "registers without phantom users",
    "phantoms-rounded-down": "one phantom user in place of two",
    "everybody-kept": "phantom users, but nobody left out",
    "one-salt": "one salt for two days",
}
"""What is broken in each twin, in a few words."""
KINDS = {
    "user-day": ("o", "mechanism, one user-day protected"),
    "user": ("s", "mechanism, the whole user protected"),
    "sketch": ("D", "sketch, one user protected"),
}
"""Marker and words of what is audited."""
APART = 0.2
"""Distance of the marks of one row, in rows."""


def audit(table: pd.DataFrame) -> Figure:
    """The share of the promised ε that attacks prove: at most all of it where it is kept, more of broken twins."""
    figure = Figure(figsize=(7.2, 5.2))
    # No layout solver: its last bits differ from run to run.
    figure.subplots_adjust(left=0.18, right=0.965, bottom=0.21, top=0.94, wspace=1.28)
    kept, broken = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
    honest, twins = table[table["kind"] != "twin"], table[table["kind"] == "twin"].dropna(subset=["measured"])
    _kept(kept, honest)
    _broken(broken, twins)
    letter_panels([kept, broken])
    marks = [
        Line2D([], [], color=RELEASED, marker=marker, markersize=4, linestyle="none", label=words)
        for marker, words in KINDS.values()
    ]
    filled = [
        Line2D([], [], color=MUTED, marker="o", markersize=4, linestyle="none", label=f"promised ε = {epsilon:g}",
               markerfacecolor=_face(epsilon, honest, MUTED))
        for epsilon in sorted(set(honest["epsilon"]))
    ]  # fmt: skip
    figure.legend(handles=[*marks, *filled], loc="lower left", bbox_to_anchor=(0.03, 0.0), ncols=2, columnspacing=1.5)
    return figure


def _kept(panel: Axes, honest: pd.DataFrame) -> None:
    names = list(dict.fromkeys(honest["subject"]))
    for name, rows in honest.groupby("subject", sort=False):
        rows = rows.assign(mark=rows["unit"].fillna("sketch")).sort_values(["epsilon", "mark"])
        for place, (_, row) in enumerate(rows.iterrows()):
            height = names.index(str(name)) + APART * (place - (len(rows) - 1) / 2)
            panel.plot(
                [100 * row["measured"] / row["epsilon"]], [height], color=RELEASED, marker=KINDS[row["mark"]][0],
                markersize=3.4, markeredgewidth=0.7, markerfacecolor=_face(row["epsilon"], honest, RELEASED),
            )  # fmt: skip
    _promise(panel, 100, names)
    _rule_off(panel, honest)
    panel.set_xlim(0, 112)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g} %"))
    panel.set_xlabel("proved ε, as a share of the promised one")
    panel.set_title("Kept, as far as attacks can tell", loc="left")


def _broken(panel: Axes, twins: pd.DataFrame) -> None:
    ordered = twins.assign(times=twins["measured"] / twins["epsilon"]).sort_values("times", ascending=False)
    places = np.arange(len(ordered))
    panel.hlines(places, 1, ordered["times"], color=BROKEN, linewidth=0.8)
    panel.plot(ordered["times"], places, color=BROKEN, marker="X", markersize=5, linestyle="none")
    for place, times in zip(places, ordered["times"], strict=True):
        panel.annotate(
            f"× {signed(times, 2)}", (times, place), (5, 0), textcoords="offset points", fontsize=7, color=MUTED,
            verticalalignment="center_baseline",
        )  # fmt: skip
    _promise(panel, 1, [MISTAKES[name] for name in ordered["subject"]])
    panel.set_xscale("log")
    panel.set_xlim(0.9, 2.4 * ordered["times"].max())
    plain_ticks(panel.xaxis, [1, 3, 10, 30])
    panel.set_xlabel("proved ε over the promised one")
    panel.set_title(f"Broken on purpose, {twins['trials'].max():,.0f} releases each", loc="left", x=-0.9)


def _promise(panel: Axes, promised: float, labels: Sequence[str]) -> None:
    panel.axvline(promised, color=TRUTH, linewidth=0.9, zorder=1)
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.4, -0.6)
    panel.grid(visible=False, axis="y")


def _rule_off(panel: Axes, honest: pd.DataFrame) -> None:
    """A line between mechanisms and sketches."""
    mechanisms = honest.loc[honest["kind"] == "mechanism", "subject"].nunique()
    panel.axhline(mechanisms - 0.5, color="#BBBBBB", linewidth=0.6)


def _face(epsilon: float, honest: pd.DataFrame, colour: str) -> str:
    """Of the marks of the largest ε, which are filled, or of others, which are hollow."""
    return colour if epsilon == honest["epsilon"].max() else "white"


FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {"audit": audit}
