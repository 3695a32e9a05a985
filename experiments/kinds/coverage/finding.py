"""What the table of interval coverage says, in a sentence; ValueError where the table says otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from dp.mechanisms import MECHANISMS
from experiments.engine.claims import require

MOST_BELOW = 5
"""Bands that may lie below the level: 2.5 % of honest ones do; of 66, six or more once in 200 times."""


def interval_coverage(table: pd.DataFrame) -> str:
    """How often intervals, and bands of all days at once, hold the true count."""
    other = table["mechanism"] == "sparse-vector"
    linear, level = table[~other], table["level"].iloc[0]
    names = {name for name, family in MECHANISMS.items() if family.strategy}
    require(set(linear["mechanism"]) == names, "all linear mechanisms are tried")
    require((table["pointwise"] == table["pointwise_whole"]).all(), "whole ends do not change the intervals' coverage")
    require((table["band"] == table["band_whole"]).all(), "whole ends do not change the bands' coverage")
    require(linear["band"].between(0.94, 0.99).all(), "bands hold all days at once in 94 to 99 % of trials")
    require((table.loc[other, "pointwise"] > 0.99).all(), "the intervals of sparse-vector cover more than 99 %")
    require((table.loc[other, "no_interval"] > 0).all(), "sparse-vector has days without an interval")
    for column in ("one_day_high", "band_high"):
        require((table[column] < level).sum() <= MOST_BELOW, f"{column} lies below the level no more than by chance")
    low, high = 100 * linear["pointwise"].min(), 100 * linear["pointwise"].max()
    return (
        f"Intervals of the linear mechanisms hold the count on {low:.1f} to {high:.1f} % of days, for all users and "
        "for a sample, and drawing their ends inwards to whole numbers changes nothing; Bonferroni bands hold all "
        f"{table['horizon'].iloc[0]} days at once in {100 * linear['band'].min():.0f} to "
        f"{100 * linear['band'].max():.0f} % of trials; the intervals of sparse-vector cover more than 99 % where it "
        "has one."
    )


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {"interval_coverage": interval_coverage}
