"""The experiment engine: typed configs, seeds from identity, shards, tidy tables, stable figures."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dp.names import DATA_DEPENDENT_MECHANISMS, MECHANISMS
from experiments.engine import runner
from experiments.engine.config import ConfigError
from experiments.engine.grid import point_seed
from experiments.engine.pictures import save
from experiments.engine.style import COLOURS, MARKERS
from experiments.engine.tables import write_table
from experiments.kinds.figures import figure_of
from experiments.kinds.loading import load, read
from experiments.kinds.mechanisms.config import MechanismConfig
from experiments.kinds.mechanisms.row import evaluate
from experiments.kinds.mechanisms.task import Task
from experiments.real_log import LOGS, draw_year
from experiments.releases import release_figure
from tests.laws import each
from tests.patience import PATIENCE_SECONDS
from tests.places import ROOT

CONFIG = ROOT / "experiments/configs/epsilon_vs_error.toml"

SMALL = """
name = "small"
question = "Does it run?"
figure = "epsilon_vs_error"
delta = 1e-6
trials = 20
seed = 5

[population]
users = 200
days = 40
seed = 7
delete_rate = 0.2

[grid]
metric = ["wau"]
unit = ["user-day", "user"]
w_bound = [2, 4]
mechanism = ["laplace", "square-root"]
epsilon = [0.5, 1.0]
"""


def run(path: Path, results: Path, cache: Path, *, profile: str = "quick", **options: Any) -> runner.RunSummary:
    """Read a config and run it, as the command does."""
    return runner.run(read(path, profile), path, results, cache, profile=profile, **options)


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_the_first_experiment_is_as_wide_as_it_must_be() -> None:
    config = load(CONFIG)
    assert len(config.grid.epsilon) >= 8
    assert config.grid.w_bound == [2, 4, 8, 24]
    assert set(config.grid.mechanism) >= {"laplace", "gaussian", "binary-tree", "square-root", "damped-square-root"}


@each(
    ("before", "after", "named"),
    [
        ("trials = 20", "trials = 20\ntrails = 3", "trails"),
        ("users = 200", "users = 200\nuser = 3", "user"),
        ("trials = 20", 'trials = "many"', "trials"),
        ("seed = 5\n", "", "seed"),
        ('"laplace", ', '"lapalce", ', "lapalce"),
        ('["wau"]', '["yau"]', "yau"),
        ('"user-day", ', '"household", ', "household"),
        ("epsilon = [0.5, 1.0]", "epsilon = []", "grid"),
        ("trials = 20", "trials = 1", "trials"),
        ('name = "small"', 'name = "../small"', "name"),
        ("epsilon = [0.5, 1.0]", "epsilon = [-1.0]", "epsilon is -1"),
        ("w_bound = [2, 4]", "w_bound = [0]", "w_bound is 0"),
        ("[grid]", "[grid", "line"),
    ],
)
def test_a_config_with_a_mistake_is_refused_by_name(config_path: Path, before: str, after: str, named: str) -> None:
    assert before in SMALL
    config_path.write_text(SMALL.replace(before, after))
    with pytest.raises(ConfigError, match=named) as refused:
        load(config_path)
    assert str(config_path) in str(refused.value)


def test_a_missing_config_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config"):
        load(tmp_path / "none.toml")


def test_seeds_belong_to_points(config_path: Path) -> None:
    config = load(config_path)
    seeds = {point_seed(config.seed, point) for point in config.points()}
    assert len(seeds) == 16
    one = next(iter(config.points()))
    assert point_seed(5, one) != point_seed(6, one)
    assert point_seed(5, one) == point_seed(5, replace(one))


def test_a_row_splits_error_into_noise_and_bias(config_path: Path) -> None:
    point = next(iter(load(config_path).points()))
    truth, bounded = (100,) * 50, (90,) * 50
    row = evaluate(Task(point, 1e-6, 400, 1, truth, bounded))
    assert row["bias_mean"] == -10
    assert row["bias_rms"] == 10
    assert row["analytic_rmse"] ** 2 == pytest.approx(row["analytic_noise_rmse"] ** 2 + 100)
    assert row["rmse"] == pytest.approx(row["analytic_rmse"], rel=0.05)
    assert row["noise_rmse"] == pytest.approx(row["analytic_noise_rmse"], rel=0.05)
    assert row["rmse_p05"] < row["rmse"] < row["rmse_p95"]


def test_a_mechanism_whose_error_depends_on_the_data_is_tried_on_the_true_counts(config_path: Path) -> None:
    point = replace(next(iter(load(config_path).points())), unit="user", mechanism="sparse-vector")
    steady, falling = (900,) * 60, tuple(range(900, 300, -10))
    rows = [evaluate(Task(point, 1e-6, 100, 1, truth, (0,) * 60)) for truth in (steady, falling)]
    for row in rows:
        assert row["bias_rms"] == row["bias_mean"] == 0
        assert row["rmse"] == pytest.approx(row["noise_rmse"], rel=0.5)
        assert {row[name] for name in ("analytic_rmse", "analytic_noise_rmse", "sensitivity")} == {None}
        assert row["delta"] == 1e-6
        assert 0.95 <= row["coverage"] <= 1
        assert json.loads(json.dumps(row, default=float, allow_nan=False))["rmse"] == row["rmse"]
    assert rows[1]["rmse"] > 2 * rows[0]["rmse"]


@pytest.mark.slow
def test_every_mechanism_can_be_tried_and_drawn(config_path: Path, tmp_path: Path) -> None:
    names = ", ".join(f'"{name}"' for name in MECHANISMS)
    config_path.write_text(
        SMALL.replace('["laplace", "square-root"]', f"[{names}]")
        .replace("w_bound = [2, 4]", "w_bound = [2]").replace('"user-day", "user"', '"user"')
        .replace("days = 40", "days = 16").replace("epsilon = [0.5, 1.0]", "epsilon = [1.0]")
    )  # fmt: skip
    rows = runner.tabulate(load(config_path), tmp_path / "cache", jobs=1).rows
    assert [row["mechanism"] for row in rows] == list(MECHANISMS)
    write_table(rows, tmp_path / "t.parquet")
    save(figure_of("epsilon_vs_error", tmp_path / "t.parquet"), tmp_path / "t.svg")
    table = pd.read_parquet(tmp_path / "t.parquet").set_index("mechanism")
    assert table.loc[table["analytic_rmse"].isna()].index.tolist() == list(DATA_DEPENDENT_MECHANISMS)
    assert table.loc[table["analytic_mae"].isna()].index.tolist() == list(DATA_DEPENDENT_MECHANISMS)


# Simulated colour blindness: Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear_rgb(colour: str) -> np.ndarray:
    channels = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    scaled = XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    root = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def test_mechanisms_can_be_told_apart_by_colour_and_marker() -> None:
    assert list(COLOURS) == list(MARKERS) == list(MECHANISMS)
    for vision, seen in VISIONS.items():
        for one, other in itertools.combinations(MECHANISMS, 2):
            apart = np.linalg.norm(lab(seen @ linear_rgb(COLOURS[one])) - lab(seen @ linear_rgb(COLOURS[other])))
            # About 2 is just noticeable.
            if vision == "usual" or MARKERS[one] == MARKERS[other]:
                assert apart > 15, (vision, one, other)
    for colour in COLOURS.values():
        luminance = float(XYZ[1] @ linear_rgb(colour))
        assert 1.05 / (luminance + 0.05) > 2, "on white"
        assert (luminance + 0.05) / 0.05 > 3, "on black"


@pytest.mark.slow
def test_run_makes_a_tidy_table_with_provenance_and_figures(config_path: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    config_path.write_text(SMALL.replace("w_bound = [2, 4]", "w_bound = [2]"))
    finished = run(config_path, out, cache, jobs=1)
    assert (finished.computed, finished.reused) == (8, 0)
    assert [path.name for path in finished.files] == ["small.parquet", "small.json", "small.svg", "small.png"]
    assert all(path.stat().st_size > 0 for path in finished.files)
    table = pd.read_parquet(out / "small.parquet")
    assert len(table) == 8
    assert not table.isna().any().any()
    assert (table.loc[table["unit"] == "user-day", "bias_rms"] == 0).all()
    assert (table.loc[table["unit"] == "user", "bias_rms"] > 0).all()
    source = json.loads((out / "small.json").read_text())
    assert {"commit", "dirty", "packages", "config_sha256", "code_sha256", "python", "seconds"} <= set(source)

    # Run again: the same pictures, and a table that came out as it was keeps its provenance.
    pictures = [path.read_bytes() for path in finished.files[2:]]
    (out / "small.json").write_text('{"kept": true}\n')
    again = run(config_path, out, cache, jobs=1)
    assert (again.computed, again.reused) == (0, 8)
    assert json.loads((out / "small.json").read_text())["kept"] is True
    assert [path.read_bytes() for path in again.files[2:]] == pictures


@pytest.mark.slow
def test_a_changed_table_gets_new_provenance(config_path: Path, tmp_path: Path) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    run(config_path, out, cache, jobs=1)
    (out / "small.json").write_text('{"kept": true}\n')
    config_path.write_text(SMALL.replace("seed = 5", "seed = 6"))
    run(config_path, out, cache, jobs=1)
    assert "commit" in json.loads((out / "small.json").read_text())


def test_shards_are_reused_and_belong_to_points(config_path: Path, tmp_path: Path) -> None:
    config, cache = load(config_path), tmp_path / "cache"
    first = runner.tabulate(config, cache, jobs=1)
    again = runner.tabulate(config, cache, jobs=1)
    assert (again.computed, again.reused) == (0, 16)
    assert again.rows == first.rows
    config_path.write_text(SMALL.replace("epsilon = [0.5, 1.0]", "epsilon = [0.5, 1.0, 2.0]"))
    more = runner.tabulate(load(config_path), cache, jobs=1)
    assert (more.computed, more.reused) == (8, 16)
    assert [row for row in more.rows if row["epsilon"] != 2.0] == list(first.rows)


@pytest.mark.slow
def test_rows_do_not_depend_on_jobs(config_path: Path, tmp_path: Path) -> None:
    config = load(config_path)
    alone, pooled = (runner.tabulate(config, tmp_path / str(jobs), jobs=jobs) for jobs in (1, 2))
    assert alone.rows == pooled.rows
    assert pooled.computed == 16


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(config_path: Path, tmp_path: Path) -> None:
    config_path.write_text(SMALL.replace("trials = 20", "trials = 3000"))
    cache = tmp_path / "cache"
    arguments = f"P({str(config_path)!r}), P('out'), P({str(cache)!r}), jobs=1"
    script = f"from pathlib import Path as P; from tests.experiments.test_experiments import run; run({arguments})"
    child = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(list(cache.glob("*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = len(list(cache.glob("*.json")))
    assert 3 <= kept < 16
    config = load(config_path)
    finished = runner.tabulate(config, cache, jobs=1)
    assert (finished.computed, finished.reused) == (16 - kept, kept)
    assert finished.rows == runner.tabulate(config, tmp_path / "fresh", jobs=1).rows


def test_unknown_figures_are_refused(tmp_path: Path) -> None:
    write_table([{"x": 1.0}], tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="epsilon_vs_error"):
        figure_of("pie", tmp_path / "t.parquet")


def test_tables_keep_nine_digits(tmp_path: Path) -> None:
    assert write_table([{"x": 1 / 3}], tmp_path / "t.parquet")
    assert not write_table([{"x": 1 / 3 + 1e-15}], tmp_path / "t.parquet")
    assert pd.read_parquet(tmp_path / "t.parquet")["x"].tolist() == [0.333333333]


# What is committed in results/.


@pytest.fixture(scope="module")
def committed() -> tuple[MechanismConfig, pd.DataFrame]:
    return load(CONFIG), pd.read_parquet(ROOT / "results/epsilon_vs_error.parquet")


def test_committed_table_says_what_the_documentation_says(committed: tuple[MechanismConfig, pd.DataFrame]) -> None:
    _, table = committed
    best = table.loc[table.groupby(["unit", "w_bound", "epsilon"])["analytic_noise_rmse"].idxmin()]
    assert set(best["mechanism"]) == {"damped-square-root"}
    agree = table["noise_rmse"] / table["analytic_noise_rmse"]
    assert np.abs(agree - 1).max() < 0.1
    bias = table[table["unit"] == "user"].groupby("w_bound")["bias_rms"].first()
    assert (np.diff(bias) < 0).all()
    # Over the 73,000 correlated days of a point coverage may stray by a per cent; over all points it may not.
    assert np.abs(table["coverage"] - 0.95).max() < 0.02
    assert abs(table["coverage"].mean() - 0.95) < 0.002


@pytest.mark.slow
def test_committed_table_is_reproduced(committed: tuple[MechanismConfig, pd.DataFrame], tmp_path: Path) -> None:
    _, table = committed
    run(CONFIG, tmp_path / "results", tmp_path / "cache")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "results/epsilon_vs_error.parquet"), table, rtol=1e-6)


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.slow
def test_committed_releases_of_the_real_logs(name: str, tmp_path: Path) -> None:
    released = pd.read_parquet(ROOT / f"results/{name}_release.parquet")
    truth = pd.read_parquet(ROOT / f"results/{name}_truth.parquet")
    assert released["secure"].all()
    assert len(released) == len(truth) == 3 * 365
    covered = (released["ci_low"] <= truth["count"]) & (truth["count"] <= released["ci_high"])
    # The errors of neighbouring days are correlated; 1,095 of them hold for about a hundred independent ones.
    assert 0.85 < covered.mean() <= 1.0
    for suffix in ("release", "truth"):
        (tmp_path / f"{name}_{suffix}.parquet").write_bytes((ROOT / f"results/{name}_{suffix}.parquet").read_bytes())
    drawn = draw_year(LOGS[name], name, tmp_path)[0]
    assert drawn.read_bytes() == (ROOT / f"results/{name}.svg").read_bytes()


def test_a_release_with_days_without_an_interval_can_be_drawn(tmp_path: Path) -> None:
    table = pd.read_parquet(ROOT / "results/online_retail_turnstile_release.parquet")
    table = table[table["metric"] == "mau"].assign(day=pd.to_datetime(table["day"]), w_bound=None)
    table.loc[table.index[5:], ["ci_low", "ci_high", "std"]] = np.nan
    figure = release_figure(table, None)
    save(figure, tmp_path / "f.svg")
    assert "the error depends on the counts; 360 days have no interval" in figure.axes[0].get_title(loc="left")
    assert "nan" not in figure.get_suptitle()
    assert "W_BOUND" not in figure.get_suptitle()


@pytest.mark.slow
def test_a_release_without_truth_can_be_drawn(tmp_path: Path) -> None:
    table = pd.read_parquet(ROOT / "results/online_retail_turnstile_release.parquet")
    figure = release_figure(table.assign(day=pd.to_datetime(table["day"])), None)
    save(figure, tmp_path / "f.svg")
    assert "truth" not in {text.get_text() for text in figure.axes[0].get_legend().get_texts()}
