"""From a log in a file to rows: questions asked in Python and on the command line, against the slow replay."""

from __future__ import annotations

import csv
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import dp
from dp.ledger import LedgerError
from dp.log import read_log
from dp.questions import Question, questions_of, rolling
from tests.oracles.questions import EPOCH, Written, answer
from workbench.cli.main import main

FIRST, LAST = date(2024, 1, 1), date(2024, 2, 11)
COLUMNS = ("platform", "country")
ROWS = [
    # user, day, op, at, platform, country
    ("ann", "2024-01-02", "+", "2024-01-02", "ios", "GB"),
    ("ann", "2024-01-02", "+", "2024-01-02", "web", "GB"),
    ("ann", "2024-01-09", "+", "2024-01-11", "ios", "DE"),
    ("ann", "2024-01-09", "-", "2024-01-13", "", "DE"),
    ("bob", "2024-01-05", "+", "2024-01-05", "palm", ""),
    ("bob", "2024-01-20", "+", "2024-01-20", "web", "DE"),
    ("bob", "2024-01-20", "-", "2024-01-22", "", ""),
    ("cy", "2024-01-31", "+", "2024-01-31", "ios", "FR"),
    ("cy", "2024-02-01", "+", "2024-02-01", "web", "GB"),
    ("cy", "", "erase", "2024-02-05", "", ""),
    ("cy", "2024-02-06", "+", "2024-02-06", "tv", "GB"),
    ("dee", "2023-12-31", "+", "2023-12-31", "ios", "GB"),
]
USERS = {"ann": "free", "bob": "paid", "cy": "free", "eve": "paid"}
SPELT = ("platform=ios,web:any:2", "country=GB,DE:last", "plan=free,paid:fixed", "platform×country=ios,web×GB,DE:any")
BY = [
    dp.breakdown("platform", ["ios", "web"], "any", most=2),
    dp.breakdown("country", ["GB", "DE"], "last"),
    dp.breakdown("plan", ["free", "paid"], "fixed"),
    dp.breakdown("platform×country", {"platform": ["ios", "web"], "country": ["GB", "DE"]}, "any"),
]
ASKED = ["--metric", "dau", "--metric", "wau", "--flows", "wau", "--calendar", "week", "--calendar", "month",
         *(word for spelt in SPELT for word in ("--by", spelt)), "--users", "users.csv",
         "--from", str(FIRST), "--to", str(LAST), "--format", "json"]  # fmt: skip


LEDGER = ("--ledger", "l.db")


