"""The next period over HTTP: what it answers, and that every page of rows joins."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.workbench.api.common import NOW, close, local, problem_of, settings_in, users
from workbench.api.app import create_app
from workbench.service import open_service

FIRST = date(2026, 5, 29)
DAYS = [(FIRST + timedelta(days=index)).isoformat() for index in range(4)]
SETTINGS = (("first_day", DAYS[0]), ("horizon", "2"))


@pytest.mark.slow
def test_the_next_period_is_refused_said_charged_and_served(tmp_path: Path) -> None:
    with open_service(settings_in(tmp_path, *SETTINGS), lambda: NOW) as service, local(create_app(service)) as client:
        problem_of(client.post("/renewal?confirm=true"), 409, "not-over")
        client.post("/events", json=users(5, DAYS[0])).raise_for_status()
        close(client, *DAYS[:1])
        problem_of(client.post("/renewal?confirm=true"), 409, "not-over")
        close(client, *DAYS[1:2])
        assert "dpdau renew" in problem_of(client.post(f"/days/{DAYS[2]}/close"), 409, "horizon-over")["detail"]
        before = client.get("/budget").json()
        for query in ("", "?confirm=false", f"?from={DAYS[2]}"):
            detail = problem_of(client.post(f"/renewal{query}"), 409, "unconfirmed-renewal")["detail"]
            assert f"begins on {DAYS[2]}" in detail
            assert "ε 1.2 and δ 3e-06 are charged to the budget 'live'" in detail
        problem_of(client.post(f"/renewal?confirm=true&from={DAYS[3]}"), 409, "not-next")
        problem_of(client.post("/renewal?confirm=true&from=tomorrow"), 422, "bad-request")
        assert client.get("/budget").json() == before
        for _ in range(2):
            made = client.post(f"/renewal?confirm=true&from={DAYS[2]}").json()
            assert (made["period"], made["first_day"], made["last_day"], made["epsilon"]) == (2, DAYS[2], DAYS[3], 1.2)
        close(client, *DAYS[2:])
        assert client.post(f"/renewal?confirm=true&from={DAYS[2]}").json() == made
        assert len(client.get("/budget").json()["charges"]) == 6


@pytest.mark.slow
def test_rows_of_both_periods_are_one_series(tmp_path: Path) -> None:
    with open_service(settings_in(tmp_path, *SETTINGS), lambda: NOW) as service, local(create_app(service)) as client:
        close(client, *DAYS[:2])
        client.post("/renewal?confirm=true").raise_for_status()
        close(client, *DAYS[2:])
        assert [row["day"] for row in client.get("/releases/mau").json()] == DAYS
        assert [row["day"] for row in client.get("/releases/mau?format=json").json()] == DAYS
        assert [line.split(",")[2] for line in client.get("/releases/mau?format=csv").text.splitlines()[1:]] == DAYS
        inside = client.get(f"/releases/wau?from={DAYS[1]}&to={DAYS[2]}").json()
        assert [row["day"] for row in inside] == DAYS[1:3]
        for text in DAYS:
            assert client.get(f"/dau/{text}").json()["day"] == text
        assert client.get("/dau").json()["day"] == DAYS[-1]
        config = client.get("/config").json()
        assert [one["first_day"] for one in config["periods"]] == [DAYS[0], DAYS[2]]
        assert "2 periods together" in config["promise"]
        assert json.dumps(config["first_day"]) == f'"{DAYS[0]}"'
        problem_of(client.get("/dau/2026-06-03"), 404, "unknown-day")
