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

from dp.accounting.composition import Guarantee
from experiments.engine import runner
from experiments.engine.grid import Point, metric_of
from experiments.kinds.loading import Config, ConfigError, load, read
from experiments.kinds.mechanisms.row import Task, asked_metric, evaluate
from experiments.kinds.mechanisms.tasks import mechanism_tasks
from tests.experiments.test_experiments import ROOT, SMALL

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


def config_of(folder: Path, text: str) -> Config:
    path = folder / "config.toml"
    path.write_text(text)
    config = load(path)
    assert isinstance(config, Config)
    return config


def tasks_of(config: Config, folder: Path) -> list[Task]:
    return mechanism_tasks(config, list(config.points()), folder)


def identities(config: Config) -> list[str]:
    return [point.identity for point in config.points()]


def test_a_key_stands_in_the_grid_or_at_the_top(tmp_path: Path) -> None:
    fixed = config_of(tmp_path, BARE + REST + PEOPLE)
    assert identities(fixed) == ["metric=wau unit=user w_bound=2 mechanism=square-root epsilon=1.0"]
    gridded = config_of(
        tmp_path, BARE + REST.replace("epsilon = 1.0\n", "") + PEOPLE + "[grid]\nepsilon = [1.0, 2.0]\n"
    )
    assert identities(gridded)[0] == identities(fixed)[0]
    assert tasks_of(gridded, tmp_path)[0] == tasks_of(fixed, tmp_path)[0]


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
    from experiments.engine.grid import START

    config = config_of(tmp_path, BARE + REST + "horizon = 12\n" + PEOPLE + "late_rate = 0.3\nerase_rate = 0.3\n")
    assert config.population is not None
    task = tasks_of(config, tmp_path)[0]
    log = tmp_path / "log.parquet"
    write_log(generate(60, 30, seed=7, start=START, **config.population.rates), log)
    with read_log(log) as checked:
        for bound, counts in ((None, task.truth), (2, task.bounded)):
            flips = DuckDBEngine(checked.connection).daily_flips([7], START, START + timedelta(days=11), bound)
            assert tuple(flips[7].counts) == counts


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
    before = runner.plan(config, tmp_path).shards
    file.write_text("who,day\nu1,2011-03-01\n")
    assert set(before.values()).isdisjoint(runner.plan(config, tmp_path).shards.values())
    file.unlink()
    with pytest.raises(ConfigError, match=r"logs.shop.file is .*log.csv, and there is no such file"):
        runner.run(tmp_path / "config.toml", tmp_path / "out", tmp_path / "cache")


@pytest.mark.parametrize(
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
        (REST + PEOPLE + "[profiles.full]\ntrails = 9\n", "trails"),
    ],
)
def test_a_mistake_is_refused_by_name(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=named):
        config_of(tmp_path, BARE + text)


def test_a_profile_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    plain = config_of(tmp_path, BARE + REST + PEOPLE)
    path = tmp_path / "config.toml"
    assert load(path, "full") == plain
    path.write_text(BARE + REST + PEOPLE + "[profiles.full]\ntrials = 2000\n[profiles.full.population]\nusers = 90\n")
    assert read(path) == plain
    assert read(path).fingerprint == plain.fingerprint
    full = read(path, "full")
    assert isinstance(full, Config)
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
    part = runner.run(path, tmp_path / "out", tmp_path / "cache", jobs=1, only=only)
    assert (part.computed, part.files[0].name) == (2, "flips_example_only.parquet")
    whole = runner.run(path, tmp_path / "out", tmp_path / "cache", jobs=1)
    assert (whole.computed, whole.reused) == (10, 2)
    assert all(file.exists() for file in (*part.files, *whole.files))
    assert {"rmsre_100", "within_10"} <= set(pd.read_parquet(whole.files[0]).columns)
    rest = re.sub("^(unit|w_bound|epsilon) = .*\n", "", REST, flags=re.MULTILINE)
    assert len(identities(config_of(tmp_path, BARE + rest + PEOPLE + grids))) == 6
    path.write_text(BARE + REST + 'log = "shop"\n' + shop)
    config = read(path)
    assert isinstance(config, Config)
    assert config.horizon_at(next(config.points())) == 365


