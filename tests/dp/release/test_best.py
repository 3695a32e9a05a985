"""The mechanism "best": what is chosen, what the stream is called, and what it is charged for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dp
from dp.accounting.comparison import compare_all
from dp.accounting.composition import Guarantee
from dp.ledger import Ledger, open_ledger
from dp.ledger.values import OtherParameters
from dp.mechanisms import MECHANISMS
from dp.mechanisms.joint import Exceptions
from dp.release import Request, charged, default_stream, plan_release, publish, recall, stated_counts
from dp.release.best import chosen_before, with_best
from dp.release.request import request_of
from dp.units import protected_class
from tests.conftest import Run
from tests.laws import each

FIRST = date(2024, 1, 1)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
TICKS = 40


def asked(windows: dict[str, int], delta: float = 1e-6, **more: object) -> Request:
    """A request for the best mechanism."""
    values = {
        "windows": windows, "unit": "user-day", "w_bound": 2, "guarantee": Guarantee(1.0, delta), "mechanism": "best",
        "first": FIRST, "horizon": TICKS, "shares": dict.fromkeys(windows, 1.0), **more,
    }  # fmt: skip
    return Request(**values)  # type: ignore[arg-type]


@pytest.mark.slow
@each(
    ("unit", "window", "w_bound", "delta"),
    [("user-day", 1, 2, 1e-6), ("user-day", 7, 4, 1e-6), ("user-day", 30, 2, 0.0), ("user", 7, 2, 1e-6),
     ("user", 1, 8, 0.0)],
)  # fmt: skip
def test_it_is_the_row_with_the_least_noise(unit: str, window: int, w_bound: int, delta: float) -> None:
    request = with_best(asked({"any": window}, delta, unit=unit, w_bound=w_bound))
    assert request.chosen is not None
    protected = protected_class(unit, window, w_bound, TICKS)  # type: ignore[arg-type]
    rows = compare_all(list(MECHANISMS), protected, Guarantee(1.0, delta), bound=False).rows
    deviations = {row.mechanism: row.rms_std for row in rows if row.rms_std is not None}
    assert deviations[request.chosen["any"]] == pytest.approx(min(deviations.values()), rel=1e-4)


@pytest.mark.slow
def test_of_equal_ones_it_is_the_first() -> None:
    """For one day that is touched, damped roots, buffers and the optimum are independent noise."""
    one_day = {"dau": 1}
    assert with_best(asked(one_day, 0.0)).chosen == {"dau": "laplace"}
    whole_month = asked({"dau": 1, "mau": 30})
    assert with_best(whole_month).chosen == {"dau": "gaussian", "mau": "optimal"}


def test_all_series_have_one_kind_of_noise() -> None:
    """DAU alone takes Laplace noise, and beside WAU Gaussian noise, for budgets of two kinds are not shared."""
    assert with_best(asked({"dau": 1})).chosen == {"dau": "laplace"}
    request = with_best(asked({"dau": 1, "wau": 7}))
    assert request.chosen is not None
    assert {MECHANISMS[name].noise for name in request.chosen.values()} == {"gaussian"}
    assert charged(with_best(asked({"dau": 1}))) == Guarantee(1.0, 0.0)
    assert charged(request) == Guarantee(1.0, 1e-6)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """One with a budget called b."""
    with open_ledger(tmp_path / "ledger") as book:
        book.create_budget("b", Guarantee(3.0, 1e-5), FIRST, None)
        yield book


def released(ledger: Ledger, request: Request, ticks: int) -> list[dict[str, Any]]:
    """What the request's default stream publishes of 50 users a day."""
    plan = plan_release(request)
    counts = stated_counts(plan, {name: np.full(ticks, 50) for name in request.windows})
    return [json.loads(row) for row in publish(ledger, default_stream(request), "b", plan, counts, NOW)]


def test_rows_and_the_charge_name_what_was_chosen(ledger: Ledger) -> None:
    request = asked({"dau": 1, "wau": 7})
    rows = released(ledger, request, 9)
    charge = ledger.find_charge(default_stream(request))
    assert charge is not None
    assert {row["metric"]: row["mechanism"] for row in rows} == charge.specification["chosen"]
    assert charge.specification["mechanism"] == "best"
    assert request_of(charge.specification) == with_best(request)


