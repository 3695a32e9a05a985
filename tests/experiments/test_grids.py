"""Grids over any parameter, profiles, and measures on demand; what was computed before keeps its seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.engine import runner
from experiments.engine.config import ConfigError
from experiments.kinds.loading import load, read
from experiments.kinds.mechanisms.config import USUAL_METRICS, MechanismConfig
from experiments.kinds.mechanisms.measures import error_measure
from experiments.kinds.mechanisms.points import MechanismPoint, metric_of
from experiments.kinds.mechanisms.row import evaluate
from experiments.kinds.mechanisms.task import Task
from experiments.kinds.mechanisms.tasks import mechanism_tasks
from tests.experiments.test_experiments import ROOT, SMALL, run
from tests.laws import each

BARE = """
name = "bare"
question = "Does it run?"
figure = "epsilon_vs_error"
"""
REST = """
metric = "wau"
unit = "user"
w_bound = 2
mechanism = "square-root"
epsilon = 1.0
delta = 1e-6
trials = 20
seed = 5
"""
PEOPLE = """
[population]
users = 60
days = 30
seed = 7
delete_rate = 0.2
"""


def config_of(folder: Path, text: str) -> MechanismConfig:
    path = folder / "config.toml"
    path.write_text(text)
    config = load(path)
    assert isinstance(config, MechanismConfig)
    return config


def tasks_of(config: MechanismConfig, folder: Path) -> list[Task]:
    return mechanism_tasks(config, list(config.points()), folder)


def identities(config: MechanismConfig) -> list[str]:
    return [point.identity for point in config.points()]


def test_a_key_stands_in_the_grid_or_at_the_top(tmp_path: Path) -> None:
    fixed = config_of(tmp_path, BARE + REST + PEOPLE)
    assert identities(fixed) == ["metric=wau unit=user w_bound=2 mechanism=square-root epsilon=1.0"]
    gridded = config_of(
        tmp_path, BARE + REST.replace("epsilon = 1.0\n", "") + PEOPLE + "[grid]\nepsilon = [1.0, 2.0]\n"
    )
    assert identities(gridded)[0] == identities(fixed)[0]
    assert tasks_of(gridded, tmp_path)[0] == tasks_of(fixed, tmp_path)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "values", "named"),
    [
        ("delta", [1e-6, 1e-9], "delta"),
        ("trials", [20, 40], "trials"),
        ("seed", [5, 6], "seed"),
        ("horizon", [10, 30], "horizon"),
        ("share", [1.0, 0.25], "share"),
        ("accountant", ["gdp", "naive"], "accountant"),
        ("rate", [1.0, 0.5], "rate"),
        ("delete_rate", [0.0, 0.5], "delete_rate"),
        ("rejoin_rate", [0.0, 1.0], "rejoin_rate"),
        ("users", [40, 80], "users"),
        ("unit", ["user-day", "user"], "unit"),
        ("mechanism", ["laplace", "gaussian"], "mechanism"),
    ],
)
def test_a_grid_may_be_over_any_parameter(key: str, values: Sequence[Any], named: str, tmp_path: Path) -> None:
    rest = "".join(line for line in REST.splitlines(keepends=True) if not line.startswith(f"{key} "))
    config = config_of(tmp_path, f"{BARE}{rest}{PEOPLE}erase_rate = 0.5\n[grid]\n{key} = {list(values)!r}\n")
    tasks = tasks_of(config, tmp_path)
    rows = [evaluate(task) for task in tasks]
    assert [row[named] for row in rows] == list(values)
    # Two points are two draws, and the parameter reaches what it is meant for.
    assert rows[0]["rmse"] != rows[1]["rmse"]
    first, second = tasks
    match key:
        case "delta" | "trials" | "seed":
            assert [getattr(task, key) for task in tasks] == list(values)
        case "horizon":
            assert [len(task.truth) for task in tasks] == list(values)
            assert second.truth[:10] == first.truth
            assert second.bounded[:10] == first.bounded
        case "unit" | "mechanism":
            assert first.truth == second.truth
        case "share" | "accountant" | "rate":
            assert [getattr(task, key) for task in tasks] == list(values)
            assert (first.truth, first.bounded) == (second.truth, second.bounded)
        case _:
            assert first.truth != second.truth


def test_a_shorter_horizon_is_counted_as_if_the_log_ended_there(tmp_path: Path) -> None:
    """The first days of a long count, against a count whose last tick is the shorter horizon's."""
    from datetime import timedelta

    from dp.log import read_log
    from dp.log.generate import generate, write_log
    from dp.presence import DuckDBEngine
    from experiments.engine.population import START

    config = config_of(tmp_path, BARE + REST + "horizon = 12\n" + PEOPLE + "late_rate = 0.3\nerase_rate = 0.3\n")
    assert config.population is not None
    task = tasks_of(config, tmp_path)[0]
    log = tmp_path / "log.parquet"
    write_log(generate(60, 30, seed=7, start=START, **config.population.rates), log)
    with read_log(log) as checked:
        for bound, counts in ((None, task.truth), (2, task.bounded)):
            flips = DuckDBEngine(checked.connection).daily_flips([7], START, START + timedelta(days=11), bound)
            assert tuple(flips[7].counts.values) == counts


