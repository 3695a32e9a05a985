"""The look of every figure: colour-blind safe, readable at column width, the same bytes for the same data."""

from __future__ import annotations

from typing import Any

# No palette of fourteen can be distinguished under the common kinds of colour blindness, or on a printer without
# colours. So every mechanism has a marker and a dash too. Six of the colours are by Okabe and Ito; all are readable on
# white and on black.
COLOURS: dict[str, str] = {
    "laplace": "#777777",
    "gaussian": "#E69F00",
    "binary-tree": "#CC79A7",
    "binary-tree-laplace": "#56B4E9",
    "subtraction-tree": "#7A3FA0",
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
    "binary-tree": "s",
    "binary-tree-laplace": "v",
    "subtraction-tree": "v",
    "b-ary-tree": "p",
    "honaker-tree": "<",
    "smooth-binary": ">",
    "square-root": "^",
    "damped-square-root": "D",
    "buffered-toeplitz": "P",
    "optimal": "*",
    "sparse-vector": "d",
    "adaptive-flippancy": "d",
}
"""Matplotlib's markers. Three mechanisms share v, for Laplace noise, and two share d, for dependent on the data."""
DASHES: dict[str, tuple[float, ...]] = {
    "laplace": (3.5, 3),
    "gaussian": (),
    "binary-tree": (6, 1.5, 1.5, 1.5),
    "binary-tree-laplace": (2.5, 1.2),
    "subtraction-tree": (7, 1, 2.5, 1),
    "b-ary-tree": (6, 1.2, 1.2, 1.2, 1.2, 1.2),
    "honaker-tree": (9, 2),
    "smooth-binary": (4, 1.2, 1.2, 1.2),
    "square-root": (5, 1.5),
    "damped-square-root": (),
    "buffered-toeplitz": (4, 1, 1.5, 1),
    "optimal": (8, 1.5, 2.5, 1.5),
    "sparse-vector": (),
    "adaptive-flippancy": (12, 2),
}
"""Lengths of strokes and gaps, in widths of the line; () is a line without gaps. Dots are for truncation bias."""
SHAPES: dict[str, str] = {
    "o": "circle",
    "v": "triangle-down",
    "^": "triangle-up",
    "<": "triangle-left",
    ">": "triangle-right",
    "s": "square",
    "D": "diamond",
    "P": "cross",
    "d": "M0,-1L0.6,0L0,1L-0.6,0Z",
    "p": "M0,-1L0.951,-0.309L0.588,0.809L-0.588,0.809L-0.951,-0.309Z",
    "*": (
        "M0,-1L0.235,-0.324L0.951,-0.309L0.38,0.124L0.588,0.809L0,0.4L-0.588,0.809L-0.38,0.124L-0.951,-0.309"
        "L-0.235,-0.324Z"
    ),
}
"""The same markers in Vega-Lite: its names, or outlines in a square from −1 to 1."""

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
MUTED = "#555555"
"""For remarks."""

UNIT_TITLES = {"user-day": "one user-day protected", "user": "the whole user protected"}

# Any, because matplotlib types its settings by the literal names of all of them.
SETTINGS: Any = {
    "svg.hashsalt": "dpdau",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "legend.title_fontsize": 8.5,
    "figure.dpi": 100,
    "savefig.dpi": 300,
}

_READABLE = 4.5
"""Least contrast of text on white, of the Web Content Accessibility Guidelines 2.2."""


def dash(name: str) -> tuple[float, tuple[float, ...]]:
    """The line of a mechanism, as Matplotlib's `linestyle`."""
    return 0.0, DASHES[name]


def luminance(colour: str) -> float:
    """Relative luminance of a colour #RRGGBB, from 0 for black to 1 for white (IEC 61966-2-1)."""
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return sum(weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def ink(colour: str) -> str:
    """The colour, darkened until text in it can be read on white."""
    channels = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    for percent in range(100, 0, -2):
        darker = "#" + "".join(f"{channel * percent // 100:02X}" for channel in channels)
        if 1.05 / (luminance(darker) + 0.05) >= _READABLE:
            return darker
    return TRUTH
