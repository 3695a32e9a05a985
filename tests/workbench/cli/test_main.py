"""The command line, end to end over real files and a real ledger."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

import dp
from dp.accounting.composition import Guarantee
from tests.conftest import Run
from tests.workbench.cli.common import PERIOD, rows_of
from workbench.cli.main import main


def test_generate_is_reproducible(run: Run, log: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again.csv", tmp_path / "other.csv.gz"
    rates = ("--delete-rate", 0.15, "--erase-rate", 0.02, "--late-rate", 0.05)
    run("generate", "--users", 400, "--days", 60, *rates, "--seed", 7, "--out", again)
    run("generate", "--users", 400, "--days", 60, *rates, "--seed", 8, "--out", other)
    assert again.read_bytes() == log.read_bytes()
    assert gzip.decompress(other.read_bytes()) != log.read_bytes()
    assert set(pd.read_csv(log, dtype=str)["op"]) == {"+", "-", "erase"}


def test_exact_gives_one_row_a_day_and_says_that_it_is_not_private(run: Run, log: Path) -> None:
    result = run("exact", log, "--metric", "mau", *PERIOD, "--format", "json")
    rows = rows_of(result)
    assert [set(row) for row in rows] == [{"metric", "day", "count"}] * 60
    assert [row["day"] for row in rows] == [f"{day:%Y-%m-%d}" for day in pd.date_range("2024-01-01", "2024-02-29")]
    assert "NOT PRIVATE" in result.stderr
    assert "NOT PRIVATE" in run("exact", log, "--metric", "mau", *PERIOD).stdout


def test_exact_covers_quiet_days_outside_the_log(run: Run, tmp_path: Path) -> None:
    small = tmp_path / "small.csv"
    small.write_text("user,day\na,2024-01-10\nb,2024-01-10\n")
    rows = rows_of(
        run("exact", small, "--metric", "wau", "--from", "2024-01-08", "--to", "2024-01-20", "--format", "json")
    )
    assert [row["count"] for row in rows] == [0, 0, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0]


def test_exact_shows_truncation_apart(run: Run, log: Path) -> None:
    rows = rows_of(run("exact", log, "--metric", "wau", *PERIOD, "--w-bound", 2, "--format", "json"))
    assert all(row["truncation_bias"] == row["bounded_count"] - row["count"] <= 0 for row in rows)
    assert any(row["truncation_bias"] < 0 for row in rows)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x,2024-13-01,+,", "day"),
        ("x,2024-01-02,?,", "op"),
        (",2024-01-02,+,", "user"),
        ("x,2024-01-02,-,2024-01-01", "at"),
    ],
)
def test_a_bad_row_refuses_the_log_and_names_itself(run: Run, tmp_path: Path, line: str, reason: str) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(f"user,day,op,at\na,2024-01-01,+,\n{line}\n")
    refused = run("release", bad, "--epsilon", 1, "--out", "r.json", code=1)
    assert "bad.csv" in refused.stderr
    assert "line 3" in refused.stderr
    assert reason in refused.stderr
    assert not (tmp_path / "r.json").exists()
    assert not (tmp_path / "dpdau.ledger").exists()


def test_quarantine_sets_bad_rows_aside_and_the_sums_add_up(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("user,day\na,2024-01-01\nb,soon\nc,2024-01-02\n")
    for spelling in (("--on-error", "quarantine", "aside.csv"), ("--on-error=quarantine", "aside.csv")):
        result = run(
            "exact", bad, "--metric", "dau", "--from", "2024-01-01", "--to", "2024-01-02", *spelling, "--format", "json"
        )
        assert [row["count"] for row in rows_of(result)] == [1, 1]
        assert "3 rows read, 2 used, 1 set aside" in result.stderr
        assert "soon" in (tmp_path / "aside.csv").read_text()
    assert "'fail' or 'quarantine FILE'" in run("exact", bad, "--on-error", "ignore", code=2).stderr
    assert "name of a file" in run("exact", bad, "--on-error", "quarantine", "--metric", "dau", code=2).stderr


def test_columns_and_timezone_reach_the_reader(run: Run, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("CustomerID,InvoiceDate\n7,2024-01-01T23:30:00Z\n")
    command = (
        "exact",
        foreign,
        "--metric",
        "dau",
        "--columns",
        "user=CustomerID,timestamp=InvoiceDate",
        "--format",
        "json",
    )
    assert [row["day"] for row in rows_of(run(*command))] == ["2024-01-01"]
    assert [row["day"] for row in rows_of(run(*command, "--timezone", "Europe/Berlin"))] == ["2024-01-02"]
    assert "name=value" in run("exact", foreign, "--columns", "user", code=2).stderr


def test_paths_that_are_one_file_are_refused(run: Run, log: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_bytes(log.read_bytes())
    release = ("release", mine, *PERIOD, "--epsilon", 1)
    assert "same file" in run("exact", mine, *PERIOD, "--out", mine, code=2).stderr
    assert "same file" in run(*release, "--out", "dpdau.ledger", "--format", "json", code=2).stderr
    assert "same file" in run(*release, "--ledger", "l", "--out", "l-wal", "--format", "json", code=2).stderr
    assert "same file" in run(*release, "--on-error", "quarantine", "dpdau.ledger", code=2).stderr
    assert "same file" in run("validate", mine, "--out", mine, code=2).stderr
    assert "does not exist" in run(*release, "--out", "no/x.json", code=2).stderr
    assert mine.read_bytes() == log.read_bytes()
    assert not (tmp_path / "dpdau.ledger").exists()
    run(*release, "--ledger", "other.ledger", "--out", "x.json")
    assert "perhaps a ledger" in run(*release, "--out", "other.ledger", "--format", "json", code=2).stderr
    assert "perhaps a ledger" in run("exact", mine, "--on-error", "quarantine", "other.ledger", code=2).stderr
    assert json.loads(run("budget", "--ledger", "other.ledger", "--format", "json").stdout)["charges"]


def test_days_are_those_of_the_log_where_nothing_is_published(run: Run, log: Path) -> None:
    every = run("exact", log, "--metric", "dau", "--format", "json").stdout
    assert every == run("exact", log, "--metric", "dau", *PERIOD, "--format", "json").stdout
    assert "before --from" in run("exact", log, "--from", "2024-02-01", "--to", "2024-01-01", code=2).stderr


@pytest.mark.parametrize(("horizon", "last_day", "words"), [
    (10, "2024-01-10", None),
    (366, "2024-12-31", None),
    (400, "2025-02-03", "it covers days until 2025-02-03"),
    ("unlimited", None, "it covers days without an end"),
])  # fmt: skip
def test_streams_that_outlive_their_period_are_named(
    run: Run, log: Path, horizon: int | Literal["unlimited"], last_day: str | None, words: str | None
) -> None:
    """A period says when a charge is made, not which days it is for."""
    plan = dp.plan("dau", epsilon=1, first="2024-01-01", last="2024-01-10", horizon=horizon)
    with dp.open_ledger("dpdau.ledger") as ledger:
        ledger.create_budget("year", Guarantee(2.0, 1e-5), date(2024, 1, 1), date(2024, 12, 31))
        plan.publish(log, ledger=ledger, budget="year", stream="s", now=datetime(2024, 6, 1, tzinfo=UTC))
    shown = run("budget").stdout
    assert ("runs on after the period, which is over" in shown) == (words is not None)
    assert words is None or words in shown
    (charge,) = json.loads(run("budget", "--format", "json").stdout)["charges"]
    assert (charge["first_day"], charge["last_day"]) == ("2024-01-01", last_day)


def test_budgets_have_caps_and_periods(run: Run, log: Path) -> None:
    run("budget", "create", "old", "--epsilon", 1, "--delta", 1e-6, "--from", "2020-01-01", "--to", "2020-12-31")
    refused = run("release", log, *PERIOD, "--epsilon", 1, "--budget", "old", code=1)
    assert "2020-01-01 to 2020-12-31" in refused.stderr
    run("budget", "create", "small", "--epsilon", 0.25, "--delta", 1e-6)
    run("release", log, *PERIOD, "--epsilon", 0.5, "--budget", "small", code=3)
    assert "exists already" in run("budget", "create", "small", "--epsilon", 9, "--delta", 1e-6, code=1).stderr
    assert "small" in run("budget").stdout


def test_validate_writes_the_canonical_log(run: Run, log: Path, tmp_path: Path) -> None:
    run("validate", log, "--out", tmp_path / "clean.parquet")
    clean = pd.read_parquet(tmp_path / "clean.parquet")
    assert list(clean.columns) == ["user", "day", "op", "at", "seq"]
    same = ("exact", "--metric", "mau", *PERIOD, "--format", "json")
    assert run(*same, tmp_path / "clean.parquet").stdout == run(*same, log).stdout


def test_duckdb_counts_what_the_default_engine_counts(run: Run, log: Path) -> None:
    command = ("exact", log, *PERIOD, "--w-bound", 2, "--format", "json")
    assert (
        run(*command, "--engine", "duckdb").stdout == run(*command).stdout == run(*command, "--engine", "numpy").stdout
    )


@pytest.mark.spark
def test_spark_counts_what_duckdb_counts(run: Run, log: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("no java")
    run("validate", log, "--out", tmp_path / "clean.parquet")
    command = ("exact", tmp_path / "clean.parquet", "--metric", "wau", *PERIOD, "--w-bound", 2, "--format", "json")
    assert rows_of(run(*command, "--engine", "local[2]")) == rows_of(run(*command))


@pytest.mark.spark
def test_spark_guards_the_past_as_duckdb_does(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("no java")
    text, clean = tmp_path / "text.csv", tmp_path / "log.parquet"
    command = ("release", clean, "--metric", "wau", "--unit", "user", "--epsilon", 1, "--horizon", 30,
               "--from", "2024-01-01", "--format", "json")  # fmt: skip
    text.write_text("user,day\na,2024-01-01\na,2024-01-12\nb,2024-01-02\n")
    run("validate", text, "--out", clean)
    early = rows_of(run(*command, "--to", "2024-01-10", "--engine", "local[2]"))
    # Two users swap their days.
    text.write_text("user,day\nb,2024-01-01\na,2024-01-12\na,2024-01-02\n")
    run("validate", text, "--out", clean)
    for engine in ("local[2]", "duckdb"):
        refused = run(*command, "--to", "2024-01-20", "--engine", engine, code=1)
        assert "past is not what it was" in refused.stderr
    text.write_text("user,day\na,2024-01-01\na,2024-01-12\nb,2024-01-02\n")
    run("validate", text, "--out", clean)
    later = rows_of(run(*command, "--to", "2024-01-20"))
    assert later[:10] == early
    assert rows_of(run(*command, "--to", "2024-01-25", "--engine", "local[2]"))[:20] == later


def test_engines_need_what_they_need(run: Run, log: Path) -> None:
    assert "spark://host:port" in run("exact", log, "--engine", "flink", code=2).stderr
    assert "needs --from and --to" in run("exact", log, "--engine", "local[2]", code=2).stderr
    refused = run("exact", log, *PERIOD, "--engine", "local[2]", "--timezone", "Europe/Berlin", code=2)
    assert "dpdau validate --out" in refused.stderr


@pytest.mark.slow
def test_plot_draws_a_release(run: Run, log: Path, tmp_path: Path) -> None:
    run("release", log, *PERIOD, "--epsilon", 1, "--out", "r.csv")
    run("exact", log, *PERIOD, "--out", "t.json")
    run("plot", "r.csv", "--truth", "t.json", "--out", "f.svg", "--out", "f.png")
    assert (tmp_path / "f.svg").read_text().startswith("<?xml")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert "figures are written as" in run("plot", "r.csv", "--out", "f.doc", code=1).stderr
    assert "no output of 'dpdau release'" in run("plot", "t.json", "--out", "f.svg", code=1).stderr


def test_help_of_every_command_explains_its_options(run: Run) -> None:
    for command in main.commands:
        assert "--help" in run(command, "--help").stdout
    assert "quarantine" in run("release", "--help").stdout


@pytest.mark.slow
def test_installed_command_exits_with_3_without_a_traceback(log: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "workbench.cli.main",
        "release",
        str(log),
        *PERIOD,
        "--epsilon",
        "11",
        "--out",
        "x.json",
    ]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr
    assert "too small" in ended.stderr


def test_the_version_names_the_database_of_time_zones(run: Run) -> None:
    assert re.search(
        r"dpdau, version \S+ \(time zones: tzdata 20\d\d\.\d+, IANA 20\d\d[a-z]\)", run("--version").stdout
    )


@pytest.mark.parametrize(
    ("content", "name", "options"),
    [
        ("id;when\na;12/1/2010 8:26\n", "log.csv", ["--delimiter", ";", "--date-format", "%m/%d/%Y %H:%M"]),
        ("id\twhen\na\t1291191960000\n", "log.tsv", ["--date-format", "epoch-ms"]),
        ("when\n2010-12-01\n", "id=a/log.csv", ["--hive"]),
    ],
)
def test_how_a_log_is_read_reaches_the_reader(
    run: Run, tmp_path: Path, content: str, name: str, options: list[str]
) -> None:
    for copy in ("one", "two"):
        (tmp_path / copy / name).parent.mkdir(parents=True)
        (tmp_path / copy / name).write_text(content)
    columns = ("--columns", "user=id,timestamp=when", "--metric", "dau")
    result = run(
        "exact", "one", "two", *columns, *options, "--format", "json", "--from", "2010-12-01", "--to", "2010-12-01"
    )
    assert [row["count"] for row in rows_of(result)] == [1]
    assert "2 rows read, 2 used, 0 set aside" in result.stderr


def test_a_tool_s_export_is_read_by_its_name(run: Run, tmp_path: Path) -> None:
    row = {"event": "x", "properties": {"distinct_id": "a", "time": 1291191960}}
    (tmp_path / "export.jsonl").write_text(json.dumps(row))
    assert "1 users, 2010-12-01 to 2010-12-01" in run("validate", "export.jsonl", "--like", "mixpanel").stderr


def test_a_log_without_rows_needs_a_period(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,day\n")
    assert "0 users\n" in run("validate", "log.csv").stderr
    assert "name both (--from and --to)" in run("exact", "log.csv", code=1).stderr
    period = ("--from", "2024-01-01", "--to", "2024-01-02", "--metric", "dau", "--format", "json")
    assert [row["count"] for row in rows_of(run("exact", "log.csv", *period))] == [0, 0]


def test_an_output_is_none_of_several_logs(run: Run, tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("user,day\na,2024-01-01\n")
    refused = run("exact", "one.csv", "two.csv", "--out", "two.csv", code=2)
    assert "are the same file" in refused.stderr
    assert (tmp_path / "two.csv").read_text() == "user,day\na,2024-01-01\n"
