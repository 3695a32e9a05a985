"""Several series at once: users who act on time, and counts that agree with each other."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from dp.accounting.composition import Guarantee
from dp.mechanisms.joint import Exceptions
from dp.release import METRICS, Request, charged, plan_release, promise
from workbench.cli.consistent import with_counts

pytestmark = pytest.mark.slow

SPAN = ("--from", "2024-01-01", "--to", "2024-01-24")
TOGETHER = ("--metric", "dau", "--metric", "wau", "--metric", "mau", "--epsilon", "1", *SPAN)


def request(exceptions: Exceptions | None, **others: object) -> Request:
    asked = {
        "windows": {"dau": 1, "wau": 7}, "unit": "user", "w_bound": 2, "guarantee": Guarantee(1.0, 1e-6),
        "mechanism": "damped-square-root", "first": date(2024, 1, 1), "horizon": 30, "shares": {"dau": 1.0, "wau": 1.0},
        **others,
    }  # fmt: skip
    return Request(**asked, on_time=exceptions)  # type: ignore[arg-type]


@pytest.fixture
def log(run, tmp_path: Path) -> Path:
    run("generate", "--users", "400", "--days", "24", "--seed", "3", "--out", "log.csv")
    return tmp_path / "log.csv"


def test_users_who_act_on_time_are_not_frozen_and_the_rows_say_so(run, log: Path) -> None:
    shown = run(
        "release", log, *TOGETHER, "--unit", "user", "--on-time", "removals=1", "--format", "json", "--stream", "s"
    )
    rows = json.loads(shown.stdout)
    assert {row["on_time"] for row in rows} == {"removals=1,late=0"}
    assert {row["w_bound"] for row in rows} == {None}
    assert "with at most 1 removals and 0 late days" in shown.stderr
    exact = json.loads(run("exact", log, "--metric", "mau", *SPAN, "--format", "json").stdout)
    errors = [
        abs(row["estimate"] - true["count"]) / row["std"]
        for row, true in zip([row for row in rows if row["metric"] == "mau"], exact, strict=True)
    ]
    assert max(errors) < 5, "the noise was added to true counts"


def test_the_same_stream_goes_on_and_is_not_another_one(run, log: Path) -> None:
    first = ("release", log, *TOGETHER, "--unit", "user", "--stream", "s", "--format", "json")
    once = run(*first, "--on-time", "removals=1").stdout
    assert run(*first, "--on-time", "removals=1,late=0").stdout == once
    assert "other parameters" in run(*first, "--on-time", "removals=2", code=1).stderr


def test_a_request_without_the_option_is_spelt_as_before() -> None:
    assert "on_time" not in request(None).specification()
    assert request(Exceptions(1, 2)).specification()["on_time"] == "removals=1,late=2"


def test_a_joint_plan_promises_the_whole_and_each_series_less() -> None:
    plan = plan_release(request(Exceptions()))
    assert plan.freeze is None
    assert charged(plan.request) == Guarantee(1.0, 1e-6)
    for series in plan.series:
        assert 0.5 < series.guarantee.epsilon < 1.0
    assert "on the day itself and for good" in promise(plan.request)
    alone = plan_release(request(Exceptions(), windows={"wau": 7}, shares={"wau": 1.0}))
    assert alone.series[0].guarantee == Guarantee(1.0, 1e-6)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"unit": "user-day"}, "unit user"),
        ({"horizon": None}, "number of ticks"),
        ({"mechanism": "optimal"}, "damped-square-root"),
        ({"windows": {"dau": 7, "wau": 7}}, "windows that differ"),
    ],
)
def test_on_time_says_what_it_needs(others: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_release(request(Exceptions(), **others))
    with pytest.raises(ValueError, match="at least 0"):
        plan_release(request(Exceptions(-1, 0)))


@pytest.mark.parametrize("text", ["removals=x", "sorry=1", "removals=-1"])
def test_exceptions_are_whole_numbers_with_known_names(run, log: Path, text: str) -> None:
    refused = run("release", log, *TOGETHER, "--unit", "user", "--on-time", text, code=2)
    assert "removals=2,late=1" in refused.stderr


def test_consistent_counts_are_whole_and_in_order(run, log: Path) -> None:
    plain = json.loads(run("release", log, *TOGETHER, "--stream", "s", "--format", "json").stdout)
    rows = json.loads(run("release", log, *TOGETHER, "--stream", "s", "--format", "json", "--consistent").stdout)
    counts = {(row["day"], row["metric"]): row["count"] for row in rows}
    for row, before in zip(rows, plain, strict=True):
        assert {key: row[key] for key in before} == before, "what was published stays as it was"
        assert isinstance(row["count"], int)
        assert 0 <= row["count_low"] <= row["count"] <= row["count_high"]
        assert counts[row["day"], "dau"] <= counts[row["day"], "wau"] <= counts[row["day"], "mau"]
    shown = run("release", log, *TOGETHER, "--stream", "s", "--consistent")
    assert "count_low" in shown.stdout or "count low" in shown.stdout


def test_consistent_counts_do_not_depend_on_the_order_of_rows() -> None:
    generator = np.random.default_rng(5)
    rows = [
        {"metric": metric, "window": window, "day": f"2024-01-0{day}", "mechanism": "gaussian", "std": 3.0,
         "estimate": estimate, "ci_low": estimate - 6, "ci_high": estimate + 6}
        for day in range(1, 6)
        for (metric, window), estimate in zip(METRICS.items(), generator.normal(4, 3, 3).tolist(), strict=True)
    ]  # fmt: skip
    forwards = with_counts(rows)
    assert with_counts(rows[::-1]) == forwards[::-1]
    assert any(row["count"] != round(row["estimate"]) for row in forwards), "some had to be moved"


def test_without_a_standard_deviation_there_is_nothing_to_weigh_by(run, log: Path) -> None:
    refused = run("release", log, *TOGETHER, "--mechanism", "sparse-vector", "--consistent", code=2)
    assert "depends on the data" in refused.stderr
    assert not Path("dpdau.ledger").exists(), "nothing was charged"
    row = {"metric": "mau", "window": 30, "day": "2024-01-01", "mechanism": "x", "std": None, "estimate": 1.0}
    with pytest.raises(ValueError, match="none on 2024-01-01"):
        with_counts([{**row, "ci_low": 0.0, "ci_high": 1.0}])
