"""One look for every figure: colour-blind safe, readable at column width, the same bytes for the same data."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's palette, which the common kinds of colour blindness keep apart.
COLOURS: dict[str, str] = {
    "laplace": "#999999",
    "gaussian": "#E69F00",
    "binary-tree": "#CC79A7",
    "binary-tree-laplace": "#56B4E9",
    "square-root": "#0072B2",
    "damped-square-root": "#D55E00",
}
TRUTH = "#000000"
RELEASED = "#0072B2"

# Any, because matplotlib types its settings by the literal names of all of them.
SETTINGS: Any = {
    "svg.hashsalt": "dpdau",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 160,
}
