"""What the table of interval coverage says, in a sentence; ValueError where the table says otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from dp.mechanisms import MECHANISMS
from experiments.engine.claims import require

MOST_BELOW = 5
"""Bands that may lie below the level: 2.5 % of honest ones do; of 66, six or more once in 200 times."""
ALIKE = 0.01
"""Largest difference from the level of coverages over all days of all trials, whose days are correlated."""


def interval_coverage(table: pd.DataFrame) -> str:
    """How often intervals, and bands of all days at once, hold the count, and the true one where users are frozen."""
    whole, table = table[table["unit"] == "user"], table[table["unit"] != "user"]
    other = table["mechanism"] == "sparse-vector"
    linear, level = table[~other], table["level"].iloc[0]
    names = {name for name, family in MECHANISMS.items() if family.strategy}
    require(set(linear["mechanism"]) == names, "all linear mechanisms are tried")
    require((table["pointwise"] == table["pointwise_whole"]).all(), "whole ends do not change the intervals' coverage")
    require((table["band"] == table["band_whole"]).all(), "whole ends do not change the bands' coverage")
    require(linear["band"].between(0.94, 0.995).all(), "bands hold all days at once in 94 to 99 % of trials")
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
        f"has one. {_where_users_are_frozen(whole, level)}"
    )


def _where_users_are_frozen(whole: pd.DataFrame, level: float) -> str:
    held, true = whole["pointwise"], whole["true_pointwise"]
    low, high = whole["w_bound"].min(), whole["w_bound"].max()
    require((held - level).abs().max() < ALIKE, "intervals hold the count without frozen users as often as they say")
    require(
        whole.loc[whole["bias_rms"] == 0, "w_bound"].unique().tolist() == [high], "only the last bound freezes none"
    )
    require((true - held)[whole["w_bound"] == high].eq(0).all(), "where nobody is frozen the two counts are one")
    require(
        (whole["true_one_day_high"] < level)[whole["w_bound"] == low].all(), "the least bound misses the true count"
    )
    least, most = (100 * true[whole["w_bound"] == low].agg(side) for side in ("min", "max"))
    unfrozen = 100 * true[whole["w_bound"] == high].mean()
    return (
        f"With the whole user protected they hold the count without frozen users on {100 * held.min():.1f} to "
        f"{100 * held.max():.1f} % of days, but the true one on {least:.0f} to {most:.0f} % at W_BOUND = {low}, fewest "
        f"where there is least noise, and on {unfrozen:.0f} % at {high}, where nobody is frozen."
    )


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {"interval_coverage": interval_coverage}
