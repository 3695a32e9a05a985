"""Laplace noise that spends δ, from a request to what is charged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import dp
from dp.accounting.composition import Guarantee
from dp.mechanisms.joint import Exceptions
from dp.release import charged, default_stream, plan_release
from dp.release.request import request_of
from tests.conftest import Run
from tests.workbench.cli.common import rows_of

PERIOD = {"epsilon": 1, "first": "2024-01-01", "last": "2024-12-30"}


def test_a_monthly_count_has_27_per_cent_less_noise() -> None:
    pure = dp.plan("mau", mechanism="laplace", **PERIOD)
    spending = dp.plan("mau", mechanism="laplace", spend_delta=True, **PERIOD)
    assert 1 - spending.std["mau"] / pure.std["mau"] == pytest.approx(0.274, abs=5e-4)
    assert pure.guarantee == Guarantee(1.0, 0.0)
    assert spending.guarantee == Guarantee(1.0, 1e-6)
    assert "(1, 1e-06)-differential privacy" in spending.promise


def test_series_on_their_own_promise_less_than_they_do_together() -> None:
    plan = dp.plan(["wau", "mau"], mechanism="laplace", spend_delta=True, split={"wau": 1, "mau": 3}, **PERIOD)
    apart = [series.guarantee for series in plan.calibrated.series]
    assert all(one.delta == 1e-6 for one in apart)
    week, month = (series.mechanism.spent for series in plan.calibrated.series)
    assert month == pytest.approx(3 * week, rel=1e-6)
    assert week + month > 1.4
    # A user-day counts on seven days of a week, too few for δ to help; alone, its ε is what its noise has.
    assert apart[0].epsilon == pytest.approx(week, rel=1e-3)
    assert 0.75 < apart[1].epsilon < 0.75 * month


def test_a_request_says_that_delta_is_spent_only_where_it_is() -> None:
    pure = dp.plan("mau", mechanism="laplace", **PERIOD).request
    spending = replace(pure, spend_delta=True)
    assert "spend_delta" not in pure.specification()
    for request in (pure, spending):
        assert request_of(json.loads(json.dumps(request.specification()))) == replace(request, windows={"mau": 30})
    assert default_stream(pure) != default_stream(spending)
    assert [charged(request).delta for request in (pure, spending)] == [0.0, 1e-6]


@pytest.mark.parametrize(("options", "message"), [
    ({"mechanism": "gaussian"}, "gaussian may spend it in any case"),
    ({"mechanism": "sparse-vector"}, "sparse-vector may spend it in any case"),
    ({"mechanism": "laplace", "delta": 0}, "delta is 0"),
    ({"mechanism": "laplace", "unit": "user", "on_time": Exceptions(0, 0)}, "on_time goes with mechanism"),
])  # fmt: skip
def test_what_cannot_spend_delta_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dp.plan("mau", spend_delta=True, **PERIOD, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_questions_spend_delta_too() -> None:
    plans = [
        dp.plan(
            "dau", flows=["mau"], mechanism="laplace", w_bound=40, spend_delta=spend, unit="user", epsilon=1,
            first="2024-01-01", last="2024-02-29",
        )
        for spend in (False, True)
    ]  # fmt: skip
    pure, spending = (plan.calibrated.by_question for plan in plans)
    for name in pure:
        assert spending[name].mechanism.spent > 1.8 * pure[name].mechanism.spent


def test_a_stream_is_charged_its_delta_and_goes_on_only_as_it_began(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,day\na,2024-01-01\n")
    command = ("release", log, "--metric", "mau", "--epsilon", 1, "--from", "2024-01-01", "--to", "2024-01-05",
               "--horizon", 365, "--mechanism", "laplace", "--stream", "s", "--format", "json")  # fmt: skip
    first = run(*command, "--spend-delta")
    assert "charged ε 1, δ 1e-06" in first.stderr
    assert {(row["epsilon_total"], row["delta"]) for row in rows_of(first)} == {(1.0, 1e-6)}
    assert run(*command, "--spend-delta").stdout == first.stdout
    assert "spend_delta is 'missing' now and was True" in run(*command, code=1).stderr


def test_a_plan_is_that_of_its_request() -> None:
    request = dp.plan("mau", mechanism="binary-tree-laplace", w_bound=8, spend_delta=True, **PERIOD).request
    (series,) = plan_release(request).series
    (pure,) = plan_release(replace(request, spend_delta=False)).series
    assert series.mechanism.describe()["scale"] < 0.8 * pure.mechanism.describe()["scale"]
