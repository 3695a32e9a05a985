"""Questions that need one command: what is in a log, its last day, and one day's private count."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.workbench.cli.common import PERIOD, rows_of

DAY = "2024-02-10"


def oracle_summary(log: Path) -> dict[str, Any]:
    """The same figures from the rows of the file, without a database."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        "users": len({row["user"] for row in rows}),
        "rows": len(rows),
        "retractions": sum(row["op"] == "-" for row in rows),
        "erasures": sum(row["op"] == "erase" for row in rows),
        "late_rows": sum(row["op"] != "erase" and row["at"] > row["day"] for row in rows),
        "first_day": min(row["day"] or row["at"] for row in rows),
        "last_day": max(row["at"] for row in rows),
    }


def test_a_summary_says_what_the_rows_say(run: Run, log: Path) -> None:
    asked = run("exact", log, "--summary", "--format", "json")
    (row,) = rows_of(asked)
    expected = oracle_summary(log)
    assert {name: row[name] for name in expected} == expected
    counted = rows_of(run("exact", log, "--format", "json"))
    for metric in ("dau", "wau", "mau"):
        counts = [one["count"] for one in counted if one["metric"] == metric]
        assert row[f"{metric}_max"] == max(counts)
        assert row[f"{metric}_mean"] == pytest.approx(sum(counts) / len(counts))
    assert "NOT PRIVATE" in asked.stderr


def test_a_summary_for_people_has_a_line_for_each_figure(run: Run, log: Path) -> None:
    said = run("exact", log, "--summary", "--metric", "wau").stdout
    assert said.startswith("NOT PRIVATE")
    for figure in ("first day", "retractions", "erasures", "late rows", "wau mean", "wau max"):
        assert said.count(figure) == 1
    assert "mau" not in said


@pytest.mark.parametrize("more", [(), ("--w-bound", "2"), ("--metric", "mau", "--window", "14"), PERIOD])
def test_the_last_day_alone_is_the_end_of_all_days(run: Run, log: Path, more: tuple[str, ...]) -> None:
    every = rows_of(run("exact", log, *more, "--format", "json"))
    last = max(row["day"] for row in every)
    asked = run("exact", log, "--last", *more, "--format", "json")
    assert rows_of(asked) == [row for row in every if row["day"] == last]
    assert "NOT PRIVATE" in asked.stderr


def test_two_questions_at_once_are_refused(run: Run, log: Path) -> None:
    for pair in (("--last", "--summary"), ("--summary", "--protection"), ("--last", "--protection")):
        assert "give one of them" in run("exact", log, *pair, code=2).stderr


@pytest.mark.parametrize(("metric", "window", "epsilon"), [("dau", 1, 0.3), ("wau", 7, 0.4), ("mau", 30, 0.5)])
def test_one_day_of_a_log_is_published_once(run: Run, log: Path, metric: str, window: int, epsilon: float) -> None:
    asked = (metric, log, "--day", DAY, "--format", "json")
    first = run(*asked)
    (row,) = rows_of(first)
    assert (row["metric"], row["window"], row["day"], row["epsilon_total"]) == (metric, window, DAY, epsilon)
    assert row["secure"]
    assert f"Promised: ({epsilon:g}, 0)-differential privacy" in first.stderr
    assert f"charged ε {epsilon:g}" in first.stderr
    again = run(*asked)
    assert again.stdout == first.stdout
    assert "nothing was charged" in again.stderr
    (truth,) = rows_of(run("exact", log, "--metric", metric, "--from", DAY, "--to", DAY, "--format", "json"))
    assert row["estimate"] != truth["count"]
    # Laplace noise: the tail beyond thirteen scales has a probability of two in a million.
    assert abs(row["estimate"] - truth["count"]) < 13 / epsilon
    (charge,) = json.loads(run("budget", "--format", "json").stdout)["charges"]
    assert charge["epsilon"] == epsilon


def test_one_day_is_what_the_long_command_publishes(run: Run, log: Path) -> None:
    short = run("mau", log, "--day", DAY, "--epsilon", "2", "--format", "json").stdout
    long = ("--metric", "mau", "--from", DAY, "--to", DAY, "--mechanism", "laplace", "--epsilon", "2")
    assert run("release", log, *long, "--format", "json").stdout == short


def test_one_day_follows_the_settings(run: Run, log: Path) -> None:
    Path("dpdau.toml").write_text('ledger = "shared.ledger"\n[mau]\nwindow = 28\nfresh_epsilon = 0.25\n')
    (row,) = rows_of(run("mau", log, "--day", DAY, "--format", "json"))
    assert (row["window"], row["epsilon_total"]) == (28, 0.25)
    assert Path("shared.ledger").exists()


def test_one_day_reads_a_log_as_every_command_does(run: Run) -> None:
    Path("odd.csv").write_text("who,when\nann,2024-02-10T23:30:00+00:00\nbob,2024-02-09T12:00:00+00:00\nx,never\n")
    run(
        "dau", "odd.csv", "--day", "2024-02-11", "--columns", "user=who,timestamp=when", "--on-error", "quarantine",
        "bad.csv", "--set", "timezone=Europe/Berlin", "--epsilon", "9", "--out", "row.json",
    )  # fmt: skip
    (row,) = json.loads(Path("row.json").read_text())
    assert abs(row["estimate"] - 1) < 1.5
    assert "never" in Path("bad.csv").read_text()
    assert date.fromisoformat(row["day"]) == date(2024, 2, 11)


def test_one_day_without_a_day_or_with_what_belongs_to_the_service_is_refused(run: Run, log: Path) -> None:
    assert "LOG needs --day" in run("mau", log, code=2).stderr
    assert "leave it out with a LOG" in run("mau", log, "--day", DAY, "--fresh", code=2).stderr
    assert "--epsilon goes with a LOG" in run("mau", "--epsilon", "1", code=2).stderr
    assert not Path("dpdau.ledger").exists()
