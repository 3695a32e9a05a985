"""The benchmark of the sketches measures what it says."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from dp.sketches import SKETCHES
from experiments.kinds.sketches.designs import SIZE_PARAMETERS, sketch_design
from tests.conftest import Run
from tests.laws import each
from workbench.bench import sketches as bench
from workbench.bench.timing import alternate_seconds


def test_every_sketch_is_measured() -> None:
    assert set(bench.SIZES) == set(SIZE_PARAMETERS) == set(SKETCHES)
    for name, size in bench.SIZES.items():
        sketch_design(name, size, 1.0, bench.DELTA, bench.SALT)


def test_all_users_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(time, "process_time", lambda: float(next(clock)))
    row = bench.speed("exact", 50_000)
    assert row["million_users_per_second"] == 0.05
    assert row["bytes"] == 400_000
    assert row["merge_ms"] == 1000


@pytest.mark.slow
def test_the_errors_are_those_of_fresh_salts() -> None:
    """100 trials: 7 % (11 % with Laplace noise alone); the bands are 4 standard errors wide."""
    for name, users in (("fixed-rate", 20_000), ("hll", 20_000)):
        row = bench.error(name, users, 100)
        alone = sketch_design(name, bench.SIZES[name], 1.0, bench.DELTA, bench.SALT).standard_error(users) / users
        assert row["sketch_alone"] == pytest.approx(100 * alone, rel=0.28)
    noisy = bench.error("exact", 1000, 100)
    assert noisy["sketch_alone"] == 0
    assert noisy["epsilon_1"] == pytest.approx(100 * math.sqrt(2) / 1000, rel=0.45)
    assert noisy["epsilon_0.5"] == pytest.approx(100 * math.sqrt(2) / 500, rel=0.45)


@each("name", ["hll", "order-invariant", "sfm"])
def test_what_has_no_meaning_is_left_out(name: str) -> None:
    row = bench.error(name, 1000, 2)
    given = [row[key] is not None for key in ("epsilon_0.5", "epsilon_1", "sketch_alone")]
    assert given == {
        "hll": [False, False, True], "order-invariant": [True, True, False], "sfm": [True, True, True],
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", bench.DIRECT)
def test_the_other_library_sees_the_same_users(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def noting(make: object) -> object:
        made.append(make())  # type: ignore[operator]
        return made[-1]

    monkeypatch.setitem(bench.DIRECT, name, lambda make=bench.DIRECT[name]: noting(make))
    row = bench.beside(name, 20_000)
    # The default sizes err by 1.3 to 1.5 %; keys that were rounded to floats would be half as many.
    assert made[-1].get_estimate() == pytest.approx(20_000, rel=0.08)
    speeds = row["its_million_users_per_second"] / row["million_users_per_second"]
    assert row["overhead"] == pytest.approx(speeds, rel=0.02)
    assert row["overhead"] < 3


def test_a_longer_time_is_a_higher_overhead(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.cumsum([0, 4, 0, 1, 0, 3, 0, 2, 0, 5, 0, 1]).tolist())
    monkeypatch.setattr(time, "process_time", lambda: float(next(clock)))
    assert alternate_seconds(lambda: None, lambda: None) == (3.0, 1.0)


@pytest.mark.slow
def test_duckdb_counts_the_same_users() -> None:
    row = bench.beside_duckdb(20_000, 3)
    assert 0 < row["its_error"] < 15
    assert 0 < row["error"] < 6
    assert row["overhead"] > 0


@pytest.mark.slow
def test_the_command_prints_and_keeps_three_tables(run: Run) -> None:
    done = run("bench", "sketches", "--trials", 2, "--users", 5000, "--out", "bench.json")
    assert all(title in done.stdout for title in bench.TITLES.values())
    kept = json.loads(Path("bench.json").read_text())
    assert list(kept) == list(bench.TITLES)
    assert [row["sketch"] for row in kept["speed"]] == ["(16-byte ids to keys)", *SKETCHES]
    assert [row["users"] for row in kept["error"]] == [500, 5000] * len(SKETCHES)
    assert [row["beside"] for row in kept["beside"]] == 3 * ["datasketches"] + ["DuckDB approx_count_distinct"]
    printed = json.loads(run("bench", "sketches", "--trials", 2, "--users", 5000, "--format", "json").stdout)
    # Errors come from fixed salts; times do not.
    assert printed["error"] == kept["error"]
