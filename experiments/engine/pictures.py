"""Figures from tables to files, whose bytes depend on the data alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from experiments.engine.files import write_atomically
from experiments.engine.style import SETTINGS


def styled_figure(figure: Callable[[pd.DataFrame], Figure], table: Path) -> Figure:
    """The figure of a table in a file, in the look of all figures."""
    with mpl.rc_context(SETTINGS):
        return figure(pd.read_parquet(table))


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the suffix of its name says, without dates.

    Raises:
        ValueError: the suffix is not .svg, .png or .pdf.
    """
    suffix = path.suffix.removeprefix(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    if suffix not in metadata:
        raise ValueError(f"{path}: figures are written as .svg, .png or .pdf")
    buffer = io.BytesIO()
    with mpl.rc_context(SETTINGS):
        figure.savefig(buffer, format=suffix, metadata=metadata[suffix])
    write_atomically(path, buffer.getvalue())
