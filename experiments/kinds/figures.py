"""The figures of all kinds, made from tables only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from experiments.engine import pictures
from experiments.kinds.registry import KINDS

FIGURES: Mapping[str, Callable[[pd.DataFrame], Figure]] = {
    name: function for config in KINDS.values() for name, function in config.kind.figures().items()
}
"""By name, from the module `figure` of every kind."""


def figure_of(figure: str, table: Path) -> Figure:
    """The figure of that name for a table in a file.

    Raises:
        ValueError: there is no figure of that name.
    """
    if figure not in FIGURES:
        raise ValueError(f"figure is {figure!r}; choose one of {', '.join(FIGURES)}")
    return pictures.styled_figure(FIGURES[figure], table)