def test_any_window_is_a_metric(tmp_path: Path) -> None:
    rest = REST.replace('metric = "wau"\n', "")
    config = config_of(tmp_path, BARE + rest + PEOPLE + "[grid]\nwindow = [1, 7, 14]\n")
    assert [point.metric for point in config.points()] == ["dau", "wau", "14-day"]
    assert [point.window for point in config.points()] == [1, 7, 14]
    assert metric_of(30) == "mau"
    tasks = tasks_of(config, tmp_path)
    assert all(one <= other for one, other in zip(tasks[1].truth, tasks[2].truth, strict=True))
    assert evaluate(tasks[2])["window"] == 14


def test_logs_in_files_stand_beside_the_population(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("who,day\n" + "".join(f"u{user},2011-03-{1 + day:02}\n" for user in range(9) for day in range(5)))
    text = (
        f'{BARE}{REST.replace("wau", "dau")}{PEOPLE}[logs.shop]\nfile = "{file}"\nfirst = 2011-03-01\ndays = 8\n'
        'columns = { user = "who" }\n[grid]\nlog = ["synthetic", "shop"]\n'
    )
    config = config_of(tmp_path, text)
    people, shop = tasks_of(config, tmp_path)
    assert (len(people.truth), len(shop.truth)) == (30, 8)
    assert shop.truth == (9, 9, 9, 9, 9, 0, 0, 0)
    assert [evaluate(task)["log"] for task in (people, shop)] == ["synthetic", "shop"]
    # A shard belongs to what the file holds.
    before = runner.plan_run(config, tmp_path).shards
    file.write_text("who,day\nu1,2011-03-01\n")
    assert set(before.values()).isdisjoint(runner.plan_run(config, tmp_path).shards.values())
    file.unlink()
    with pytest.raises(ConfigError, match=r"logs.shop.file is .*log.csv, and there is no such file"):
        run(tmp_path / "config.toml", tmp_path / "out", tmp_path / "cache")


@each(
    ("text", "named"),
    [
        (REST + PEOPLE + "[grid]\nepsilon = [1.0]\n", "epsilon stands at the top and in grid"),
        (REST + "window = 7\n" + PEOPLE, "either metric or window"),
        (REST.replace("epsilon = 1.0\n", "") + PEOPLE, "epsilon is missing"),
        (REST, "no .population. and no log"),
        (REST + 'log = "shop"\n' + PEOPLE, "log is 'shop'; choose from synthetic"),
        (REST + "horizon = 31\n" + PEOPLE, "horizon is 31; it must lie between 1 and 30"),
        (REST + 'metrics = ["within"]\n' + PEOPLE, "metrics has 'within'"),
        (REST.replace('metric = "wau"', "window = 0") + PEOPLE, "window is 0"),
        (REST.replace("trials = 20\n", "") + PEOPLE + "[grid]\ntrials = [20, 1]\n", "trials is 1"),
        (REST + "[grid]\ndelete_rate = [0.1]\n", "grid has delete_rate, which is the population's"),
        (REST + PEOPLE + "[profiles.huge]\ntrials = 9\n", "profiles has huge"),
        (
            REST + PEOPLE + "[profiles.full]\ntrails = 9\n",
            "trails is unknown, perhaps trials is meant; the top .*seed",
        ),
        ("horizont = 3\n" + REST + PEOPLE, "horizont is unknown, perhaps horizon .* kind, profiles"),
        (REST + PEOPLE + "[grid]\nfoo = [1]\n", r"foo is unknown; \[grid\] knows metric, window, .*, trials, seed"),
        (
            REST + PEOPLE + "[[also]]\nepsilons = [1]\n",
            r"epsilons is unknown, perhaps epsilon is .*\[also\[0\]\] knows",
        ),
        (REST + PEOPLE + "size = 3\n", r"size is unknown; \[population\] knows users, days, seed, delete_rate"),
        (REST + '[logs.shop]\npath = "x"\n', r"path is unknown; \[logs.NAME\] knows file, first, days, columns"),
        (REST + "[populations.one]\nuser = 3\n", r"user is unknown, perhaps users .*\[populations.NAME\] knows users"),
        (REST + "[[also]]\n", "no .population. and no log"),
    ],
)
def test_a_mistake_is_refused_by_name(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=named):
        config_of(tmp_path, BARE + text)


@each("metrics", ['["rmse"]', '"rmse"', '["mae", "p95_error"]', "[]", '["rmse", "coverage"]'])
def test_measures_that_rows_have_anyway_may_be_named(metrics: str, tmp_path: Path) -> None:
    config = config_of(tmp_path, BARE + REST + f"metrics = {metrics}\n" + PEOPLE)
    assert config.extra_metrics == []


@pytest.mark.parametrize("metrics", ['["rmse", "rmsre-100"]', '"rmsre-100"'])
def test_a_named_measure_is_a_column(metrics: str, tmp_path: Path) -> None:
    config = config_of(tmp_path, BARE + REST + f"metrics = {metrics}\n" + PEOPLE)
    row = evaluate(tasks_of(config, tmp_path)[0])
    assert {"rmsre_100", "rmsre_100_p95", *USUAL_METRICS} <= set(row)
    assert row["rmse"] > 0 < row["rmsre_100"]


def test_a_profile_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    plain = config_of(tmp_path, BARE + REST + PEOPLE)
    path = tmp_path / "config.toml"
    assert load(path, "full") == plain
    path.write_text(BARE + REST + PEOPLE + "[profiles.full]\ntrials = 2000\n[profiles.full.population]\nusers = 90\n")
    assert read(path) == plain
    assert read(path).fingerprint == plain.fingerprint
    full = read(path, "full")
    assert isinstance(full, MechanismConfig)
    assert full.population is not None
    assert (full.trials, full.population.users, full.population.days) == (2000, 90, 30)
    with pytest.raises(ConfigError, match="profile is 'fulll'; choose one of quick, full"):
        read(path, "fulll")


@pytest.mark.slow
def test_the_example_in_the_documentation_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    example, grids, shop = re.findall(r"^```toml\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    path = tmp_path / "example.toml"
    path.write_text(example.replace("trials = 100", "trials = 5"))
    only = [("mechanism", "binary-tree"), ("epsilon", "1")]
    part = run(path, tmp_path / "out", tmp_path / "cache", jobs=1, only=only)
    assert (part.computed, part.files[0].name) == (2, "flips_example_only.parquet")
    whole = run(path, tmp_path / "out", tmp_path / "cache", jobs=1)
    assert (whole.computed, whole.reused) == (10, 2)
    assert all(file.exists() for file in (*part.files, *whole.files))
    assert {"rmsre_100", "within_10"} <= set(pd.read_parquet(whole.files[0]).columns)
    rest = re.sub("^(unit|w_bound|epsilon) = .*\n", "", REST, flags=re.MULTILINE)
    assert len(identities(config_of(tmp_path, BARE + rest + PEOPLE + grids))) == 6
    path.write_text(BARE + REST + shop)
    config = read(path)
    assert isinstance(config, MechanismConfig)
    assert config.horizon_at(next(config.points())) == 365


def test_only_some_points(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    points = list(load(path).points())
    assert len(runner.select(points, [("epsilon", "1"), ("unit", "user")])) == 4
    assert len(runner.select(points, [("w_bound", "2"), ("w_bound", "4")])) == 16
    assert runner.select(points, []) == points
    with pytest.raises(ValueError, match=r"no point has epsilon=3; there are epsilon=0.5, epsilon=1.0, mechanism="):
        runner.select(points, [("epsilon", "3")])


def test_measures_on_demand_against_a_slow_oracle(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 300, 40)
    error = generator.normal(0, 20, (5, 40))
    relative = [
        (error[trial, day] / max(truth[day], 100)) ** 2 for trial in range(5) for day in range(40)
    ]  # fmt: skip
    assert error_measure("rmsre-100", error, truth) == pytest.approx(math.sqrt(sum(relative) / 200))
    near = [abs(error[trial, day]) <= 0.125 * truth[day] for trial in range(5) for day in range(40)]
    assert error_measure("within-12.5", error, truth) == pytest.approx(sum(near) / 200)
    assert 0.1 < sum(near) / 200 < 0.9
    with pytest.raises(ValueError, match="metric is 'median-3'"):
        error_measure("median-3", error, truth)

    point = MechanismPoint("wau", "user-day", 2, "laplace", 1.0)
    plain = evaluate(Task(point, 1e-6, 20, 1, (100,) * 20, (100,) * 20))
    asked = evaluate(Task(point, 1e-6, 20, 1, (100,) * 20, (100,) * 20, ("rmsre-10", "within-50")))
    more = {f"{name}{band}" for name in ("rmsre_10", "within_50") for band in ("", "_p05", "_p95")}
    assert set(asked) == {*plain, *more, "analytic_rmsre_10"}
    assert all(asked[name] == value for name, value in plain.items())
    assert asked["rmsre_10_p05"] < asked["rmsre_10"] < asked["rmsre_10_p95"]
    assert asked["analytic_rmsre_10"] == pytest.approx(asked["analytic_rmse"] / 100)
    assert asked["rmsre_10"] == pytest.approx(asked["noise_rmse"] / 100)


def test_what_a_point_may_spend_is_told_apart_from_what_it_spends() -> None:
    point = MechanismPoint("wau", "user-day", 2, "laplace", 1.0, (("delta", 1e-7),))
    row = evaluate(Task(point, 1e-7, 20, 1, (100,) * 20, (100,) * 20))
    assert (row["delta"], row["delta_allowed"]) == (0.0, 1e-7)
    assert "delta_allowed" not in evaluate(Task(replace(point, extra=()), 1e-7, 20, 1, (100,) * 20, (100,) * 20))


def test_more_grids_replace_lists_of_the_first(tmp_path: Path) -> None:
    rest = REST.replace('unit = "user"\n', "").replace("w_bound = 2\n", "").replace("epsilon = 1.0\n", "")
    first = '[grid]\nunit = ["user-day"]\nw_bound = [2]\nepsilon = [0.5, 1.0]\n'
    more = '[[also]]\nunit = ["user"]\nw_bound = [8]\n[[also]]\nepsilon = [1.0, 4.0]\n'
    config = config_of(tmp_path, BARE + rest + PEOPLE + first + more)
    found = [(point.unit, point.w_bound, point.epsilon) for point in config.points()]
    assert found == [
        ("user-day", 2, 0.5), ("user-day", 2, 1.0), ("user", 8, 0.5), ("user", 8, 1.0), ("user-day", 2, 4.0)
    ]  # fmt: skip
    # A row does not depend on the grids it stands in.
    alone = config_of(tmp_path, BARE + rest + PEOPLE + first)
    shards = [runner.plan_run(one, tmp_path).shards for one in (alone, config)]
    assert set(shards[0].values()) < set(shards[1].values())
    with pytest.raises(ConfigError, match="mechanism stands at the top and in grid"):
        config_of(tmp_path, BARE + rest + PEOPLE + first + '[[also]]\nmechanism = ["lapalce"]\n')
    with pytest.raises(ConfigError, match="w_bound is 0"):
        config_of(tmp_path, BARE + rest + PEOPLE + first + "[[also]]\nw_bound = [0]\n")
