"""`dpdau experiment` and `python -m experiments`: one group of commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.engine.compare import compare_tables
from tests.conftest import Run
from tests.experiments.test_experiments import ROOT, SMALL
from tests.laws import each

FAST = SMALL.replace('"user-day", "user"', '"user-day"').replace("[2, 4]", "[2]")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "experiments/configs/small.toml"
    path.parent.mkdir(parents=True)
    path.write_text(FAST)
    return path


@pytest.mark.slow
def test_run_list_show_compare_check(run: Run, small: Path, tmp_path: Path) -> None:
    assert "small  4 points  0 of 4  Does it run?" in run("experiment", "list").output
    before = run("experiment", "show", small).output
    assert "mechanism (2): laplace, square-root" in before
    assert "the time is not known" in before
    assert "results/small.parquet (not there yet)" in before
    assert "there is no results/small.parquet" in run("experiment", "check", "--jobs", 1, code=1).output

    part = run("experiment", "run", small, "--jobs", 1, "--only", "epsilon=1", "--only", "mechanism=laplace")
    assert "1 shards computed, 0 reused" in part.stderr
    assert len(pd.read_parquet("results/small_only.parquet")) == 1
    assert not Path("results/small.parquet").exists()
    assert "3 points, about 0 s on 2 processes" in run("experiment", "show", small, "--jobs", 2).output

    whole = run("experiment", "run", small, "--jobs", 1, "--resume")
    assert whole.stdout.split() == [f"results/small{suffix}" for suffix in (".parquet", ".json", ".svg", ".png")]
    assert "0 shards computed, 4 reused" in run("experiment", "run", small).stderr
    assert "4 points  all" in run("experiment", "list").output
    assert "left: nothing" in run("experiment", "show", small).output

    assert "4 rows, largest relative difference 0, allowed 1e-06" in run("experiment", "check").output
    table = pd.read_parquet("results/small.parquet")
    table.loc[2, "rmse"] *= 1 + 1e-4
    table.to_parquet("other.parquet", index=False)
    told = run("experiment", "compare", "results/small.parquet", "other.parquet", code=1).output
    assert "4 rows in common, found by metric, unit, w_bound, mechanism, epsilon" in told
    assert "relative 0.0001  1 rows outside" in told
    run("experiment", "compare", "results/small.parquet", "other.parquet", "--tolerance", "1e-3")

    # A table that somebody has changed is found out, and a config may say how much is tolerated.
    table.to_parquet("results/small.parquet", index=False)
    assert "outside 1e-06: rmse by 0.0001" in run("experiment", "check", code=1).output
    small.write_text(FAST.replace("trials = 20", "trials = 20\ntolerance = 1e-3"))
    assert "allowed 0.001" in run("experiment", "check").output


@pytest.mark.slow
def test_all_configs_run_where_none_is_named(run: Run, small: Path) -> None:
    other = small.with_name("other.toml")
    other.write_text(FAST.replace('name = "small"', 'name = "other"'))
    elsewhere = small.with_name("elsewhere.toml")
    elsewhere.write_text(
        FAST.replace('name = "small"', 'name = "elsewhere"').replace("trials", 'log = "shop"\ntrials')
        + '[logs.shop]\nfile = "no.csv"\nfirst = 2011-03-01\ndays = 8\n'
    )
    told = run("experiment", "run", "--jobs", 1)
    assert "elsewhere: left out, its log is not here" in told.stderr
    assert "small: 0 shards computed, 4 reused" in told.stderr  # the same points as other's
    assert {path.stem for path in Path("results").iterdir()} == {"small", "other"}
    assert "no such file" in run("experiment", "run", elsewhere, code=1).output
    assert "--only picks points of one CONFIG" in run("experiment", "run", "--only", "epsilon=1", code=2).output


def test_a_config_whose_log_is_elsewhere_is_left_out(run: Run, small: Path) -> None:
    small.write_text(
        FAST.replace("trials", 'log = "shop"\ntrials') + '[logs.shop]\nfile = "no.csv"\nfirst = 2011-03-01\ndays = 8\n'
    )
    assert "its log is not here" in run("experiment", "list").output
    assert "cannot be run" in run("experiment", "show", small).output
    assert "small: left out, its log is not here" in run("experiment", "check").output
    assert "logs.shop.file is no.csv" in run("experiment", "run", small, code=1).stderr


def test_refusals_are_one_line(run: Run, small: Path) -> None:
    assert run("experiment", "run", "none.toml", code=1).stderr == "Error: none.toml: no such config\n"
    assert "there are epsilon=0.5" in run("experiment", "run", small, "--only", "epsilon=9", code=1).stderr
    assert "write KEY=VALUE" in run("experiment", "run", small, "--only", "epsilon", code=2).stderr
    assert "give one" in run("experiment", "run", small, "--jobs", 1, "--scheduler", "tcp://x", code=2).stderr


@pytest.mark.slow
def test_the_experiments_have_the_same_commands_by_themselves(small: Path, tmp_path: Path, run: Run) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "experiments", "list"],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout == run("experiment", "list").stdout


# Comparison.

TABLE = pd.DataFrame({"name": ["a", "a", "b"], "size": [1.0, 2.0, np.nan], "x": [1.0, -2.0, 0.0], "y": ["u", "v", "w"]})


def test_rows_are_found_whatever_their_order() -> None:
    compared = compare_tables(TABLE, TABLE.iloc[::-1], 0.0)
    assert compared.within
    assert (compared.identity, compared.rows) == (("name", "size"), 3)
    assert [(one.column, one.largest, one.outside) for one in compared.differences] == [("x", 0, 0), ("y", 0, 0)]


@each(
    ("column", "row", "value", "absolute", "relative"),
    [
        ("x", 0, 1.5, 0.5, 1 / 3),
        ("x", 1, 2.0, 4.0, 2.0),
        ("x", 2, 0.25, 0.25, 1.0),
        ("x", 1, np.nan, np.inf, np.inf),
        ("x", 1, np.inf, np.inf, np.inf),
        ("y", 1, "z", np.inf, np.inf),
    ],
)
def test_a_difference_is_measured(column: str, row: int, value: object, absolute: float, relative: float) -> None:
    other = TABLE.copy()
    other.loc[row, column] = value
    for pair in ((TABLE, other), (other, TABLE)):
        compared = compare_tables(*pair, 0.1)
        found = next(one for one in compared.differences if one.column == column)
        assert (found.largest, found.relative, found.outside) == (pytest.approx(absolute), pytest.approx(relative), 1)
        assert not compared.within
    if np.isfinite(relative):
        assert compare_tables(TABLE, other, relative * 1.0001).within


def test_what_only_one_table_has_is_named() -> None:
    compared = compare_tables(TABLE, TABLE.iloc[:2].drop(columns="y"), 1.0)
    assert compared.only_first == ("column y", "b None")
    assert compared.only_second == ()
    assert not compared.within


def test_lists_are_compared_one_by_one() -> None:
    one = pd.DataFrame({"k": [1], "series": [np.array([1.0, 2.0])]})
    other = pd.DataFrame({"k": [1], "series": [np.array([1.0, 2.5])]})
    short = pd.DataFrame({"k": [1], "series": [np.array([1.0])]})
    assert compare_tables(one, other, 0.1).differences[0].relative == pytest.approx(0.2)
    assert compare_tables(one, other, 0.2).within
    assert not compare_tables(one, short, 1.0).within


def test_rows_that_cannot_be_told_apart_are_an_error() -> None:
    twice = pd.DataFrame({"a": [1, 1], "b": [2, 2]})
    with pytest.raises(ValueError, match="no common columns tell apart"):
        compare_tables(twice, twice, 0.0)
    with pytest.raises(ValueError, match="tolerance is -1"):
        compare_tables(TABLE, TABLE, -1.0)
