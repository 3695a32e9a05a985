"""The HTTP face over a real store and a real ledger."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from concurrent.futures import Future
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from tests.laws import each
from tests.oracles.service_model import FIELDS
from tests.oracles.store_contents import rows_naming
from tests.workbench.api.common import NOW, close, local, problem_of, settings_in, users
from workbench.api.app import create_app
from workbench.service import Service, open_service

# Events


def test_one_event_is_stored_and_answered(client: TestClient, service: Service) -> None:
    response = client.post("/event", json={"user": "ann", "day": "2026-01-01"})
    assert (response.status_code, response.json()) == (200, {"accepted": 1, "late": 0, "seq": 1})
    assert service.preview(date(2026, 1, 1))["dau"].truth == 1


def test_an_event_without_a_day_is_about_today(client: TestClient, service: Service) -> None:
    client.post("/event", json={"user": "ann"}).raise_for_status()
    assert service.recent()[0].day == NOW.date()


def test_a_timestamp_becomes_a_day_in_the_services_zone(tmp_path: Path) -> None:
    with open_service(settings_in(tmp_path, ("timezone", "Asia/Tokyo")), lambda: NOW) as service:
        client = local(create_app(service))
        sent = ["2026-01-01T20:00:00Z", "2026-01-01T20:00:00", "2026-01-01T00:30:00+09:00"]
        client.post("/events", json=[{"user": "ann", "timestamp": one} for one in sent]).raise_for_status()
        assert [one.day for one in service.recent()][::-1] == [date(2026, 1, 2), date(2026, 1, 1), date(2026, 1, 1)]


def test_json_lines_and_json_say_the_same(client: TestClient, service: Service) -> None:
    lines = "\n".join(json.dumps(one) for one in users(5))
    response = client.post("/events", content=lines, headers={"Content-Type": "application/x-ndjson; charset=utf-8"})
    assert response.json() == {"accepted": 5, "late": 0, "seq": 5}
    client.post("/events", json=users(5)).raise_for_status()
    assert service.preview(date(2026, 1, 1))["dau"].truth == 5


def test_whole_numbers_are_users_too(client: TestClient, service: Service) -> None:
    big = 2**63 + 1
    client.post("/events", json=[{"user": big}, {"user": str(big)}, {"user": big + 1}]).raise_for_status()
    assert service.preview(NOW.date())["dau"].truth == 2


def test_late_events_are_reported_and_count_from_the_open_day(client: TestClient, service: Service) -> None:
    client.post("/events", json=users(3)).raise_for_status()
    close(client, "2026-01-01")
    response = client.post("/events", json=[*users(1), {"user": "new", "day": "2026-01-01"}, {"user": "x"}])
    assert response.json() == {"accepted": 3, "late": 2, "seq": 6}
    assert service.truth("mau").counts[0].truth == 3
    assert service.preview(date(2026, 1, 2))["mau"].truth == 4


@each(
    ("event", "reason"),
    [
        ({"usr": "ann"}, "usr"),
        ({"user": "ann", "dya": "2026-01-01"}, "dya"),
        ({"user": None}, "user"),
        ({"user": 1.5}, "user"),
        ({"user": True}, "user"),
        ({"user": "ann", "day": "2026-02-30"}, "day"),
        ({"user": "ann", "day": "01.02.2026"}, "day"),
        ({"user": "ann", "day": "2026-01-01", "timestamp": "2026-01-01T00:00:00Z"}, "both a day and a timestamp"),
        ({"user": "ann", "op": "delete"}, "op"),
        ({"user": "ann", "op": "erase", "day": "2026-01-01"}, "an erasure has no day"),
        ({"user": ""}, "user"),
        ({"user": "a\0b"}, "NUL"),
        ({"user": "x" * 513}, "512"),
        ({"user": "ann", "day": "2026-06-02"}, "after today"),
        ({"user": "ann", "day": "1800-01-01"}, "1900"),
        ({"user": "ann", "timestamp": "9999-12-31T23:59:59-14:00"}, "timestamp"),
        ({"user": "ann", "timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp"),
    ],
)
def test_a_bad_event_refuses_the_whole_body_by_name(
    client: TestClient, service: Service, event: dict[str, Any], reason: str
) -> None:
    content = problem_of(client.post("/events", json=[*users(2), event, *users(1)]), 422, "bad-event")
    assert [fault["index"] for fault in content["events"]] == [2]
    assert reason in content["events"][0]["reason"]
    problem_of(client.post("/event", json=event), 422, "bad-event")
    assert service.status().operations == 0


def test_every_bad_event_is_named(client: TestClient) -> None:
    content = problem_of(client.post("/events", json=[{"user": 1.5}, *users(1), {}, {"x": 1}]), 422, "bad-event")
    assert [fault["index"] for fault in content["events"]] == [0, 2, 3]
    lines = b'{"user": "a"}\n\n{"user": 1.5}\nnonsense\n'
    response = client.post("/events", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert [fault["index"] for fault in problem_of(response, 422, "bad-event")["events"]] == [1, 2]


@each("body", [b"", b"{", b"\xff\xfe", b'{"user": "ann"}', b"3", b'[{"user": "ann"]'])
def test_a_body_that_is_no_list_of_events_is_explained(client: TestClient, service: Service, body: bytes) -> None:
    problem_of(client.post("/events", content=body, headers={"Content-Type": "application/json"}), 422, "bad-event")
    assert service.status().operations == 0


def test_a_body_too_large_is_refused_before_it_is_read(client: TestClient) -> None:
    problem_of(client.post("/events", content=b" " * (2**25 + 1)), 413, "http")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\nb", "\x85", "\u2028", "/", "?x#y", " "])
def test_the_user_whom_a_path_names_is_erased_and_nobody_else(client: TestClient, service: Service, end: str) -> None:
    names = ["a", f"a{end}", f"a{end}{end}"]
    client.post("/events", json=[{"user": name} for name in names]).raise_for_status()
    client.delete(f"/users/{quote(names[1], safe='')}").raise_for_status()
    service.settled()
    assert [rows_naming(service.settings, name)["arrived"] for name in names] == [int(end != ""), 0, int(end != "")]


def test_an_erased_user_is_gone(client: TestClient, service: Service) -> None:
    client.post("/events", json=[*users(3), {"user": "a/b c", "day": "2026-01-01"}]).raise_for_status()
    assert client.delete("/users/a%2Fb%20c").json() == {"erased": True}
    assert client.delete("/users/nobody").json() == {"erased": True}
    client.post("/event", json={"user": "u0", "op": "erase"}).raise_for_status()
    assert service.preview(date(2026, 1, 1))["mau"].truth == 2


def test_requests_whose_write_fails_say_so_and_the_next_one_works(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = local(create_app(service), raise_server_exceptions=False)

    def failing(*batches: Any) -> Future[Any]:
        failed: Future[Any] = Future()
        failed.set_exception(sqlite3.OperationalError("disk I/O error"))
        return failed

    with monkeypatch.context() as broken:
        broken.setattr(service, "submit", failing)
        problem_of(client.post("/events", json=users(2)), 503, "unavailable")
    assert client.post("/events", json=users(2)).json()["seq"] == 2


# Days and releases


@pytest.mark.slow
def test_closing_publishes_every_series_with_all_fields(client: TestClient) -> None:
    client.post("/events", json=users(50)).raise_for_status()
    rows = client.post("/days/2026-01-01/close?confirm=true").json()
    assert [row["metric"] for row in rows] == ["dau", "wau", "mau"]
    assert all(set(row) == FIELDS and row["secure"] for row in rows)
    assert [(row["window"], row["epsilon"], row["delta"], row["mechanism"]) for row in rows] == [
        (1, 0.3, 1e-6, "gaussian"), (7, 0.4, 1e-6, "damped-square-root"), (30, 0.5, 1e-6, "damped-square-root"),
    ]  # fmt: skip
    assert all(row["ci_low"] < row["estimate"] < row["ci_high"] for row in rows)


def test_a_published_answer_comes_back_byte_for_byte(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with open_service(settings, lambda: NOW) as service:
        client = local(create_app(service))
        client.post("/events", json=users(20)).raise_for_status()
        closed = client.post("/days/2026-01-01/close?confirm=true").content
        first = {path: client.get(path).content for path in ("/dau/2026-01-01", "/wau/2026-01-01", "/mau/2026-01-01")}
        client.post("/events", json=users(20, op="-")).raise_for_status()
        close(client, "2026-01-02")
    with open_service(settings, lambda: NOW + timedelta(days=3)) as service:
        client = local(create_app(service))
        assert {path: client.get(path).content for path in first} == first
        assert client.get("/mau?day=2026-01-01").content == first["/mau/2026-01-01"]
        assert client.post("/days/2026-01-01/close").content == closed
        assert client.get("/mau").json()["day"] == "2026-01-02"
        series = client.get("/releases/mau").json()
        assert [row["day"] for row in series] == ["2026-01-01", "2026-01-02"]
        assert series[0] == json.loads(first["/mau/2026-01-01"])
        assert client.get("/budget").json()["budget"]["epsilon_spent"] == 1.2


def test_unknown_and_open_days_say_what_to_do(client: TestClient) -> None:
    problem_of(client.get("/mau"), 409, "open-day")
    problem_of(client.get("/mau/2026-01-01"), 409, "open-day")
    close(client, "2026-01-02")
    assert "2026-01-03 is the next" in problem_of(client.get("/mau/2026-01-05"), 409, "open-day")["detail"]
    assert "begins on 2026-01-02" in problem_of(client.get("/dau/2026-01-01"), 404, "unknown-day")["detail"]
    problem_of(client.get("/dau/2027-01-02"), 404, "unknown-day")
    problem_of(client.get("/releases/yau"), 404, "unknown-metric")
    assert "2026-01-03 is next" in problem_of(client.post("/days/2026-01-04/close"), 409, "not-next")["detail"]
    problem_of(client.post("/days/2026-06-02/close"), 409, "not-next")
    for wrong in ("2026-1-3", "20260103", "today", "0", "2026-02-30"):
        problem_of(client.get(f"/mau/{wrong}"), 422, "bad-request")
        problem_of(client.get(f"/mau?day={wrong}"), 422, "bad-request")
        problem_of(client.post(f"/days/{wrong}/close"), 422, "bad-request")
    problem_of(client.get("/mau/2026-01-02?fresh=perhaps"), 422, "bad-request")
    problem_of(client.get("/nowhere"), 404, "http")
    problem_of(client.post("/mau/2026-01-02"), 405, "http")


def test_a_day_to_come_is_not_closed(client: TestClient) -> None:
    problem_of(client.post("/days/2026-06-02/close"), 422, "future-day")
    assert client.get("/budget").json()["charges"] == []
    close(client, "2026-06-01")


def test_fresh_releases_move_and_are_charged_one_by_one(client: TestClient) -> None:
    client.post("/events", json=users(2000)).raise_for_status()
    close(client, "2026-01-01")
    published = client.get("/mau/2026-01-01")
    client.post("/events", json=users(1500, op="-")).raise_for_status()
    fresh = client.get("/mau/2026-01-01?fresh=true")
    row = fresh.json()
    assert set(row) == FIELDS
    assert abs(row["estimate"] - 500) < 6 * row["std"]
    assert (row["epsilon"], row["horizon"], row["budget_remaining"]) == (0.5, 1, 1.3)
    again = client.get("/mau/2026-01-01?fresh=true", headers={"Idempotency-Key": fresh.headers["idempotency-key"]})
    assert again.content == fresh.content
    assert client.get("/budget").json()["budget"]["epsilon_spent"] == 1.7
    other = client.get("/mau?day=2026-01-01&fresh=true")
    assert other.content != fresh.content
    assert client.get("/budget").json()["budget"]["epsilon_spent"] == 2.2
    assert client.get("/mau/2026-01-01").content == published.content
    assert len(client.get("/budget").json()["charges"]) == 5
    problem_of(client.get("/mau/2026-01-02?fresh=true"), 409, "open-day")
    problem_of(client.get("/mau?fresh=true", headers={"Idempotency-Key": "a b"}), 422, "bad-request")


def test_an_exhausted_budget_says_what_is_left_and_releases_nothing(client: TestClient) -> None:
    close(client, "2026-01-01")
    for _ in range(3):
        client.get("/mau?fresh=true").raise_for_status()
    before = client.get("/budget").json()
    content = problem_of(client.get("/mau?fresh=true"), 403, "budget-exhausted")
    assert content["spent"] == {"epsilon": 2.7, "delta": 6e-6}
    assert content["remaining"] == {"epsilon": 0.3, "delta": 4e-6}
    assert content["requested"] == {"epsilon": 0.5, "delta": 1e-6}
    assert client.get("/budget").json() == before
    client.get("/dau?fresh=true").raise_for_status()
    close(client, "2026-01-02")


def test_a_budget_too_small_for_the_horizon_closes_nothing(tmp_path: Path) -> None:
    with open_service(settings_in(tmp_path, ("budget_epsilon", "1.1")), lambda: NOW) as service:
        client = local(create_app(service))
        content = problem_of(client.post("/days/2026-01-01/close?confirm=true"), 403, "budget-exhausted")
        assert content["title"] == "The budget is too small"
        assert "exhausted" not in content["detail"]
        assert "would not suffice even if nothing were spent: raise budget_epsilon" in content["detail"]
        assert service.status().last is None
        assert client.get("/budget").json()["charges"] == []


# Operation


def test_config_says_what_is_promised_to_whom(client: TestClient, tmp_path: Path) -> None:
    config = client.get("/config").json()
    assert "(1.2, 3e-06)-differential privacy" in config["promise"]
    assert "one user's activity on one day" in config["promise"]
    assert "365 days" in config["promise"]
    assert "(0.5, 1e-06)" in config["promises"]["mau"]
    assert config["settings"]["mau"]["epsilon"] == 0.5
    assert str(tmp_path) not in json.dumps(config)


def test_health_answers_without_the_data(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_health_means_that_the_store_can_be_written(service: Service) -> None:
    client = local(create_app(service), raise_server_exceptions=False)
    service._write(lambda store: store.connection.exec_driver_sql("PRAGMA query_only = ON"))
    problem_of(client.get("/healthz"), 503, "unavailable")


def test_metrics_count_what_happened(client: TestClient) -> None:
    client.post("/events", json=[*users(4), *users(1, op="-")]).raise_for_status()
    close(client, "2026-01-01", "2026-01-01")
    client.post("/events", json=users(2)).raise_for_status()
    fresh = client.get("/mau?fresh=true").headers["idempotency-key"]
    client.get("/mau?fresh=true", headers={"Idempotency-Key": fresh})
    client.delete("/users/u0")
    client.get("/mau/2026-05-01")
    client.get("/nowhere")
    text = client.get("/metrics").text
    values = {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")
    }
    assert values['dpdau_events_total{op="+"}'] == 6
    assert values['dpdau_events_total{op="-"}'] == 1
    assert values['dpdau_events_total{op="erase"}'] == 1
    assert values["dpdau_late_events_total"] == 2
    assert values['dpdau_releases_total{kind="published",metric="mau"}'] == 1
    assert values['dpdau_releases_total{kind="fresh",metric="mau"}'] == 1
    assert values['dpdau_budget{budget="live",parameter="epsilon",part="spent"}'] == 1.7
    assert values['dpdau_budget{budget="live",parameter="epsilon",part="left"}'] == 1.3
    assert values['dpdau_http_requests_total{method="POST",route="/events",status="200"}'] == 2
    assert values['dpdau_http_requests_total{method="GET",route="/mau/{day}",status="409"}'] == 1
    assert values['dpdau_http_requests_total{method="GET",route="other",status="404"}'] == 1
    assert values['dpdau_http_request_seconds_count{method="POST",route="/events"}'] == 2
    assert "2026-05-01" not in text


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (sqlite3.OperationalError("secret path"), 503, "unavailable"),
        (sqlite3.DatabaseError("secret path"), 503, "unavailable"),
        (sqlite3.IntegrityError("secret path"), 500, "failure"),
        (RuntimeError("secret path"), 500, "failure"),
    ],
)
def test_a_failure_is_counted_and_tells_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, kind: str
) -> None:
    def broken(metric: str, day: date) -> str:
        raise error

    monkeypatch.setattr(service, "release", broken)
    client = local(create_app(service), raise_server_exceptions=False)
    assert "secret path" not in problem_of(client.get("/mau/2026-01-01"), status, kind)["detail"]
    text = client.get("/metrics").text
    assert 'dpdau_failures_total{route="/mau/{day}"} 1.0' in text
    assert f'dpdau_http_requests_total{{method="GET",route="/mau/{{day}}",status="{status}"}} 1.0' in text


def test_the_interface_describes_itself_with_examples(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    wanted = {
        ("post", "/event"), ("post", "/events"), ("delete", "/users/{user}"), ("post", "/days/{day}/close"),
        ("get", "/dau/{day}"), ("get", "/wau/{day}"), ("get", "/mau/{day}"), ("get", "/mau"), ("get", "/budget"),
        ("get", "/config"), ("get", "/healthz"), ("get", "/livez"), ("get", "/readyz"), ("get", "/metrics"),
    }  # fmt: skip
    found = {(method, path) for path, item in described["paths"].items() for method in item}
    assert wanted <= found
    bodies = described["paths"]["/events"]["post"]["requestBody"]["content"]
    assert set(bodies) == {"application/json", "application/x-ndjson"}
    example = described["paths"]["/mau/{day}"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    assert set(example) == FIELDS
    client.post("/events", json=bodies["application/json"]["example"]).raise_for_status()
    sent = bodies["application/x-ndjson"]["example"]
    client.post("/events", content=sent, headers={"Content-Type": "application/x-ndjson"}).raise_for_status()


def test_the_description_page_needs_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


def test_answers_come_after_the_commit(service: Service, tmp_path: Path) -> None:
    app = create_app(service)

    async def post(number: int) -> int:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/event",
            "headers": [(b"host", b"localhost")],
            "query_string": b"",
            "http_version": "1.1",
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b'{"user": "u%d"}' % number, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                # Another connection sees the row before the answer is under way.
                with sqlite3.connect(tmp_path / "s") as other:
                    sent.append({"rows": other.execute("SELECT arrived FROM standing").fetchone()[0]})
                other.close()
            elif message["type"] == "http.response.body":
                sent.append(json.loads(message["body"]))

        await app(scope, receive, send)
        assert sent[0]["rows"] >= sent[1]["seq"]
        return int(sent[1]["seq"])

    async def many() -> list[int]:
        return await asyncio.gather(*(post(number) for number in range(40)))

    assert sorted(asyncio.run(many())) == list(range(1, 41))