def test_only_some_points(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    points = list(load(path).points())
    assert len(runner.selected(points, [("epsilon", "1"), ("unit", "user")])) == 4
    assert len(runner.selected(points, [("w_bound", "2"), ("w_bound", "4")])) == 16
    assert runner.selected(points, []) == points
    with pytest.raises(ValueError, match=r"no point has epsilon=3; there are epsilon=0.5, epsilon=1.0, mechanism="):
        runner.selected(points, [("epsilon", "3")])


def test_measures_on_demand_against_a_slow_oracle(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 300, 40)
    error = generator.normal(0, 20, (5, 40))
    relative = [
        (error[trial, day] / max(truth[day], 100)) ** 2 for trial in range(5) for day in range(40)
    ]  # fmt: skip
    assert asked_metric("rmsre-100", error, truth) == pytest.approx(math.sqrt(sum(relative) / 200))
    near = [abs(error[trial, day]) <= 0.125 * truth[day] for trial in range(5) for day in range(40)]
    assert asked_metric("within-12.5", error, truth) == pytest.approx(sum(near) / 200)
    assert 0.1 < sum(near) / 200 < 0.9
    with pytest.raises(ValueError, match="metric is 'median-3'"):
        asked_metric("median-3", error, truth)

    point = Point("wau", "user-day", 2, "laplace", 1.0)
    plain = evaluate(Task(point, 1e-6, 20, 1, (100,) * 20, (100,) * 20))
    asked = evaluate(Task(point, 1e-6, 20, 1, (100,) * 20, (100,) * 20, ("rmsre-10", "within-50")))
    more = {f"{name}{band}" for name in ("rmsre_10", "within_50") for band in ("", "_p05", "_p95")}
    assert set(asked) == {*plain, *more, "analytic_rmsre_10"}
    assert all(asked[name] == value for name, value in plain.items())
    assert asked["rmsre_10_p05"] < asked["rmsre_10"] < asked["rmsre_10_p95"]
    assert asked["analytic_rmsre_10"] == pytest.approx(asked["analytic_rmse"] / 100)
    assert asked["rmsre_10"] == pytest.approx(asked["noise_rmse"] / 100)


def test_what_a_point_may_spend_is_told_apart_from_what_it_spends() -> None:
    point = Point("wau", "user-day", 2, "laplace", 1.0, (("delta", 1e-7),))
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
    shards = [runner.plan(one, tmp_path).shards for one in (alone, config)]
    assert set(shards[0].values()) < set(shards[1].values())
    with pytest.raises(ConfigError, match="mechanism stands at the top and in grid"):
        config_of(tmp_path, BARE + rest + PEOPLE + first + '[[also]]\nmechanism = ["lapalce"]\n')
    with pytest.raises(ConfigError, match="w_bound is 0"):
        config_of(tmp_path, BARE + rest + PEOPLE + first + "[[also]]\nw_bound = [0]\n")


# A part of the budget, an accountant's word, a sample.


def row_of(text: str, folder: Path) -> dict[str, Any]:
    (task,) = tasks_of(config_of(folder, text), folder)
    return evaluate(task)


@pytest.mark.parametrize("mechanism", ["square-root", "laplace", "sparse-vector", "adaptive-flippancy"])
def test_a_share_of_the_budget_is_what_a_joint_release_gives(mechanism: str, tmp_path: Path) -> None:
    """μ² for Gaussian noise and ε for Laplace noise are what is divided; a quarter costs 2 or 4 times the noise."""
    text = BARE + REST.replace("square-root", mechanism) + PEOPLE
    whole, quarter = row_of(text, tmp_path), row_of(text + "[grid]\nshare = [0.25]\n", tmp_path)
    if mechanism in ("square-root", "laplace"):
        factor = {"square-root": 2, "laplace": 4}[mechanism]
        assert quarter["analytic_noise_rmse"] == pytest.approx(factor * whole["analytic_noise_rmse"], rel=1e-6)
    assert quarter["noise_rmse"] > 1.3 * whole["noise_rmse"]
    assert quarter["delta"] == whole["delta"]


def test_an_accountant_that_adds_up_needs_more_noise(tmp_path: Path) -> None:
    """Independent noise under one's own exact accounting, and by the word of others; δ buys Laplace noise something."""
    noise = {}
    for mechanism in ("gaussian", "laplace", "square-root"):
        text = BARE + REST.replace('"user"', '"user-day"').replace("square-root", mechanism) + PEOPLE
        noise[mechanism, None] = row_of(text, tmp_path)["analytic_noise_rmse"]
        # Of Gaussian noise the losses on a grid take seconds; `test_losses_on_a_grid_are_close_to_exact` has them.
        names = ["gdp", "rdp", "zcdp", "advanced", "naive", *(["pld"] if mechanism == "laplace" else [])]
        for task in tasks_of(config_of(tmp_path, f"{text}[grid]\naccountant = {names}\n"), tmp_path):
            row = evaluate(task)
            noise[mechanism, row["accountant"]] = row["analytic_noise_rmse"]
            assert row["delta"] == 1e-6
    for mechanism in ("gaussian", "square-root"):
        assert noise[mechanism, "gdp"] == pytest.approx(noise[mechanism, None], rel=1e-4)
        assert noise[mechanism, "zcdp"] > 1.01 * noise[mechanism, None]
    assert noise["gaussian", "naive"] > 2 * noise["gaussian", None]
    assert noise["square-root", "naive"] == pytest.approx(noise["square-root", None], rel=1e-4)
    assert noise["laplace", "naive"] == pytest.approx(noise["laplace", None], rel=1e-4)
    assert noise["laplace", "pld"] < noise["laplace", None]


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["gaussian", "square-root"])
def test_losses_on_a_grid_are_close_to_exact(mechanism: str, tmp_path: Path) -> None:
    text = BARE + REST.replace('"user"', '"user-day"').replace("square-root", mechanism) + PEOPLE
    exact, row = (row_of(text + more, tmp_path) for more in ("", '[grid]\naccountant = ["pld"]\n'))
    assert row["analytic_noise_rmse"] == pytest.approx(exact["analytic_noise_rmse"], rel=1e-4)
    assert row["delta"] == 1e-6