def truth(w_bound: int | None = None) -> dict[tuple[str, str | None, str | None, str], int]:
    operations = [
        Written(user, (date.fromisoformat(day) - EPOCH).days if day else None, op,
                (date.fromisoformat(at) - EPOCH).days, (platform or None, country or None))
        for user, day, op, at, platform, country in ROWS
    ]  # fmt: skip
    windows = {"dau": 1, "wau": 7}
    asked = [
        *(Question(rolling(*one)) for one in windows.items()),
        *questions_of(windows, ["wau"], ["week", "month"], BY),
    ]
    found = {}
    first, last = ((day - EPOCH).days for day in (FIRST, LAST))
    attributes = {user: {"plan": plan} for user, plan in USERS.items()}
    for question in asked:
        counts = answer(operations, question, first, last, columns=COLUMNS, attributes=attributes, w_bound=w_bound)
        for name, series in zip(question.series, counts, strict=True):
            for day, count in zip(question.cell.days(FIRST, LAST), series, strict=True):
                found[*name, day.isoformat()] = count
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with Path("log.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("user", "day", "op", "at", *COLUMNS), *ROWS])
    Path("users.csv").write_text("user,plan\n" + "".join(f"{user},{plan}\n" for user, plan in USERS.items()))
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def rows_of(*words: str) -> list[dict[str, Any]]:
    shown = run(*words)
    assert shown.exit_code == 0, shown.stderr
    found: list[dict[str, Any]] = json.loads(shown.stdout)
    return found


def counted(rows: list[dict[str, Any]], column: str) -> dict[tuple[str, str | None, str | None, str], Any]:
    return {(row["question"], row["breakdown"], row["segment"], row["day"]): row[column] for row in rows}


def test_exact_counts_are_those_of_the_replay(folder: Path) -> None:
    assert counted(rows_of("exact", "log.csv", *ASKED), "count") == truth()


def test_bounded_counts_are_those_of_the_replay(folder: Path) -> None:
    rows = rows_of("exact", "log.csv", *ASKED, "--w-bound", "2")
    assert counted(rows, "count") == truth()
    assert counted(rows, "bounded_count") == truth(w_bound=2)


def test_the_last_day_of_each_series_alone(folder: Path) -> None:
    days = {(row["question"], row["day"]) for row in rows_of("exact", "log.csv", *ASKED, "--last")}
    assert days == {
        ("dau", "2024-02-11"), ("wau", "2024-02-11"), ("week", "2024-02-11"), ("month", "2024-01-31"),
        *((f"wau/{flow}", "2024-02-11") for flow in ("new", "returning", "gone")),
    }  # fmt: skip


@pytest.mark.slow
def test_a_release_is_around_the_counts_and_charged_once(folder: Path) -> None:
    words = ["release", "log.csv", *ASKED, "--epsilon", "4", *LEDGER, "--consistent"]
    rows = rows_of(*words)
    counts, deviations = truth(), counted(rows, "std")
    for key, estimate in counted(rows, "estimate").items():
        assert abs(estimate - counts.pop(key)) < 6 * deviations[key]
    assert not counts
    assert all(row["count"] >= 0 and row["epsilon_total"] == 4.0 and row["secure"] for row in rows)
    (folder / "log.csv").unlink()
    # Rows carry the budget left when they were published: it was charged once.
    assert {row["budget_remaining"] for row in rows} == {6.0}
    assert rows_of(*words) == rows


@pytest.mark.slow
def test_python_and_the_command_line_make_the_same_stream(folder: Path) -> None:
    plan = dp.plan(["dau", "wau"], flows=["wau"], calendar=["week", "month"], by=BY, epsilon=1, first=FIRST, last=LAST)
    published = plan.publish("log.csv", ledger="l.db", users="users.csv")
    assert len(published) == len(truth())
    again = run("release", "log.csv", *ASKED, "--epsilon", "1", "--ledger", "l.db")
    assert "these days were published before" in again.stderr
    with read_log("log.csv", segments=["country", "platform"]) as log:
        longer = dp.plan(
            ["dau", "wau"], flows=["wau"], calendar=["week", "month"], by=BY, epsilon=1, first=FIRST,
            last=LAST + timedelta(days=1), horizon=42,
        )  # fmt: skip
        with pytest.raises(ValueError, match="horizon"):
            longer.publish(log, ledger="l.db", users="users.csv")


def test_a_stream_is_not_continued_from_a_log_that_is_read_in_another_way(folder: Path) -> None:
    # A retraction of a segment takes back the whole day where segments are not read: another count of the same rows.
    rows = ["ann,2024-01-02,+,2024-01-02,ios", "ann,2024-01-02,+,2024-01-02,web", "ann,2024-01-02,-,2024-01-04,ios"]
    Path("small.csv").write_text("\n".join(["user,day,op,at,platform", *rows, ""]))
    early, whole = (dp.plan({"wau": 7}, epsilon=1, first=FIRST, last=f"2024-01-0{last}", horizon=9) for last in (3, 5))
    early.publish("small.csv", ledger="l.db", stream="s")
    with read_log("small.csv", segments=["platform"]) as log:
        # So far the counts are the same, and nothing else would tell.
        assert early.count(log)["wau"].values.tolist() == early.count("small.csv")["wau"].values.tolist()
        assert whole.count(log)["wau"].values.tolist() != whole.count("small.csv")["wau"].values.tolist()
        with pytest.raises(LedgerError, match="the log's past is not what it was"):
            whole.publish(log, ledger="l.db", stream="s")
    assert len(whole.publish("small.csv", ledger="l.db", stream="s")) == 5


def test_flips_that_a_stream_counted_are_not_forgotten_because_segments_are_kept(folder: Path) -> None:
    days = ("--from", str(FIRST), "--to", str(LAST))
    stream = ["release", "log.csv", "--metric", "wau", "--unit", "user", "--w-bound", "4", "--epsilon", "1", *days]
    assert run(*stream, "--stream", "s", *LEDGER, "--format", "csv").exit_code == 0
    compact = ["compact", "log.csv", "--through", "2024-02-10", "--stream", "s", *LEDGER, "--out", "small.parquet",
               "--tombstones", "t.json"]  # fmt: skip
    refused = run(*compact, "--segment", "country")
    assert refused.exit_code == 1
    assert "takes back days in one segment (country)" in refused.stderr
    assert run(*compact).exit_code == 0


def test_what_a_log_or_a_table_lacks_is_named(folder: Path) -> None:
    missing = run("exact", "log.csv", "--metric", "dau", "--by", "plan=free:last")
    assert missing.exit_code == 1
    assert "no column 'plan'" in missing.stderr
    lacking = run("exact", "log.csv", "--metric", "dau", "--by", "country=GB:fixed", "--users", "users.csv")
    assert lacking.exit_code == 1
    assert "country" in lacking.stderr
    spark = run("exact", "log.csv", "--metric", "dau", "--by", "country=GB:last", "--engine", "duckdb")
    assert spark.exit_code == 2
    assert "need --engine numpy" in spark.stderr


def test_small_numbers_are_withheld(folder: Path) -> None:
    words = ["release", "log.csv", "--calendar", "week", "--from", str(FIRST), "--to", str(LAST), "--epsilon", "1",
             "--simulate", "--seed", "1", "--format", "json", "--suppress-below", "1000"]  # fmt: skip
    assert {(row["estimate"], row["ci_low"], row["ci_high"]) for row in rows_of(*words)} == {("<1000", None, None)}
    assert {row["count"] for row in rows_of(*words, "--consistent")} == {"<1000"}


@pytest.mark.slow
def test_the_ledger_says_what_was_asked(folder: Path) -> None:
    words = ["release", "log.csv", "--metric", "dau", "--calendar", "week", "--by", SPELT[1], *LEDGER,
             "--from", str(FIRST), "--to", str(LAST), "--epsilon", "1", "--format", "csv"]  # fmt: skip
    assert run(*words, "--out", "released.csv", "--consistent", "--suppress-below", "3").exit_code == 0
    (charge,) = json.loads(run("budget", *LEDGER, "--format", "json").stdout)["charges"]
    assert charge["metrics"] == "dau+week+dau/country+week/country"
    exact = run("exact", "log.csv", *words[2:8], "--from", str(FIRST), "--to", str(LAST), "--format", "csv",
                "--out", "truth.csv")  # fmt: skip
    assert exact.exit_code == 0, exact.stderr
    assert (
        run("plot", "released.csv", "--truth", "truth.csv", "--only", "week/country", "--out", "p.png").exit_code == 0
    )
    refused = run("plot", "released.csv", "--only", "mau", "--out", "p.png")
    assert refused.exit_code == 1
    assert "there are no rows of 'mau'; choose from dau, week, dau/country, week/country" in refused.stderr
