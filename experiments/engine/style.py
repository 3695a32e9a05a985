"""The look of every figure: colour-blind safe, readable at column width, the same bytes for the same data."""

from __future__ import annotations

from typing import Any

# No palette of thirteen can be distinguished under the common kinds of colour blindness. So markers show the kind of
# mechanism, and colours (six by Okabe and Ito, all readable on white and on black) distinguish those with one marker.
COLOURS: dict[str, str] = {
    "laplace": "#999999",
    "gaussian": "#E69F00",
    "binary-tree": "#CC79A7",
    "binary-tree-laplace": "#56B4E9",
    "b-ary-tree": "#A6761D",
    "honaker-tree": "#1B9E77",
    "smooth-binary": "#8073B8",
    "square-root": "#0072B2",
    "damped-square-root": "#D55E00",
    "buffered-toeplitz": "#E0368C",
    "optimal": "#66A61E",
    "sparse-vector": "#B0413E",
    "adaptive-flippancy": "#4D8FA8",
}
MARKERS: dict[str, str] = {
    "laplace": "v",
    "gaussian": "o",
    "binary-tree": "o",
    "binary-tree-laplace": "v",
    "b-ary-tree": "s",
    "honaker-tree": "s",
    "smooth-binary": "s",
    "square-root": "o",
    "damped-square-root": "o",
    "buffered-toeplitz": "^",
    "optimal": "^",
    "sparse-vector": "D",
    "adaptive-flippancy": "D",
}
"""Matplotlib's markers: v Laplace noise, s trees, ^ optimised, D dependent on the data, o the others."""

SKETCH_COLOURS: dict[str, str] = {
    "exact": "#777777",
    "bitmap": "#56B4E9",
    "fixed-rate": "#0072B2",
    "kmv": "#A6761D",
    "theta": "#1B9E77",
    "hll": "#8073B8",
    "cpc": "#B0413E",
    "fm": "#E69F00",
    "order-invariant": "#E0368C",
    "sfm": "#D55E00",
    "gf2": "#2F7F93",
}
SKETCH_MARKERS: dict[str, str] = {
    "exact": "o",
    "bitmap": "o",
    "fixed-rate": "o",
    "kmv": "s",
    "theta": "s",
    "hll": "D",
    "cpc": "D",
    "fm": "^",
    "order-invariant": "^",
    "sfm": "v",
    "gf2": "v",
}
"""The kind of privacy: o noise, s and D none (samples of hashes, registers), ^ a secret hash, v flipped bits."""
TRUTH = "#000000"
RELEASED = "#0072B2"
BROKEN = "#B0413E"
"""For what is broken on purpose."""

UNIT_TITLES = {"user-day": "one user-day protected", "user": "the whole user protected"}

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