def test_the_noise_that_an_accountant_allows_is_the_least(tmp_path: Path) -> None:
    """What comes out, accounted again, is at most ε and near it."""
    from dp.accounting.accountants import ACCOUNTANTS
    from dp.accounting.mechanism_events import gaussian
    from dp.mechanisms import GRID, linear_design
    from dp.units import protected_class
    from experiments.kinds.mechanisms.trials import by_accountant

    chosen = linear_design("gaussian", protected_class("user-day", 7, 2, 30))
    for name in ("naive", "advanced", "zcdp", "rdp"):
        scale = by_accountant(chosen, name, Guarantee(0.7, 1e-6)).noise.scale / GRID
        said = ACCOUNTANTS[name].account([gaussian(sigma=scale, count=7)], 1e-6).epsilon
        assert said is not None
        assert 0.7 * (1 - 1e-5) <= said <= 0.7


def test_a_sample_of_users_has_the_errors_of_a_real_sample(tmp_path: Path) -> None:
    """Bernoulli draws of users against keyed samples of the log itself: the same mean and spread on every day.

    40 salts tell a standard deviation to 11 %; the bound of 40 % is passed over all days at once with a probability
    above 0.999, and thinning the counts day by day instead of user by user would keep each day's spread but fail the
    correlation.
    """
    from datetime import timedelta

    from dp.log import read_log
    from dp.log.generate import generate, write_log
    from dp.presence import DuckDBEngine
    from dp.sketches.fixed_rate import FixedRate
    from dp.sketches.sampling import sampled
    from experiments.engine.grid import START
    from experiments.kinds.mechanisms.trials import samples

    text = BARE + REST.replace("w_bound = 2", "w_bound = 4") + PEOPLE.replace("60", "400") + "[grid]\nrate = [0.25]\n"
    config = config_of(tmp_path, text)
    (task,) = tasks_of(config, tmp_path)
    assert task.steps is not None
    drawn = samples(task.steps, 30, 0.25, 400, np.random.default_rng(3))
    assert samples(task.steps, 30, 1.0, 2, np.random.default_rng(3)).tolist() == [list(task.bounded)] * 2
    assert config.population is not None
    path = tmp_path / "log.parquet"
    write_log(generate(400, 30, seed=7, start=START, **config.population.rates), path)
    real = []
    with read_log(path) as log:
        for number in range(40):
            with sampled(log, FixedRate(0.25), number.to_bytes(16)) as part:
                engine = DuckDBEngine(part.connection)
                real.append(engine.daily_flips([7], START, START + timedelta(days=29), 4)[7].counts)
    kept = np.array(real)
    assert kept.mean(axis=0) == pytest.approx(drawn.mean(axis=0), rel=0.15, abs=1.5)
    assert kept.std(axis=0)[5:] == pytest.approx(drawn.std(axis=0)[5:], rel=0.4)
    apart = np.diff(kept, axis=1).std(), np.diff(drawn, axis=1).std()
    assert apart[0] == pytest.approx(apart[1], rel=0.1)
    day_by_day = np.random.default_rng(4).binomial(np.array(task.bounded), 0.25, (400, 30))
    assert np.diff(day_by_day, axis=1).std() > 1.3 * apart[0]


def test_errors_of_a_sample_stand_apart_from_noise_and_bias(tmp_path: Path) -> None:
    text = BARE + REST.replace("trials = 20", "trials = 300") + PEOPLE.replace("60", "2000") + "[grid]\nrate = [0.1]\n"
    row = row_of(text, tmp_path)
    assert row["noise_rmse"] == pytest.approx(row["analytic_noise_rmse"], rel=0.05)
    squares = [row[name] ** 2 for name in ("noise_rmse", "sketch_rmse", "bias_rms")]
    assert row["analytic_rmse"] ** 2 == pytest.approx(sum(squares), rel=0.15)
    assert row["sketch_rmse"] > 0.2 * row["noise_rmse"]
    assert 0.93 <= row["coverage"] <= 0.97
    assert row["analytic_mae"] is None
    # All users, and no sample.
    assert "sketch_rmse" not in row_of(text.replace("[0.1]", "[1.0]"), tmp_path)


