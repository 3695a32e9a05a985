"""Fresh releases of closed days."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dp.ledger import BudgetExhausted
from tests.laws import each
from tests.oracles.service_model import add, day, nearly_exact, retract, settings_in
from tests.workbench.service.common import opened, standing
from workbench.service import (
    Refused,
)

pytestmark = pytest.mark.usefixtures("database")


def test_a_fresh_release_is_charged_once_a_request(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, mau__fresh_epsilon=0.25)
    with opened(settings) as service:
        service.ingest([add(f"u{index}", 0) for index in range(20)])
        published = service.close(day(0))
        first = service.fresh("mau", day(0), "a")
        assert service.fresh("mau", day(0), "a") == first
        assert len(service.charges()) == 4
        second = service.fresh("mau", day(0), "b")
        assert second != first
        assert [charge.guarantee.epsilon for charge in service.charges()[3:]] == [0.25, 0.25]
        assert service.budget().spent.epsilon == pytest.approx(1.7)
        assert service.close(day(0)) == published
        # The key belongs to one metric and day.
        assert json.loads(service.fresh("dau", day(0), "a"))["metric"] == "dau"
    with opened(settings) as service:
        assert service.fresh("mau", day(0), "a") == first
        assert service.find_fresh("mau", day(0), "b") == second
        assert service.find_fresh("mau", day(0), "c") is None
    with opened(settings_in(tmp_path, mau__fresh_epsilon=0.1)) as service:
        assert service.fresh("mau", day(0), "a") == first, "an answer that was given stays, whatever is set later"


def test_a_retraction_moves_a_fresh_release_and_not_the_published_one(tmp_path: Path) -> None:
    with opened(nearly_exact(tmp_path)) as service:
        service.ingest([add(f"u{index}", 0) for index in range(30)])
        published = service.close(day(0))

        def fresh(key: str, metric: str = "dau") -> int:
            return round(json.loads(service.fresh(metric, day(0), key))["estimate"])

        assert fresh("1") == 30
        service.ingest([retract("u0", 0)])
        assert fresh("2") == 29
        service.erase("u1")
        assert fresh("3") == 28
        service.ingest([add("late", 0), add("other day", 1), add("earlier", -6)])
        assert (fresh("4"), fresh("4", "wau")) == (29, 30)
        service.ingest([retract("u2", 0, at=5)])
        assert fresh("5") == 29, "it does not count yet"
        assert service.close(day(0)) == published
        assert fresh("1") == 30


@pytest.mark.slow
def test_fresh_noise_is_that_of_its_row(tmp_path: Path) -> None:
    draws = 100
    with opened(settings_in(tmp_path, budget_epsilon=100, budget_delta=0.1)) as service:
        service.ingest([add(f"u{index}", 0) for index in range(500)])
        service.close(day(0))
        rows = [json.loads(service.fresh("dau", day(0), f"key-{index}")) for index in range(draws)]
    (deviation,) = {row["std"] for row in rows}
    errors = [row["estimate"] - 500 for row in rows]
    # ε = 0.3 and δ = 1e-6 need a deviation of 13.1 for one user (the exact curve of Gaussian noise).
    assert deviation == pytest.approx(13.1, abs=0.2)
    assert abs(sum(errors) / draws) < 6 * deviation / draws**0.5
    assert 0.5 < (sum(error**2 for error in errors) / draws) ** 0.5 / deviation < 1.6


@pytest.mark.parametrize("key", ["", "a b", "a/b", "x" * 65, "ü", "a\n", "../x"])
def test_a_request_needs_a_plain_key(key: str, tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.close(day(0))
        before = standing(service)
        with pytest.raises(Refused, match="request id"):
            service.fresh("mau", day(0), key)
        assert standing(service) == before


def test_an_exhausted_budget_changes_nothing(tmp_path: Path) -> None:
    with opened(settings_in(tmp_path, budget_epsilon=1.6)) as service:
        service.ingest([add("ann", 0), add("bob", 1)])
        service.close(day(0))
        before = standing(service)
        with pytest.raises(BudgetExhausted):
            service.fresh("mau", day(0), "x")
        assert standing(service) == before
        service.fresh("wau", day(0), "x")
        service.close(day(1))
        assert service.budget().remaining.epsilon == 0


@each("index", [-1, 1, 500])
def test_only_a_closed_day_has_a_fresh_release(index: int, tmp_path: Path) -> None:
    with opened(settings_in(tmp_path)) as service:
        service.close(day(0))
        with pytest.raises(Refused):
            service.fresh("dau", day(index), "x")
        assert len(service.charges()) == 3


def test_one_request_from_many_threads_is_charged_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with opened(settings) as one, opened(settings) as other:
        one.close(day(0))
        with ThreadPoolExecutor(8) as pool:
            rows = set(pool.map(lambda number: (one, other)[number % 2].fresh("dau", day(0), "same"), range(16)))
        assert len(rows) == 1
        assert len(one.charges()) == 4
