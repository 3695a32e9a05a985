"""What the configs say was found, against the committed tables: every number in a sentence is computed again."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest

from dp.auditing.attacks import ATTACKS
from dp.auditing.twins import TWINS
from dp.mechanisms import MECHANISMS
from dp.sketches import SKETCHES
from experiments.kinds.attacks.figure import worst_reading
from experiments.kinds.loading import load
from experiments.kinds.mechanisms.analysis import MEASURES, costs, unbeaten, worst_at
from experiments.kinds.mechanisms.error_figures import DELETION_LOGS
from tests.places import ROOT

CONFIGS = {path.stem: load(path) for path in sorted((ROOT / "experiments").glob("*/*.toml"))}
BEST = "damped-square-root"


def table_of(name: str) -> pd.DataFrame:
    return pd.read_parquet(ROOT / f"results/{name}.parquet")


def epsilon_vs_error(finding: str, table: pd.DataFrame) -> None:
    classes = table.groupby(["unit", "w_bound", "epsilon"])
    assert table["mechanism"].nunique() == 6
    assert set(table.loc[classes["analytic_rmse"].idxmin(), "mechanism"]) == {BEST}
    one = table.query("unit == 'user-day' and w_bound == 2 and epsilon == 1").set_index("mechanism")["analytic_rmse"]
    bias = table[table["unit"] == "user"].groupby("w_bound")["bias_rms"].agg(["min", "max"])
    assert (bias["min"] == bias["max"]).all()
    assert bias.loc[24, "max"] == 0
    mean = (table["rmse"] / table["relative_rmse"]).mean()
    for said in (
        f"at ε = 1 with one user-day protected it is {one[BEST]:.1f} users",
        f"independent Laplace noise {one['laplace'] / one[BEST]:.1f} times that",
        f"no ε buys back the {bias.loc[2, 'max']:,.0f} of {mean:,.0f} users whom W_BOUND = 2 loses on a day",
        "and W_BOUND = 24 loses none",
    ):
        assert said in finding


def epsilon_measures(finding: str, table: pd.DataFrame) -> None:
    classes = table.groupby(["unit", "epsilon"])
    assert len(MEASURES) == 4
    for measure in MEASURES:
        assert set(table.loc[classes[f"analytic_{measure}"].idxmin(), "mechanism"]) == {BEST}
    mean, high = table["mae"] / table["rmse"], table["p95_error"] / table["rmse"]
    bias = table.loc[table["unit"] == "user", "bias_rms"].unique()
    assert len(bias) == 1
    for said in (
        "damped-square-root has the least error by each of the four at every ε",
        f"the mean absolute error is {mean.min():.2f} to {mean.max():.2f} of the RMSE",
        f"one day in twenty is off by more than {high.min():.1f} to {high.max():.1f} times the RMSE",
        f"all of them stop falling at the bias, {bias[0]:.0f} users at W_BOUND = 8",
    ):
        assert said in finding
    # "Stop falling": from ε = 4 to 8 noise halves, and the error of the best loses no 2 %.
    best = table[(table["unit"] == "user") & (table["mechanism"] == BEST)].set_index("epsilon")
    for measure in MEASURES:
        assert best.loc[8.0, f"analytic_{measure}"] > 0.98 * best.loc[4.0, f"analytic_{measure}"]


def mechanism_frontier(finding: str, table: pd.DataFrame) -> None:
    table = table.assign(analytic_rmse=table["analytic_rmse"].fillna(table["rmse"]))
    day, user = (part.set_index("mechanism", drop=False) for _, part in table.groupby("unit", sort=False))
    assert set(unbeaten(day)) == set(unbeaten(user)) == {"optimal", "buffered-toeplitz", "gaussian"}
    ratios = [part["analytic_rmse"] / part["analytic_rmse"].min() for part in (day, user)]
    trees = [ratio[name] for ratio in ratios for name in ratio.index if "tree" in name or "binary" in name]
    assert len(trees) == 10
    kept = {name: f"{day.loc[name, 'analytic_rmse']:.1f} users" for name in ("optimal",)}
    for said in (
        f"with one user-day protected {kept['optimal']} for {day.loc['optimal', 'memory']} numbers kept",
        f"{day.loc['buffered-toeplitz', 'analytic_rmse']:.1f} for {day.loc['buffered-toeplitz', 'memory']} "
        f"and {day.loc['gaussian', 'analytic_rmse']:.1f} for none",
        f"with the whole user {user.loc['buffered-toeplitz', 'analytic_rmse']:.1f} for "
        f"{user.loc['buffered-toeplitz', 'memory']} and {user.loc['gaussian', 'analytic_rmse']:.1f} for none",
        f"damped-square-root is {100 * (ratios[0][BEST] - 1):.0f} and {100 * (ratios[1][BEST] - 1):.0f} % above",
        f"trees {min(trees):.1f} to {max(trees):.0f} times it",
        f"{ratios[0]['sparse-vector']:.0f} and {ratios[1]['sparse-vector']:.0f} times",
    ):
        assert said in finding
    assert day.loc["gaussian", "memory"] == user.loc["gaussian", "memory"] == 0
    assert abs(ratios[1]["buffered-toeplitz"] - 1) < 1e-3


def budget_split(finding: str, table: pd.DataFrame) -> None:
    parts = [part for _, part in table.groupby("unit", sort=False)]
    equal = [{metric: 100 * cost * 3**0.5 for metric, cost in costs(part).items()} for part in parts]
    alike = [100 * sum(cost**2 for cost in costs(part).values()) ** 0.5 for part in parts]
    best = [worst_at(part) for part in parts]
    assert all(max(one, key=lambda metric, one=one: one[metric]) == "dau" for one in equal)
    for said in (
        f"off by {equal[0]['dau']:.2f} % of its mean with one user-day protected",
        f"by {equal[1]['dau']:.1f} % with the whole user",
        f"with {100 * best[0]['dau']:.0f} % of the budget for DAU, or {100 * best[1]['dau']:.0f} %, all three err",
        f"by {alike[0]:.2f} % or {alike[1]:.1f} %",
    ):
        assert said in finding
    for shares, part, level in zip(best, parts, alike, strict=True):
        assert abs(sum(shares.values()) - 1) < 1e-12
        for metric, cost in costs(part).items():
            assert abs(100 * cost / shares[metric] ** 0.5 - level) < 1e-9


def sketch_memory(finding: str, table: pd.DataFrame) -> None:
    exact = table.set_index("sketch").loc["exact", "formula"]
    sketches = table[~table["sketch"].isin(["exact", "bitmap"])]
    assert f"errs by {100 * exact:.2g} % at ε = {table['epsilon'].iloc[0]:g}" in finding
    assert "no sketch comes within 100 times of that" in finding
    assert sketches[["rmse", "formula"]].min(axis=None) > 100 * exact
    at = table.set_index(["sketch", "size"])
    for name, size, room in (("fm", 4096, 4.1), ("order-invariant", 12, 4.1), ("sfm", 12, 12.3), ("gf2", 12, 12.3)):
        row = at.loc[(name, size)]
        assert row["privacy"] == "private by itself"
        assert f"{name} {'errs ' if name == 'fm' else ''}by {100 * row['formula']:.1f} %" in finding
        assert row["bytes"] <= 1000 * room
        # In the trials, 60 of them, it is the same to three standard errors.
        assert abs(row["rmse"] / row["formula"] - 1) < 0.28


def sketch_turnstile(finding: str, table: pd.DataFrame) -> None:
    merged, followed = (table[table["path"] == path] for path in ("merged days", "followed"))
    assert merged["missed"].nunique() == 1
    assert not followed["missed"].any()
    assert (merged["bias"] - merged["missed"]).abs().max() < 0.1
    assert (followed["bias"].abs() < 4.5 * followed["bias_deviation"]).all()
    one, at = table.iloc[0], table.set_index(["sketch", "size"])
    sample, matrix = at.loc[("fixed-rate", 0.256)], at.loc[("gf2", 12)]
    for said in (
        f"{100 * one['delete_rate']:.0f} % of the active days are taken back and {100 * one['erase_rate']:.0f} % of",
        f"count {100 * merged['missed'].iloc[0]:.0f} % too many whatever their size",
        f"a sample of 26 % errs by {100 * sample['formula']:.1f} % in {sample['bytes'] / 1000:.0f} kB",
        f"gf2 by {100 * matrix['formula']:.1f} % in {matrix['bytes'] / 1000:.0f} kB",
    ):
        assert said in finding
    for row in (sample, matrix):
        assert 0.7 < row["rmse"] / row["formula"] < 1.4


def interval_coverage(finding: str, table: pd.DataFrame) -> None:
    linear = table["mechanism"] != "sparse-vector"
    assert set(table.loc[linear, "mechanism"]) == {name for name, family in MECHANISMS.items() if family.strategy}
    assert "94.7 to 95.5 %" in finding
    assert (table.loc[linear, "pointwise"].min().round(3), table.loc[linear, "pointwise"].max().round(3)) == (
        0.947,
        0.955,
    )
    assert (table["pointwise"] == table["pointwise_whole"]).all()
    assert (table["band"] == table["band_whole"]).all()
    assert table.loc[linear, "band"].between(0.94, 0.99).all()
    assert (table.loc[~linear, "pointwise"] > 0.99).all()
    assert (table.loc[~linear, "no_interval"] > 0).all()
    # 2.5 % of honest bands lie below the level: of 66, six or more once in 200 times.
    assert (table["one_day_high"] < table["level"].iloc[0]).sum() < 6
    assert (table["band_high"] < table["level"].iloc[0]).sum() < 6


def accountants_year(finding: str, table: pd.DataFrame) -> None:
    year = table[table["count"] == 365].pivot(index="release", columns="accountant", values="epsilon")
    factors = year["naive"] / year.drop(columns="naive").min(axis=1)
    assert "3.5 times what is true of discrete Laplace noise and 20 times" in finding
    assert factors["discrete-laplace"] == pytest.approx(3.5, abs=0.05)
    assert factors["gaussian"] == pytest.approx(20, abs=0.5)
    # "True": exact, by an accountant that says so.
    exact = table[(table["count"] == 365) & table["exact"]].set_index("release")["epsilon"]
    assert exact.to_dict() == pytest.approx({"gaussian": 4.63883, "discrete-laplace": 10.31386}, rel=1e-5)
    assert year.loc["gaussian", "zcdp"] == pytest.approx(4.958356, rel=1e-6)


def published_norms(finding: str, table: pd.DataFrame) -> None:
    known = table.dropna(subset=["reference_rms"])
    assert set(known["subject"]) == {"binary-tree", "honaker-tree", "square-root", "toeplitz", "dense"}
    for column in ("rms", "largest"):
        both = known.dropna(subset=[f"reference_{column}"])
        assert (both[column] / both[f"reference_{column}"] - 1).abs().max() < 5e-6
    year = table[table["horizon"] == 365].set_index("subject")
    above = {name: year[name] - math.log(365) / math.pi for name in ("rms", "largest")}
    assert "by 0.76 in the root mean square" in finding
    assert above["rms"]["dense"] == pytest.approx(0.756, abs=5e-4)
    assert above["largest"]["square-root"] == pytest.approx(1.07, abs=5e-3)
    assert year["largest"]["dense"] < year["largest"]["mathias-1993"] < year["largest"]["square-root"]
    wide = table.pivot(index="horizon", columns="subject", values="rms")
    assert (wide["lower-bound"] <= wide["dense"] * (1 + 1e-9)).loc[:512].all()
    assert (wide["dense"] <= wide["toeplitz"] * (1 + 1e-9)).loc[:512].all()
    assert (wide["toeplitz"] <= wide["square-root"] * (1 + 1e-9)).all()
    largest = table.pivot(index="horizon", columns="subject", values="largest")
    for subject in ("dense", "toeplitz", "square-root", "binary-tree"):
        kept = largest[["matousek-nikolov-talwar-2020", subject]].dropna()
        assert (kept["matousek-nikolov-talwar-2020"] <= kept[subject]).all()


def w_bound_error(finding: str, table: pd.DataFrame) -> None:
    wide = table.pivot(index=["log", "epsilon"], columns="w_bound", values="analytic_rmse")
    times = wide.div(wide.min(axis=1), axis=0)
    assert len(times) == 12
    for said in (
        f"on all four logs and at every ε from {table['epsilon'].min():g} to {table['epsilon'].max():g}",
        f"a bound of 16 is within {math.ceil(100 * (times[16].max() - 1))} % of the least error",
        f"one of 48 within {math.ceil(100 * (times[48].max() - 1))} %",
        f"one of 4 multiplies it by {times[4].min():.1f} to {times[4].max():.0f}",
    ):
        assert said in finding
    # The shape of a U: down to the least error, and up from there.
    for _, curve in wide.iterrows():
        steps = curve.diff().dropna()
        down = steps.index <= curve.idxmin()
        assert (steps[down] < 0).all()
        assert (steps[~down] > 0).all()
        assert down.any()
        assert not down.all()


def horizon_error(finding: str, table: pd.DataFrame) -> None:
    wide = table.pivot(index=["unit", "mechanism"], columns="horizon", values="analytic_rmse")
    one_day, whole = wide.loc["user-day"], wide.loc["user"]
    flat = ["laplace", "gaussian", "damped-square-root", "buffered-toeplitz", "optimal"]
    assert "as much on each of 1,460 days as on each of 90, within 1 %" in finding
    assert (one_day[1460] / one_day[90] - 1)[flat].between(0, 0.01).all()
    assert "trees and the undamped square root more" in finding
    assert (one_day.diff(axis=1).drop(columns=30).drop(index=flat) > 0).all(axis=None)
    assert "all errors grow from 30 days to 1,460" in finding
    assert (whole.diff(axis=1).drop(columns=30) > 0).all(axis=None)
    factor = whole[1460] / whole[30]
    for said in (
        f"Laplace noise {factor['laplace']:.0f}-fold",
        f"Gaussian noise {factor['gaussian']:.0f}-fold",
        f"the damped square root {factor['damped-square-root']:.1f}-fold, "
        f"to {whole.loc['damped-square-root', 1460]:.0f} users",
    ):
        assert said in finding
    # Independent noise: like T and like √T.
    noise = table[table["unit"] == "user"].pivot(index="mechanism", columns="horizon", values="analytic_noise_rmse")
    growth = noise[1460] / noise[30]
    assert growth["laplace"] == pytest.approx(1460 / 30, rel=1e-3)
    assert growth["gaussian"] == pytest.approx(math.sqrt(1460 / 30), rel=1e-2)


def deletion_error(finding: str, table: pd.DataFrame) -> None:
    table = table.assign(bias=100 * table["bias_rms"] * table["relative_rmse"] / table["rmse"])
    bias = table.pivot(index=["log", "delete_rate"], columns="w_bound", values="bias")
    lasting, rejoining = bias.loc["lasting"][2], bias.loc["rejoining"][2]
    for said in (
        f"W_BOUND = 2 is {lasting[0.0]:.0f} % of the mean MAU where nothing is taken back",
        f"{lasting[0.6]:.0f} % where 60 % of the active days are",
        f"it is {rejoining[0.0]:.0f} and {rejoining[0.6]:.0f} % where four users in five are erased and come back",
        "that of W_BOUND = 24 stays below 0.2 % in all cases, and no bias is positive",
    ):
        assert said in finding
    assert (bias[24] < 0.2).all()
    assert (table["bias_mean"] <= 0).all()
    # At every W_BOUND deletions cost, and coming back costs beyond leaving.
    for log in DELETION_LOGS:
        assert (bias.loc[log].diff().dropna() >= 0).all(axis=None)
    assert (bias.loc["rejoining"] >= bias.loc["leaving"]).all(axis=None)


def audit(finding: str, table: pd.DataFrame) -> None:
    honest, twins = table[table["kind"] != "twin"], table[table["kind"] == "twin"].set_index("subject")
    assert not honest["flagged"].any()
    assert set(honest.loc[honest["kind"] == "mechanism", "subject"]) == set(MECHANISMS)
    assert set(honest.loc[honest["kind"] == "sketch", "subject"]) == {
        name for name, family in SKETCHES.items() if family.contract.kind != "none"
    }
    assert twins["flagged"].all()
    assert set(twins.index) == set(TWINS)
    weak = honest[honest["epsilon"] == 4.0].groupby("group")["ratio"]
    low, high = weak.min(), weak.max()
    times = (twins["measured"] / twins["epsilon"]).dropna()
    for said in (
        f"{low['Gaussian noise']:.2f} to {high['Gaussian noise']:.2f} of the promised μ of every mechanism with",
        f"{low['sketches']:.2f} or more of what sketches promise",
        f"{low['Laplace noise']:.2f} to {high['Laplace noise']:.2f} of the μ of Laplace noise",
        f"{min(low['sparse-vector'], low['adaptive-flippancy']):.2f} to "
        f"{max(high['sparse-vector'], high['adaptive-flippancy']):.2f} of the two mechanisms that depend on the data",
        f"all {len(twins)} broken twins are caught in 99 of 100 attempts with at most "
        f"{twins['caught_at'].max():,.0f} trials",
        f"proves {times.min():.1f} to {times.max():.0f} times the ε of those that promise one",
    ):
        assert said in finding, said
    assert (twins["caught"] >= 0.99 * twins["attempts"]).all()
    assert (twins["false_alarms"] <= 0.01 * twins["attempts"]).all()


def attacks(finding: str, table: pd.DataFrame) -> None:
    assert set(table["attack"]) == set(ATTACKS)
    ours = table[table["ours"]]
    worst = ours.apply(worst_reading, axis=1)
    assert (len(ours), len(table) - len(ours)) == (9, 23)
    assert "withstands all nine attacks" in finding
    assert "all 23 broken twins fall" in finding
    assert (ours["held"]).all()
    assert not table.loc[~table["ours"], "held"].any()
    assert (worst.min(), worst.max()) == (0, 1)


CHECKS: dict[str, Callable[[str, pd.DataFrame], None]] = {
    "accountants_year": accountants_year,
    "attacks": attacks,
    "audit": audit,
    "budget_split": budget_split,
    "deletion_error": deletion_error,
    "epsilon_measures": epsilon_measures,
    "epsilon_vs_error": epsilon_vs_error,
    "horizon_error": horizon_error,
    "interval_coverage": interval_coverage,
    "mechanism_frontier": mechanism_frontier,
    "published_norms": published_norms,
    "sketch_memory": sketch_memory,
    "sketch_turnstile": sketch_turnstile,
    "w_bound_error": w_bound_error,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_was_found_is_so(name: str) -> None:
    finding = getattr(CONFIGS[name], "finding", None)
    assert isinstance(finding, str)
    assert finding.endswith(".")
    CHECKS[name](finding, table_of(name))


def test_a_check_fails_on_another_table() -> None:
    """What each sentence is about, off by a tenth of its largest value, says something else."""
    for name, check in CHECKS.items():
        table = table_of(name)
        told = {"analytic_rmse", "bias_rms", "formula", "pointwise", "rms", "ratio"} & set(table.columns) or {"epsilon"}
        if name == "attacks":
            told = {"held"}
        other = table.assign(**{column: table[column] + 0.1 * table[column].max() for column in sorted(told)})
        with pytest.raises((AssertionError, ValueError)):
            check(str(getattr(CONFIGS[name], "finding", None)), other)


def test_points_of_the_measures_are_points_of_the_first_experiment() -> None:
    """The same rows, from the same shards."""
    measures, whole = table_of("epsilon_measures"), table_of("epsilon_vs_error")
    shared = whole.merge(measures[["unit", "w_bound", "mechanism", "epsilon"]])
    pd.testing.assert_frame_equal(shared, measures)
