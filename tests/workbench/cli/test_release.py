"""`dpdau release` on the command line, over real files and a real ledger."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Run
from tests.workbench.cli.common import PERIOD, rows_of
from workbench.cli.options import MECHANISM_NAMES

FIELDS = {
    "metric", "window", "day", "estimate", "ci_low", "ci_high", "ci_level", "epsilon", "delta", "mechanism", "sketch",
    "unit", "w_bound", "budget_remaining", "secure",
}  # fmt: skip


def test_release_has_its_fields_and_one_row_a_day(run: Run, log: Path) -> None:
    rows = rows_of(run("release", log, "--metric", "mau", *PERIOD, "--epsilon", 1, "--delta", 1e-6, "--format", "json"))
    assert len(rows) == 60
    for row in rows:
        assert set(row) >= FIELDS
        assert row["secure"] is True
        assert row["ci_low"] < row["estimate"] < row["ci_high"]
        assert (row["metric"], row["window"], row["unit"], row["w_bound"]) == ("mau", 30, "user-day", 2)
        assert (row["epsilon"], row["delta"], row["sketch"], row["budget_remaining"]) == (1.0, 1e-6, "exact", 9.0)


def test_release_is_near_the_truth(run: Run, log: Path) -> None:
    released = rows_of(run("release", log, *PERIOD, "--epsilon", 2, "--format", "json"))
    truth = rows_of(run("exact", log, *PERIOD, "--format", "json"))
    inside = [row["ci_low"] <= known["count"] <= row["ci_high"] for row, known in zip(released, truth, strict=True)]
    # 180 correlated days at 95 %; fewer than half inside has no chance.
    assert sum(inside) > 90


def test_the_same_command_returns_the_same_bytes_and_charges_once(run: Run, log: Path) -> None:
    command = ("release", log, "--metric", "dau", "--metric", "mau", *PERIOD, "--epsilon", 1, "--format", "json")
    first, second = run(*command), run(*command)
    assert first.stdout == second.stdout
    report = json.loads(run("budget", "--format", "json").stdout)
    assert report["budgets"][0]["epsilon_spent"] == 1.0
    assert len(report["charges"]) == 1
    other_log = run(
        "release",
        log,
        "--metric",
        "dau",
        "--metric",
        "mau",
        *PERIOD,
        "--epsilon",
        1,
        "--stream",
        "b",
        "--format",
        "json",
    )
    assert other_log.stdout != first.stdout


@pytest.mark.slow
def test_a_named_stream_is_continued_and_published_days_stay(run: Run, log: Path) -> None:
    command = (
        "release",
        log,
        "--metric",
        "mau",
        "--epsilon",
        1,
        "--stream",
        "live",
        "--horizon",
        365,
        "--from",
        "2024-01-01",
    )
    january = rows_of(run(*command, "--to", "2024-01-31", "--format", "json"))
    february = rows_of(run(*command, "--to", "2024-02-29", "--format", "json"))
    assert february[:31] == january
    assert len(february) == 60
    assert json.loads(run("budget", "--format", "json").stdout)["budgets"][0]["epsilon_spent"] == 1.0
    assert rows_of(run(*command, "--to", "2024-01-31", "--format", "json")) == january
    refused = run(*command, "--to", "2024-02-29", "--w-bound", 4, code=1)
    assert "w_bound is 4 now and was 2" in refused.stderr


@pytest.mark.slow
def test_an_exhausted_budget_releases_nothing(run: Run, log: Path, tmp_path: Path) -> None:
    run("release", log, *PERIOD, "--epsilon", 9.5, "--stream", "a", "--out", "a.json")
    refused = run("release", log, *PERIOD, "--epsilon", 1, "--stream", "b", "--out", "b.json", code=3)
    assert "spent epsilon 9.5 of 10" in refused.stderr
    assert "requested epsilon 1" in refused.stderr
    assert "remaining epsilon 0.5" in refused.stderr
    assert refused.stdout == ""
    assert not (tmp_path / "b.json").exists()
    run("release", log, *PERIOD, "--epsilon", 0.5, "--stream", "c", "--out", "c.json")


def test_three_series_share_one_budget(run: Run, log: Path) -> None:
    rows = rows_of(run("release", log, *PERIOD, "--metric", "dau", "--metric", "wau", "--metric", "mau",
                       "--epsilon", 1, "--format", "json"))  # fmt: skip
    assert [row["metric"] for row in rows[::60]] == ["dau", "wau", "mau"]
    assert {row["epsilon_total"] for row in rows} == {1.0}
    assert all(row["epsilon"] < 1 for row in rows)
    assert json.loads(run("budget", "--format", "json").stdout)["budgets"][0]["epsilon_spent"] == 1.0
    laplace = rows_of(run("release", log, *PERIOD, "--mechanism", "laplace", "--epsilon", 0.9, "--format", "json"))
    assert sum(row["epsilon"] for row in laplace[::60]) == pytest.approx(0.9, rel=1e-6)
    assert {row["delta"] for row in laplace} == {0.0}


def test_split_moves_noise_between_series(run: Run, log: Path) -> None:
    command = ("release", log, *PERIOD, "--metric", "dau", "--metric", "mau", "--epsilon", 1, "--simulate", "--seed", 1)
    equal = rows_of(run(*command, "--format", "json"))
    tilted = rows_of(run(*command, "--split", "dau=1,mau=4", "--format", "json"))
    assert tilted[0]["std"] > equal[0]["std"]
    assert tilted[-1]["std"] < equal[-1]["std"]
    assert "must name each of dau, mau" in run(*command, "--split", "dau=1", code=2).stderr


@pytest.mark.slow
def test_simulation_is_seeded_and_marked(run: Run, log: Path, tmp_path: Path) -> None:
    command = ("release", log, *PERIOD, "--epsilon", 1, "--simulate", "--format", "json")
    first, again, other = (rows_of(run(*command, "--seed", seed)) for seed in (3, 3, 4))
    assert first == again != other
    assert {row["secure"] for row in first} == {False}
    assert {row["budget_remaining"] for row in first} == {None}
    assert not (tmp_path / "dpdau.ledger").exists()
    assert "needs a --seed" in run(*command, code=2).stderr
    assert "--simulate only" in run("release", log, "--epsilon", 1, "--seed", 3, code=2).stderr


@pytest.mark.parametrize(("mechanism", "unit"), [
    (mechanism, unit) for mechanism in MECHANISM_NAMES for unit in ("user-day", "user")
    if (mechanism, unit) != ("adaptive-flippancy", "user-day")
])  # fmt: skip
@pytest.mark.slow
def test_every_mechanism_releases_for_its_units(run: Run, log: Path, mechanism: str, unit: str) -> None:
    rows = rows_of(run("release", log, "--metric", "wau", *PERIOD, "--mechanism", mechanism, "--unit", unit,
                       "--w-bound", 4, "--epsilon", 1, "--format", "json"))  # fmt: skip
    assert len(rows) == 60
    assert {(row["mechanism"], row["unit"], row["secure"]) for row in rows} == {(mechanism, unit, True)}


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["user-day", "user"])
def test_sparse_vector_needs_no_bound_and_counts_everyone(run: Run, log: Path, unit: str) -> None:
    """At a huge ε it publishes the true counts (a frozen user would be missed), and --w-bound changes nothing."""
    command = ("release", log, "--metric", "dau", *PERIOD, "--mechanism", "sparse-vector", "--unit", unit,
               "--epsilon", 90, "--format", "json", "--simulate", "--seed", 1)  # fmt: skip
    result, bounded = run(*command), run(*command, "--w-bound", 2)
    rows = rows_of(result)
    assert rows_of(bounded) == rows
    assert "has no effect" in bounded.stderr
    assert "has no effect" not in result.stderr
    assert {row["w_bound"] for row in rows} == {None}
    truth = rows_of(run("exact", log, "--metric", "dau", *PERIOD, "--format", "json"))
    frozen = rows_of(run("exact", log, "--metric", "dau", *PERIOD, "--w-bound", 2, "--format", "json"))
    looked = [index for index, row in enumerate(rows) if row["ci_low"] is not None]
    missed = [abs(rows[index]["estimate"] - truth[index]["count"]) for index in looked]
    biased = [abs(rows[index]["estimate"] - frozen[index]["bounded_count"]) for index in looked]
    assert len(looked) > 20
    assert max(missed) < 40 < max(biased)


@pytest.mark.slow
def test_sparse_vector_without_an_end_and_without_delta_is_continued(run: Run, log: Path) -> None:
    command = ("release", log, "--metric", "mau", "--mechanism", "sparse-vector", "--epsilon", 1, "--delta", 0,
               "--horizon", "unlimited", "--stream", "s", "--from", "2024-01-01", "--format", "json")  # fmt: skip
    first = run(*command, "--to", "2024-01-31")
    assert "(1, 0)-differential privacy however many days" in first.stderr
    rows = rows_of(run(*command, "--to", "2024-02-29"))
    assert rows[:31] == rows_of(first)
    assert {row["ci_low"] is None for row in rows} == {True, False}
    assert {(row["epsilon_total"], row["delta_total"], row["horizon"]) for row in rows} == {(1.0, 0.0, None)}
    assert "—" in run(*command[:-2], "--to", "2024-02-29").stdout
    assert json.loads(run("budget", "--format", "json").stdout)["budgets"][0]["delta_spent"] == 0


@pytest.mark.slow
def test_adaptive_flippancy_finds_its_bound_and_says_what_may_be_missing(run: Run, log: Path) -> None:
    command = ("release", log, "--metric", "dau", *PERIOD, "--mechanism", "adaptive-flippancy", "--format", "json")
    rows = rows_of(run(*command, "--unit", "user", "--epsilon", 50, "--stream", "a", "--simulate", "--seed", 1))
    bounds = [row["w_bound"] for row in rows]
    assert bounds == sorted(bounds)
    assert bounds[0] == 2 < bounds[-1]
    truth = rows_of(run("exact", log, "--metric", "dau", *PERIOD, "--format", "json"))
    for row, known in zip(rows, truth, strict=True):
        assert row["ci_low"] - 3 * row["std"] < known["count"] < row["ci_high"] + row["bias_bound"] + 3 * row["std"]
    part = (*command, "--unit", "user", "--epsilon", 1, "--stream", "b", "--horizon", 60)
    january = rows_of(run(*(word if word != "2024-02-29" else "2024-01-31" for word in part)))
    assert rows_of(run(*part))[:31] == january
    assert "W_BOUND" not in run(*part[:-2], "--horizon", 60, "--format", "table").stdout.splitlines()[0]
    assert "unit user" in run(*command, "--epsilon", 1, code=1).stderr


@pytest.mark.slow
def test_formats_hold_the_same_rows(run: Run, log: Path) -> None:
    command = ("release", log, "--metric", "dau", *PERIOD, "--epsilon", 1)
    rows = rows_of(run(*command, "--format", "json"))
    table = list(csv.DictReader(io.StringIO(run(*command, "--format", "csv").stdout)))
    assert [float(row["estimate"]) for row in table] == [row["estimate"] for row in rows]
    run(*command, "--out", "r.parquet")
    assert pd.read_parquet("r.parquet")["estimate"].tolist() == [row["estimate"] for row in rows]
    assert f"{rows[0]['estimate']:.4g}" in run(*command).stdout or f"{rows[0]['estimate']:,.1f}" in run(*command).stdout
    assert "--out" in run(*command, "--format", "parquet", code=2).stderr
    assert "does not say its format" in run(*command, "--out", "r.gif", code=2).stderr


@pytest.mark.slow
def test_a_freeze_cannot_be_escaped_by_rewriting_the_log(run: Run, tmp_path: Path) -> None:
    """Unit user, W_BOUND 2: late rows without an arrival, and rows that vanish, would give a user more than one run."""
    growing = tmp_path / "growing.csv"
    command = ("release", growing, "--metric", "wau", "--unit", "user", "--epsilon", 1, "--stream", "s",
               "--horizon", 30, "--from", "2024-01-01", "--format", "json")  # fmt: skip
    growing.write_text("user,day\na,2024-01-01\na,2024-01-12\nb,2024-01-02\n")
    early = rows_of(run(*command, "--to", "2024-01-10"))
    for rewritten in ("a,2024-01-01\na,2024-01-12\nb,2024-01-02\na,2024-01-06\n", "a,2024-01-12\nb,2024-01-02\n"):
        growing.write_text("user,day\n" + rewritten)
        assert "past is not what it was" in run(*command, "--to", "2024-01-20", code=1).stderr
    # Two users who swap their days change no count, but the log all the same.
    growing.write_text("user,day\nb,2024-01-01\na,2024-01-12\na,2024-01-02\n")
    assert "past is not what it was" in run(*command, "--to", "2024-01-20", code=1).stderr
    growing.write_text("user,day,at\na,2024-01-01,\na,2024-01-12,\nb,2024-01-02,\na,2024-01-06,2024-01-11\n")
    assert rows_of(run(*command, "--to", "2024-01-20"))[:10] == early


def test_a_result_that_cannot_be_written_is_not_lost(run: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.json").mkdir()
    command = ("release", log, *PERIOD, "--epsilon", 1, "--format", "json")
    # A folder in the place of the file is seen by click before anything happens.
    run(*command, "--out", "taken.json", code=2)
    assert not (tmp_path / "dpdau.ledger").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epsilon", "0"], "epsilon"),
        (["--epsilon", "nan"], "epsilon"),
        (["--epsilon", "1", "--delta", "0", "--mechanism", "gaussian"], "subtraction-tree"),
        (["--epsilon", "1", "--delta", "2"], "delta"),
        (["--epsilon", "1", "--ci-level", "1"], "ci_level"),
        (["--epsilon", "1", "--unit", "user", "--horizon", "unlimited"], "horizon"),
        (["--epsilon", "1", "--mechanism", "square-root", "--horizon", "unlimited"], "horizon"),
        (["--epsilon", "1", "--horizon", "10"], "horizon of 10"),
    ],
)
def test_a_request_that_cannot_be_met_says_why_and_charges_nothing(
    run: Run, log: Path, options: list[str], message: str
) -> None:
    refused = run("release", log, *PERIOD, *options, "--format", "json", code=1)
    assert message in refused.stderr
    assert refused.stdout == ""
    if Path("dpdau.ledger").exists():
        assert json.loads(run("budget", "--format", "json").stdout)["charges"] == []