def test_only_a_sample_has_a_rate(tmp_path: Path) -> None:
    text = BARE + REST + PEOPLE + '[grid]\nsketch = ["exact", "bitmap", "fixed-rate"]\nrate = [0.1, 0.5]\n'
    config = config_of(tmp_path, text)
    words = [identity.partition("epsilon=1.0 ")[2] for identity in identities(config)]
    assert words == ["sketch=exact", "sketch=bitmap", "sketch=fixed-rate rate=0.1", "sketch=fixed-rate rate=0.5"]
    assert [config.rate_at(point) for point in config.points()] == [1.0, 1.0, 0.1, 0.5]
    exact, bitmap = tasks_of(config, tmp_path)[:2]
    assert (exact.truth, exact.steps) == (bitmap.truth, None)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("share = [0.0]", "share is 0.0; it is a part of the budget, above 0 and at most 1"),
        ("share = [1.5]", "share is 1.5"),
        ('accountant = ["moments"]', "grid.accountant has moments; choose from naive, advanced, zcdp, rdp, gdp, pld"),
        ('sketch = ["hll"]', "grid.sketch has hll; choose from exact, bitmap, fixed-rate"),
        ('sketch = ["exact"]\nrate = [0.5]', "rate is for the sketch fixed-rate; sketch is exact"),
        ('sketch = ["fixed-rate"]', "sketch is fixed-rate, which needs a rate, for instance rate = 0.1"),
        ("rate = [0.0]", "rate is 0"),
        ('log = ["summer"]', "log is 'summer'; choose from synthetic"),
    ],
)
def test_values_out_of_range_are_named(more: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        config_of(tmp_path, f"{BARE}{REST}{PEOPLE}[grid]\n{more}\n")


@pytest.mark.parametrize("name", ["sparse-vector", "adaptive-flippancy"])
@pytest.mark.parametrize("more", ["rate = [0.5]", 'accountant = ["zcdp"]'])
def test_what_is_not_linear_is_not_tried_by_samples_or_accountants(name: str, more: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"mechanism has {name}, which cannot be tried with {more.split()[0]}"):
        config_of(tmp_path, f"{BARE}{REST.replace('square-root', name)}{PEOPLE}[grid]\n{more}\n")


def test_populations_stand_beside_each_other(tmp_path: Path) -> None:
    more = '[populations.calm]\nusers = 50\ndays = 30\nseed = 8\n[grid]\nlog = ["synthetic", "calm"]\n'
    config = config_of(tmp_path, BARE + REST + PEOPLE + more)
    people, calm = tasks_of(config, tmp_path)
    assert people.truth == tasks_of(config_of(tmp_path, BARE + REST + PEOPLE), tmp_path)[0].truth
    assert calm.truth != people.truth
    assert max(calm.truth) <= 50
    alone = BARE + REST + more.replace('"synthetic", ', "")
    assert tasks_of(config_of(tmp_path, alone), tmp_path)[0].truth == calm.truth
    with pytest.raises(ConfigError, match="log is 'synthetic'; choose from calm"):
        config_of(tmp_path, alone.replace('["calm"]', '["synthetic"]'))
    twice = '[logs.calm]\nfile = "x.csv"\nfirst = 2024-01-01\ndays = 30\n'
    with pytest.raises(ConfigError, match="calm stands in logs and in populations"):
        config_of(tmp_path, BARE + REST + PEOPLE + twice + more)


def test_adaptive_flippancy_is_tried_with_its_own_bounds(tmp_path: Path) -> None:
    """Its bias is that of the level it has reached; of the unit user-day there are no points."""
    text = BARE + REST.replace('unit = "user"\n', "").replace("square-root", "adaptive-flippancy") + PEOPLE
    config = config_of(
        tmp_path, text.replace("epsilon = 1.0", "epsilon = 50.0") + '[grid]\nunit = ["user-day", "user"]\n'
    )
    assert [point.unit for point in config.points()] == ["user"]
    (task,) = tasks_of(config, tmp_path)
    present, frozen = np.array(task.levels)[::2], np.array(task.levels)[1::2]
    assert tuple(present[-1]) == task.truth
    assert not frozen[-1].any()
    row = evaluate(task)
    assert row["bias_mean"] <= 0
    assert row["bias_rms"] < np.sqrt(((present[0] - present[-1]) ** 2).mean())
    assert 0.9 <= row["coverage"] <= 1
    with pytest.raises(ConfigError, match="which serves the unit user only"):
        config_of(tmp_path, text + '[grid]\nunit = ["user-day"]\n')
