"""Closing days: their order, what is published and charged, and what is refused."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dp.ledger import BudgetExhausted
from tests.laws import each
from tests.oracles.service_model import FIRST, add, day, nearly_exact, retract, settings_in
from tests.workbench.service.common import METRICS, opened, standing
from workbench.service import (
    Operation,
    Refused,
)

pytestmark = pytest.mark.usefixtures("database")


def test_a_close_publishes_one_row_a_metric_of_the_true_counts(tmp_path: Path) -> None:
    sizes = {"dau": 40, "wau": 400, "mau": 4000}
    with opened(
        settings_in(tmp_path, mau__epsilon=50, wau__epsilon=50, dau__epsilon=50, budget_epsilon=1000)
    ) as service:
        first, week, today = 0, 23, 29
        service.ingest([add(f"m{index}", first) for index in range(sizes["mau"] - sizes["wau"])])
        service.ingest([add(f"w{index}", week) for index in range(sizes["wau"] - sizes["dau"])])
        service.ingest([add(f"d{index}", today) for index in range(sizes["dau"])])
        service.close(day(0))
        service.close_through(day(28))
        rows = [json.loads(row) for row in service.close(day(29))]
    assert [row["metric"] for row in rows] == list(METRICS)
    for row in rows:
        one = service.settings.series[row["metric"]]
        assert (row["day"], row["window"], row["epsilon"]) == (day(29).isoformat(), one.window, 50)
        assert abs(row["estimate"] - sizes[row["metric"]]) <= 8 * row["std"] < 10
        assert row["ci_low"] < row["estimate"] < row["ci_high"]
        assert row["secure"] is True


def test_days_are_closed_in_order(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, first_day=FIRST)) as service:
        with pytest.raises(Refused, match="2026-01-01 is next") as refused:
            service.close(day(1))
        assert refused.value.kind == "not-next"
        service.close(day(0))
        for index in (2, 30):
            with pytest.raises(Refused, match="2026-01-02 is next"):
                service.close(day(index))
        with pytest.raises(Refused, match="lies before the first day, 2026-01-01"):
            service.close(day(-1))
        assert service.status().last == day(0)


def test_a_refused_close_says_nothing_about_the_data(tmp_path: Path) -> None:
    messages = []
    for number, users in enumerate((0, 50)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with opened(settings_in(folder, first_day=FIRST, horizon=1)) as service:
            if users:
                service.ingest([add(f"u{index}", 0) for index in range(users)])
            service.close(day(0))
            said = []
            for index in (-1, 1, 2, 400):
                with pytest.raises(Refused) as refused:
                    service.close(day(index))
                said.append(str(refused.value))
            messages.append(said)
    assert messages[0] == messages[1]


def test_the_first_day_is_the_one_that_is_closed_first(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        assert service.status().open_day is None
        with pytest.raises(Refused, match="the first one must be named"):
            service.close_through(day(3))
        service.close(day(5))
        assert (service.status().first, service.status().open_day) == (day(5), day(6))


def test_days_around_the_epoch(tmp_path: Path) -> None:
    epoch = date(1970, 1, 1)
    with opened(settings_in(tmp_path)) as service:
        service.close(epoch - timedelta(days=1))
        assert service.ingest([Operation("ann", -3)]).late == 1
        assert service.recent()[0].counts_from == epoch
        service.erase("ann")
        assert service.recent()[0].counts_from == epoch
        service.close(epoch)
        assert service.status().open_day == epoch + timedelta(days=1)


def test_the_horizon_ends(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, horizon=2)) as service:
        service.close(day(0))
        service.close(day(1))
        before = standing(service)
        with pytest.raises(Refused, match="covers 2 days") as refused:
            service.close(day(2))
        assert refused.value.kind == "horizon-over"
        with pytest.raises(Refused, match="ends after 2 days"):
            service.release("mau", day(2))
        assert standing(service) == before


def test_a_closed_day_is_published_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as service:
        service.ingest([add("ann", 0)])
        first = service.close(day(0))
        service.ingest([add("bob", 0), retract("ann", 0)])
        assert service.close(day(0)) == first
        second = service.close(day(1))
        budget = service.budget()
        assert [service.release(metric, day(0)) for metric in METRICS] == first
        assert len(service.charges()) == len(METRICS)
        assert budget.spent.epsilon == pytest.approx(1.2)
    with opened(settings) as service:
        assert service.close(day(0)) == first
        assert service.close(day(1)) == second
        assert service.budget() == budget


@each("metric", METRICS)
def test_what_is_not_published_is_refused(metric: str, tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        with pytest.raises(Refused, match="no day is closed yet"):
            service.release(metric, day(0))
        service.close(day(0))
        for index, kind in ((-1, "unknown-day"), (1, "open-day"), (400, "unknown-day")):
            with pytest.raises(Refused) as refused:
                service.release(metric, day(index))
            assert refused.value.kind == kind
        for method in (service.releases, service.truth):
            with pytest.raises(Refused, match="choose dau, wau, mau"):
                method("yau")


def test_a_budget_that_is_too_small_closes_nothing(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, budget_epsilon=1.1)) as service:
        service.ingest([add("ann", 0)])
        before = standing(service)
        for _ in range(2):
            with pytest.raises(BudgetExhausted):
                service.close(day(0))
        assert standing(service) == before
        assert service.charges() == []
        assert service.budget().spent.epsilon == 0


def test_laplace_is_charged_without_delta(tmp_path: Path) -> None:
    names = {"dau": "laplace", "wau": "laplace", "mau": "binary-tree-laplace"}
    mechanisms = {f"{metric}__mechanism": name for metric, name in names.items()}
    with opened(settings_in(tmp_path, horizon=30, budget_delta=0, **mechanisms)) as service:
        rows = [json.loads(row) for row in service.close(day(0))]
        rows.append(json.loads(service.fresh("mau", day(0), "x")))
        assert {row["delta"] for row in rows} == {0.0}
        assert {charge.guarantee.delta for charge in service.charges()} == {0.0}
        assert rows[-1]["mechanism"] == "laplace"
        assert service.budget().spent.epsilon == pytest.approx(1.7)


def test_a_user_is_frozen_after_w_bound_flips_and_fresh_releases_are_not(tmp_path: Path) -> None:
    unit = {f"{metric}__unit": "user" for metric in METRICS}
    with opened(nearly_exact(tmp_path, **unit)) as service:
        for index in range(4):
            service.ingest([add("ann", 2 * index)])
            service.close_through(day(2 * index + 1)) if index else [service.close(day(day_)) for day_ in (0, 1)]
        counts = service.truth("dau").counts
        assert [count.truth for count in counts] == [1, 0, 1, 0, 1, 0, 1, 0]
        assert [count.bounded for count in counts] == [1, 0, 0, 0, 0, 0, 0, 0]
        assert [round(json.loads(service.fresh("dau", day(index), "x"))["estimate"]) for index in (5, 6)] == [0, 1]


def test_a_series_without_an_end(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, horizon="unlimited", first_day=FIRST)) as service:
        assert service.close_through(day(3)) == 4
        assert json.loads(service.release("mau", day(3)))["horizon"] is None
        assert "however many days" in service.promise


def sparse(**others: Any) -> dict[str, Any]:
    return {f"{metric}__mechanism": "sparse-vector" for metric in METRICS} | others


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["user-day", "user"])
def test_sparse_vector_goes_on_from_day_to_day_and_freezes_nobody(unit: str, tmp_path: Path) -> None:
    units = {f"{metric}__unit": unit for metric in METRICS}
    settings = settings_in(tmp_path, **sparse(**units, mau__epsilon=80.0, mau__w_bound=2, budget_epsilon=90.0))
    everyone = [f"u{index}" for index in range(300)]
    for index in range(9):
        # A process of its own every day: what is held lies in the ledger.
        with opened(settings) as service:
            service.ingest([add(user, index) for user in everyone if index % 2 == 0])
            service.ingest([retract(user, index - 1) for user in everyone if index % 2])
            service.close(day(index))
    with opened(settings) as service:
        rows = {metric: [json.loads(row) for row in service.releases(metric)] for metric in METRICS}
        counts = service.truth("mau").counts
        assert "however often" in service.promise
    assert [len(series) for series in rows.values()] == [9] * 3
    assert {count.truth for count in counts} == {0, 300}
    assert [count.bounded for count in counts] == [count.truth for count in counts]
    assert {row["w_bound"] for series in rows.values() for row in series} == {None}
    looked = [(row, count) for row, count in zip(rows["mau"], counts, strict=True) if row["ci_low"] is not None]
    assert len(looked) >= 5
    assert all(abs(row["estimate"] - count.truth) < 60 for row, count in looked)


def test_what_is_promised_names_every_series(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        for part in ("(1.2, 3e-06)", "365 days", "DAU (0.3, 1e-06)", "WAU (0.4, 1e-06)", "MAU (0.5, 1e-06)"):
            assert part in service.promise
        assert set(service.promises) == set(METRICS)
