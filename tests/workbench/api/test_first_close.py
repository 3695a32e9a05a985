"""The first close on a day that looks like a mistake: refused until it is confirmed, and nothing is spent."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workbench.api.common import NOW, local, problem_of, settings_in
from workbench.api.app import create_app
from workbench.service import Refused, load_settings, open_service
from workbench.service.first_close import FAR_DAYS, check_intended

TODAY = NOW.date()
ENDS = (TODAY - timedelta(days=3), TODAY)


def report(client: object, days: tuple[date, ...]) -> None:
    client.post("/events", json=[{"user": "ann", "day": str(day)} for day in days]).raise_for_status()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("reported", "day", "reason"),
    [
        (ENDS, date(1950, 1, 1), "more than 7 days from today"),
        (ENDS, date(2025, 6, 1), "more than 7 days from today"),
        (ENDS, TODAY - timedelta(days=4), "outside the days that the operations are about"),
        ((), TODAY, "nothing has arrived yet"),
        ((date(1950, 1, 1), TODAY), date(1950, 1, 1), "more than 7 days from today"),
        ((TODAY - timedelta(days=1),), TODAY, "outside the days"),
    ],
)
def test_a_first_day_that_looks_like_a_mistake_needs_a_confirmation(
    tmp_path: Path, reported: tuple[date, ...], day: date, reason: str
) -> None:
    with open_service(settings_in(tmp_path), lambda: NOW) as service, local(create_app(service)) as client:
        if reported:
            report(client, reported)
        before = service.status(), service.charges(), service.budgets()
        for query in ("", "?confirm=false"):
            detail = problem_of(client.post(f"/days/{day}/close{query}"), 409, "doubtful-first-day")["detail"]
        assert reason in detail
        last = day + timedelta(days=364)
        for fixed in (f"the first day {day}", f"365 days to {last}", "DAU ε 0.3 and δ 1e-06", "ε 1.2", "budget 'live'"):
            assert fixed in detail
        assert "confirm=true" in detail
        assert (service.status(), service.charges(), service.budgets()) == before
        assert len(client.post(f"/days/{day}/close?confirm=true").json()) == 3
        # Later days need none.
        assert client.post(f"/days/{day}/close").is_success
        assert day == TODAY or client.post(f"/days/{day + timedelta(days=1)}/close").is_success


def test_a_first_day_among_those_of_the_log_needs_none(tmp_path: Path) -> None:
    with open_service(settings_in(tmp_path), lambda: NOW) as service, local(create_app(service)) as client:
        report(client, ENDS)
        assert client.post(f"/days/{ENDS[0] + timedelta(days=1)}/close").is_success


def test_a_first_day_that_the_settings_name_was_chosen(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, ("first_day", "2024-01-01"))
    with open_service(settings, lambda: NOW) as service, local(create_app(service)) as client:
        problem_of(client.post("/days/1950-01-01/close"), 409, "not-next")
        assert client.post("/days/2024-01-01/close").is_success


def test_a_replay_may_begin_on_any_day_of_its_log(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, ("future_days", "true"))
    with open_service(settings, lambda: NOW) as service, local(create_app(service)) as client:
        report(client, (date(2020, 1, 1), date(2030, 1, 1)))
        problem_of(client.post("/days/2019-12-31/close"), 409, "doubtful-first-day")
        problem_of(client.post("/days/2030-01-02/close"), 409, "doubtful-first-day")
        assert client.post("/days/2030-01-01/close").is_success


def test_an_interrupted_first_close_is_finished_without_a_confirmation(tmp_path: Path) -> None:
    far = date(2026, 1, 1)
    with open_service(settings_in(tmp_path), lambda: NOW) as service, local(create_app(service)) as client:
        with service.account.open() as ledger:
            service.account.open_budget(ledger)
            service.account.charge(ledger, service.account.period_by_settings(1, far))
        assert client.post(f"/days/{far}/close").is_success


days = st.dates(date(1900, 1, 1), date(2200, 12, 31))


@given(days, days, st.none() | st.tuples(days, days), st.booleans())
def test_exactly_far_days_and_days_outside_the_log_are_doubted(
    day: date, today: date, reported: tuple[date, date] | None, replay: bool
) -> None:
    near = replay or (today - timedelta(days=FAR_DAYS)) <= day <= (today + timedelta(days=FAR_DAYS))
    inside = reported is not None and min(reported) <= day <= max(reported)
    span = None if reported is None else (min(reported), max(reported))
    settings = load_settings(None, {}, [("future_days", str(replay).lower())])
    try:
        check_intended(settings, today, span, day)
        refused = False
    except Refused:
        refused = True
    assert refused == (not (near and inside))


def test_a_second_store_on_one_budget_needs_a_confirmation(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with open_service(settings, lambda: NOW) as service, local(create_app(service)) as client:
        report(client, ENDS)
        client.post(f"/days/{TODAY}/close").raise_for_status()
    for lost in (settings.store_path, settings.key_path):
        lost.unlink()
    with open_service(settings, lambda: NOW) as service, local(create_app(service)) as client:
        report(client, ENDS)
        detail = problem_of(client.post(f"/days/{TODAY}/close"), 409, "doubtful-first-day")["detail"]
        assert "put it back" in detail
        assert len(service.charges()) == 3
        client.post(f"/days/{TODAY}/close?confirm=true").raise_for_status()
        assert len(service.charges()) == 6
