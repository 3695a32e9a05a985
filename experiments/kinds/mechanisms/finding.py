"""What the tables of experiments with mechanisms say, in a sentence each; ValueError where a table says otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pandas as pd

from experiments.engine.claims import require
from experiments.kinds.mechanisms.analysis import MEASURES, costs, unbeaten, worst_at

BEST = "damped-square-root"
FRONTIER = {"optimal", "buffered-toeplitz", "gaussian"}
FLAT = ["laplace", "gaussian", BEST, "buffered-toeplitz", "optimal"]
"""Mechanisms whose error with one user-day protected does not depend on the horizon."""


def epsilon_vs_error(table: pd.DataFrame) -> str:
    """Which mechanism is best, by how much, and what truncation costs."""
    require(table["mechanism"].nunique() == 6, "six mechanisms are compared")
    _require_best(table, ["unit", "w_bound", "epsilon"], ["analytic_rmse"])
    one = table.query("unit == 'user-day' and w_bound == 2 and epsilon == 1").set_index("mechanism")["analytic_rmse"]
    biases = table[table["unit"] == "user"].groupby("w_bound")["bias_rms"]
    require((biases.nunique() == 1).all(), "truncation bias depends on W_BOUND alone")
    bias = biases.first()
    require(bias[24] == 0, "W_BOUND = 24 loses nobody")
    mean = (table["rmse"] / table["relative_rmse"]).mean()
    return (
        f"Of the six mechanisms {BEST} has the least error at every ε, W_BOUND and unit; at ε = 1 with one user-day "
        f"protected it is {one[BEST]:.1f} users, independent Laplace noise {one['laplace'] / one[BEST]:.1f} times "
        f"that; with the whole user protected no ε buys back the {bias[2]:,.0f} of {mean:,.0f} users whom "
        "W_BOUND = 2 loses on a day, and W_BOUND = 24 loses none."
    )


def epsilon_measures(table: pd.DataFrame) -> str:
    """Whether the choice of a measure matters, and how the measures compare."""
    require(len(MEASURES) == 4, "there are four measures")
    formulas = [f"analytic_{measure}" for measure in MEASURES]
    _require_best(table, ["unit", "epsilon"], formulas)
    mean, high = table["mae"] / table["rmse"], table["p95_error"] / table["rmse"]
    bias = table.loc[table["unit"] == "user", "bias_rms"].unique()
    require(len(bias) == 1, "truncation bias is the same at every ε")
    best = table[(table["unit"] == "user") & (table["mechanism"] == BEST)].set_index("epsilon")[formulas]
    # From ε = 4 to 8 the noise halves.
    require(
        (best.loc[8.0] > 0.98 * best.loc[4.0]).all(),
        "all measures stop falling: from ε = 4 to 8 the best mechanism's lose less than 2 %",
    )
    return (
        f"The choice of a measure does not change the choice of a mechanism: {BEST} has the least error by each of the "
        f"four at every ε; the mean absolute error is {mean.min():.2f} to {mean.max():.2f} of the RMSE and one day in "
        f"twenty is off by more than {high.min():.1f} to {high.max():.1f} times the RMSE, and with the whole user "
        f"protected all of them stop falling at the bias, {bias[0]:.0f} users at W_BOUND = 8."
    )


def mechanism_frontier(table: pd.DataFrame) -> str:
    """Which mechanisms are unbeaten in error and memory, and how far the others are from the best."""
    table = table.assign(analytic_rmse=table["analytic_rmse"].fillna(table["rmse"]))
    day, user = (part.set_index("mechanism", drop=False) for _, part in table.groupby("unit", sort=False))
    for part in (day, user):
        require(set(unbeaten(part)) == FRONTIER, f"nobody beats {', '.join(sorted(FRONTIER))}")
        require(part.loc["gaussian", "memory"] == 0, "independent noise keeps no numbers")
    ratios = [part["analytic_rmse"] / part["analytic_rmse"].min() for part in (day, user)]
    trees = [ratio[name] for ratio in ratios for name in ratio.index if "tree" in name or "binary" in name]
    require(len(trees) == 10, "five trees are compared in both units")
    require(abs(ratios[1]["buffered-toeplitz"] - 1) < 1e-3, "with the whole user the buffers are as good as the best")
    error, memory = [part["analytic_rmse"] for part in (day, user)], [part["memory"] for part in (day, user)]
    return (
        "At ε = 1 over a year of MAU nobody beats optimal, buffered-toeplitz and independent Gaussian noise in both "
        f"error and memory: with one user-day protected {error[0]['optimal']:.1f} users for {memory[0]['optimal']} "
        f"numbers kept, {error[0]['buffered-toeplitz']:.1f} for {memory[0]['buffered-toeplitz']} and "
        f"{error[0]['gaussian']:.1f} for none, with the whole user {error[1]['buffered-toeplitz']:.1f} for "
        f"{memory[1]['buffered-toeplitz']} and {error[1]['gaussian']:.1f} for none; {BEST} is "
        f"{100 * (ratios[0][BEST] - 1):.0f} and {100 * (ratios[1][BEST] - 1):.0f} % above the best, trees "
        f"{min(trees):.1f} to {max(trees):.0f} times it, and sparse-vector, which cannot follow the first month's "
        f"climb, {ratios[0]['sparse-vector']:.0f} and {ratios[1]['sparse-vector']:.0f} times."
    )


def budget_split(table: pd.DataFrame) -> str:
    """What equal shares give, and which shares make all series equally exact."""
    parts = [part for _, part in table.groupby("unit", sort=False)]
    equal = [{metric: 100 * cost * 3**0.5 for metric, cost in costs(part).items()} for part in parts]
    alike = [100 * sum(cost**2 for cost in costs(part).values()) ** 0.5 for part in parts]
    best = [worst_at(part) for part in parts]
    require(all(max(one.values()) == one["dau"] for one in equal), "DAU is the least exact of the three")
    for shares, part, level in zip(best, parts, alike, strict=True):
        require(abs(sum(shares.values()) - 1) < 1e-12, "the shares add up to the whole budget")
        errors = [100 * cost / shares[metric] ** 0.5 for metric, cost in costs(part).items()]
        require(all(abs(error - level) < 1e-9 for error in errors), "all three err alike")
    return (
        f"Equal shares leave DAU the least exact of the three, off by {equal[0]['dau']:.2f} % of its mean with one "
        f"user-day protected and by {equal[1]['dau']:.1f} % with the whole user; with {100 * best[0]['dau']:.0f} % of "
        f"the budget for DAU, or {100 * best[1]['dau']:.0f} %, all three err alike, by {alike[0]:.2f} % or "
        f"{alike[1]:.1f} %."
    )


def w_bound_error(table: pd.DataFrame) -> str:
    """What a W_BOUND costs that is too low or too high."""
    wide = table.pivot(index=["log", "epsilon"], columns="w_bound", values="analytic_rmse")
    times = wide.div(wide.min(axis=1), axis=0)
    require(table["log"].nunique() == 4 and len(times) == 12, "four logs are tried with three ε each")
    for _, curve in wide.iterrows():
        steps = curve.diff().dropna()
        down = steps.index <= curve.idxmin()
        shaped = (steps[down] < 0).all() and (steps[~down] > 0).all() and down.any() and not down.all()
        require(shaped, "every curve falls to its least error and rises from there")
    return (
        "Too low a W_BOUND costs far more than too high a one: on all four logs and at every ε from "
        f"{table['epsilon'].min():g} to {table['epsilon'].max():g} a bound of 16 is within "
        f"{math.ceil(100 * (times[16].max() - 1))} % of the least error and one of 48 within "
        f"{math.ceil(100 * (times[48].max() - 1))} %, while one of 4 multiplies it by {times[4].min():.1f} to "
        f"{times[4].max():.0f}."
    )


def horizon_error(table: pd.DataFrame) -> str:
    """Whose error grows with the horizon, and how much."""
    day, user = (_by_horizon(table, unit, "analytic_rmse") for unit in ("user-day", "user"))
    require((day[1460] / day[90] - 1)[FLAT].between(0, 0.01).all(), f"errors of {', '.join(FLAT)} stay within 1 %")
    growing = day.diff(axis=1).drop(columns=30).drop(index=FLAT) > 0
    require(growing.all(axis=None), "errors of trees and of the undamped square root grow")
    require((user.diff(axis=1).drop(columns=30) > 0).all(axis=None), "all errors grow with the whole user protected")
    noise = _by_horizon(table, "user", "analytic_noise_rmse")
    growth, ratio = noise[1460] / noise[30], 1460 / 30
    require(math.isclose(growth["laplace"], ratio, rel_tol=1e-3), "independent Laplace noise grows like T")
    require(math.isclose(growth["gaussian"], ratio**0.5, rel_tol=1e-2), "independent Gaussian noise grows like √T")
    factor = user[1460] / user[30]
    return (
        "With one user-day protected, independent noise, the damped square root, the buffers and the optimum err as "
        "much on each of 1,460 days as on each of 90, within 1 %, and trees and the undamped square root more; with "
        "the whole user protected all errors grow from 30 days to 1,460, that of Laplace noise "
        f"{factor['laplace']:.0f}-fold, that of Gaussian noise {factor['gaussian']:.0f}-fold and that of the damped "
        f"square root {factor[BEST]:.1f}-fold, to {user[1460][BEST]:.0f} users."
    )


def deletion_error(table: pd.DataFrame) -> str:
    """What deletions, leaving and coming back cost."""
    table = table.assign(bias=100 * table["bias_rms"] * table["relative_rmse"] / table["rmse"])
    bias = {
        str(log): part.pivot(index="delete_rate", columns="w_bound", values="bias")
        for log, part in table.groupby("log")
    }
    lasting, rejoining = bias["lasting"][2], bias["rejoining"][2]
    require(all((part[24] < 0.2).all() for part in bias.values()), "the bias of W_BOUND = 24 stays below 0.2 %")
    require((table["bias_mean"] <= 0).all(), "no bias is positive")
    for part in bias.values():
        require((part.diff().dropna() >= 0).all(axis=None), "deletions cost at every W_BOUND")
    beyond = bias["rejoining"] >= bias["leaving"]
    require(beyond.all(axis=None), "coming back costs more than staying away")
    return (
        f"The truncation bias of W_BOUND = 2 is {lasting[0.0]:.0f} % of the mean MAU where nothing is taken back and "
        f"{lasting[0.6]:.0f} % where 60 % of the active days are, and it is {rejoining[0.0]:.0f} and "
        f"{rejoining[0.6]:.0f} % where four users in five are erased and come back; that of W_BOUND = 24 stays below "
        "0.2 % in all cases, and no bias is positive."
    )


def _by_horizon(table: pd.DataFrame, unit: str, column: str) -> pd.DataFrame:
    """A column for one unit, mechanisms down and horizons across."""
    return table[table["unit"] == unit].pivot(index="mechanism", columns="horizon", values=column)


def _require_best(table: pd.DataFrame, classes: list[str], columns: Iterable[str]) -> None:
    groups = table.groupby(classes)
    for column in columns:
        least = set(table.loc[groups[column].idxmin(), "mechanism"])
        require(least == {BEST}, f"{BEST} has the least {column} for every {', '.join(classes)}")


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {
    "epsilon_vs_error": epsilon_vs_error,
    "epsilon_measures": epsilon_measures,
    "mechanism_frontier": mechanism_frontier,
    "budget_split": budget_split,
    "w_bound_error": w_bound_error,
    "horizon_error": horizon_error,
    "deletion_error": deletion_error,
}