def test_a_later_version_that_would_choose_another_is_not_charged_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the stream under the same name. It goes on with what was chosen then, or is refused."""
    request = asked({"wau": 7})
    first = released(ledger, request, 9)
    monkeypatch.setattr("dp.release.best.LEVEL", 1.0)
    other = with_best(request)
    assert other.chosen is not None
    assert other.chosen["wau"] != first[0]["mechanism"]
    assert default_stream(other) == default_stream(request)
    with pytest.raises(OtherParameters, match=rf"chosen is .*{other.chosen['wau']}.* now and was .*optimal"):
        released(ledger, request, 12)
    with pytest.raises(OtherParameters):
        recall(ledger, default_stream(request), "b", plan_release(request), 9, NOW)
    monkeypatch.undo()
    opened = ledger.find_charge(default_stream(request))
    assert opened is not None
    assert released(ledger, chosen_before(request, opened.specification), 12)[:9] == first
    assert len(ledger.charges()) == 1


def test_a_stream_is_named_by_the_request_alone() -> None:
    """Not by what is chosen, nor by whether δ has an effect then: a name is known before anything is chosen."""
    for request in (asked({"dau": 1}), asked({"mau": 30}), asked({"mau": 30}, 0.0)):
        assert default_stream(with_best(request)) == default_stream(request)
    named = [default_stream(replace(asked({"mau": 30}), mechanism=name)) for name in ("best", "optimal", "laplace")]
    assert len(set(named)) == 3


def test_requests_of_before_say_nothing_of_it() -> None:
    assert "chosen" not in replace(asked({"mau": 30}), mechanism="optimal").specification()
    assert "chosen" not in asked({"mau": 30}).specification()


@pytest.mark.slow
def test_flows_weeks_and_segments_have_their_own() -> None:
    plan = dp.plan(
        "mau", epsilon=1, first=FIRST, last="2024-03-31", mechanism="best", flows=["mau"], calendar=["week"],
        by=[dp.breakdown("platform", ["web", "app"], "last")],
    )  # fmt: skip
    chosen = plan.request.chosen
    assert chosen is not None
    assert list(chosen) == [question.name for question in plan.request.asked]
    assert {MECHANISMS[name].noise for name in chosen.values()} == {"gaussian"}
    for name, mechanism in plan.mechanisms.items():
        assert mechanism.name == chosen[name]
    assert all(plan.std[name] > 0 for name in chosen)


@each(
    ("options", "message"),
    [
        ({"on_time": Exceptions(0, 0), "unit": "user"}, "does not go with on_time"),
        ({"spend_delta": True}, "does not go with spend_delta"),
        ({"chosen": {"wau": "optimal"}}, "the questions are"),
        ({"mechanism": "optimal", "chosen": {"mau": "optimal"}}, "mechanism is 'optimal'"),
        ({"unit": "user", "horizon": None}, "needs a horizon"),
        ({"guarantee": Guarantee(1.0, 1.0)}, "delta is 1"),
    ],
)
def test_what_it_cannot_choose_for_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_release(asked({"mau": 30}, **options))  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_command_goes_on_with_what_it_chose(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("generate", "--users", "60", "--days", "12", "--seed", "1", "--out", "log.csv")
    command = ("release", "log.csv", "--metric", "wau", "--epsilon", "1", "--mechanism", "best", "--horizon", "30",
               "--from", "2024-01-01", "--format", "json")  # fmt: skip
    first = json.loads(run(*command, "--to", "2024-01-05").stdout)
    assert {row["mechanism"] for row in first} == {"optimal"}
    # As if this version preferred another.
    monkeypatch.setattr("dp.release.best.LEVEL", 1.0)
    again = run(*command, "--to", "2024-01-08")
    assert json.loads(again.stdout)[:5] == first
    assert "continued at no charge" in again.stderr
    table = run(*command[:-2], "--to", "2024-01-08", "--simulate", "--seed", "1", "--format", "table")
    assert "optimal" not in table.stdout
