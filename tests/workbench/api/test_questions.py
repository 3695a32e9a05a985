"""Questions over HTTP and gRPC: events that name segments, and flows, weeks and segments that are read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pyarrow.parquet as parquet
import pytest
from fastapi.testclient import TestClient

from tests.workbench.api.common import NOW, close, local, problem_of, settings_in
from tests.workbench.rpc.common import calling, refused, serving
from workbench.api.app import create_app
from workbench.rpc import dpdau_pb2 as pb
from workbench.service import Service, open_service

DAYS = [f"2026-01-0{index}" for index in (1, 2, 3, 4)]
GIVEN = (
    ("first_day", DAYS[0]),
    ("budget_epsilon", "1000"),
    ("by.platform.kind", "last"),
    ("by.platform.values", "ios,web"),
    ("by.country.kind", "any:2"),
    ("by.country.values", "GB,DE"),
    ("questions.mau/flows.epsilon", "90"),
    ("questions.mau/platform.epsilon", "90"),
    ("questions.week/country.epsilon", "90"),
)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with open_service(settings_in(tmp_path, *GIVEN), lambda: NOW) as opened:
        yield opened


def events(number: int, day: str = DAYS[0], op: str = "+", **segments: str) -> list[dict[str, Any]]:
    named = {"segments": segments} if segments else {}
    return [{"user": f"u{index}", "day": day, "op": op, **named} for index in range(number)]


def estimates(rows: list[dict[str, Any]]) -> dict[Any, float]:
    return {row["segment"] or row["question"]: row["estimate"] for row in rows}


def near(rows: list[dict[str, Any]], **counts: int) -> bool:
    return estimates(rows) == pytest.approx(counts, abs=4)


@pytest.fixture
def filled(client: TestClient) -> TestClient:
    """60 users on ios and in two countries, 20 of them the day after on the web, and 10 who say nothing."""
    client.post("/events", json=events(60, platform="ios", country="GB")).raise_for_status()
    client.post("/events", json=events(60, country="DE")).raise_for_status()
    silent = [{"user": f"s{index}", "day": DAYS[0]} for index in range(10)]
    client.post("/events", json=silent).raise_for_status()
    client.post("/events", json=events(20, DAYS[1], platform="web", country="FR")).raise_for_status()
    close(client, *DAYS)
    return client


def test_segments_are_read_by_day(filled: TestClient) -> None:
    # Of the first day the last that arrived counts, and it says nothing of a platform.
    assert near(filled.get(f"/mau/{DAYS[0]}?by=platform").json(), ios=0, web=0, other=70)
    assert near(filled.get(f"/mau?day={DAYS[1]}&by=platform").json(), ios=0, web=20, other=50)
    assert filled.get("/mau?by=platform").text == filled.get(f"/mau/{DAYS[-1]}?by=platform").text
    assert near(filled.get("/week?by=country").json(), GB=60, DE=60, other=30)
    assert filled.get("/week?by=country").text == filled.get("/week/2026-01-04?by=country").text


def test_flows_are_read_by_day(filled: TestClient) -> None:
    rows = filled.get(f"/mau/flows/{DAYS[0]}").json()
    assert near(rows, **{"mau/new": 70, "mau/returning": 0, "mau/gone": 0})
    assert near(filled.get("/mau/flows").json(), **{"mau/new": 0, "mau/returning": 0, "mau/gone": 0})


def test_a_retraction_takes_back_what_it_names(client: TestClient) -> None:
    client.post("/events", json=events(30, platform="ios")).raise_for_status()
    client.post("/events", json=events(30, platform="web")).raise_for_status()
    client.post("/events", json=events(20, op="-", platform="web")).raise_for_status()
    client.post("/events", json=events(5, op="-")).raise_for_status()
    close(client, DAYS[0])
    assert near(client.get("/mau?by=platform").json(), ios=15, web=10, other=0)


def test_rows_of_a_close_are_those_that_are_read(filled: TestClient) -> None:
    rows = filled.post(f"/days/{DAYS[-1]}/close").json()
    assert [row.get("metric") for row in rows[:3]] == ["dau", "wau", "mau"]
    read = [*filled.get("/mau/flows").json(), *filled.get("/mau?by=platform").json()]
    assert rows[3:] == [*read, *filled.get("/week?by=country").json()]


@pytest.mark.parametrize("form", ["", "json", "csv", "parquet"])
def test_all_rows_of_a_question_can_be_read(filled: TestClient, form: str) -> None:
    content = filled.get(f"/releases/mau/platform?from={DAYS[2]}" + (f"&format={form}" if form else "")).content
    rows: list[dict[str, Any]]
    if form == "parquet":
        rows = parquet.read_table(io.BytesIO(content)).to_pylist()
    else:
        rows = list(csv.DictReader(io.StringIO(content.decode()))) if form == "csv" else json.loads(content)
    assert [(str(row["day"]), row["segment"]) for row in rows] == [
        (day, segment) for day in DAYS[2:] for segment in ("ios", "web", "other")
    ]
    assert {row["question"] for row in rows} == {"mau"}
    assert "metric" not in rows[0]


def test_an_empty_table_has_the_columns_of_a_full_one(client: TestClient) -> None:
    empty = client.get("/releases/mau/flows?format=csv").text.splitlines()
    client.post("/events", json=events(2)).raise_for_status()
    close(client, DAYS[0])
    assert empty == client.get("/releases/mau/flows?format=csv").text.splitlines()[:1]


def test_gauges_hold_the_last_rows_of_every_question(filled: TestClient) -> None:
    text = filled.get("/metrics/published").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    for row in filled.get("/mau?by=platform").json():
        labels = f'breakdown="platform",question="mau",segment="{row["segment"]}"'
        assert float(values[f"dpdau_published_question_estimate{{{labels}}}"]) == row["estimate"]
    assert 'dpdau_published_question_estimate{breakdown="",question="mau/gone",segment=""}' in values
    assert 'dpdau_published_estimate{metric="mau"}' in values


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ({"Jane Doe": "x"}, "segments name a column that no question asks for; platform, country can be named"),
        ({"platform": 3}, "Expected `str`, got `int`"),
        ({"platform": None}, "Expected `str`, got `null`"),
        (["ios"], "Expected `object | null`, got `array`"),
        ("ios", "Expected `object | null`, got `str`"),
    ],
)
def test_segments_that_cannot_be_are_refused(client: TestClient, segments: object, said: str) -> None:
    event = {"user": "ann", "day": DAYS[0], "segments": segments}
    for path, body in (("/event", event), ("/events", [event])):
        told = problem_of(client.post(path, json=body), 422, "bad-event")
        assert said in told["detail"]
        assert "Jane" not in told["detail"]
    erasing = {"user": "ann", "op": "erase", "segments": {"platform": "ios"}}
    told = problem_of(client.post("/event", json=erasing), 422, "bad-event")
    assert "an erasure has no segments" in told["detail"]
    partial = client.post("/events?on_error=partial", json=[event, {"user": "bob", "day": DAYS[0], "segments": {}}])
    assert (partial.json()["accepted"], partial.json()["rejected"]) == (1, 1)


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/mau?by=country", 404, "unknown-metric"), ("/week", 404, "unknown-metric"),
        ("/month/2026-01-31", 404, "unknown-metric"), ("/dau/flows", 404, "unknown-metric"),
        ("/releases/mau/x", 404, "unknown-metric"), ("/mau/flows/2026-01-05", 409, "open-day"),
        ("/mau/flows/2025-12-31", 404, "unknown-day"), ("/week/2026-01-03?by=country", 404, "unknown-day"),
        ("/mau/flows/today", 422, "bad-request"), ("/mau?by=platform&fresh=true", 422, "bad-request"),
    ],
)  # fmt: skip
def test_what_is_not_published_is_refused(filled: TestClient, path: str, status: int, kind: str) -> None:
    problem_of(filled.get(path), status, kind)


def test_before_the_first_close_a_day_is_open(client: TestClient) -> None:
    for path in ("/mau/flows", "/mau?by=platform", f"/week/{DAYS[-1]}?by=country"):
        problem_of(client.get(path), 409, "open-day")
    assert client.get("/releases/mau/flows").json() == []


def test_a_service_without_questions_takes_no_segments(tmp_path: Path) -> None:
    with open_service(settings_in(tmp_path), lambda: NOW) as service, local(create_app(service)) as client:
        told = problem_of(client.post("/event", json=events(1, platform="ios")[0]), 422, "bad-event")
        assert "none can be named" in told["detail"]


@pytest.mark.slow
def test_grpc_takes_and_reads_the_same(service: Service) -> None:
    app = create_app(service)
    with serving(app) as port, calling(port) as stub, local(app) as client:
        sent = [pb.Event(user=f"u{one}", day=DAYS[0], segments={"platform": "ios"}) for one in range(30)]
        stub.Ingest(pb.IngestRequest(events=sent))
        closed = stub.CloseDay(pb.CloseDayRequest(day=DAYS[0], confirm=True)).releases
        answer = stub.GetAnswer(pb.GetAnswerRequest(question="mau/platform")).releases
        assert list(closed)[-3:] == list(answer)
        assert "[" + ",".join(one.row for one in answer) + "]" == client.get("/mau?by=platform").text
        assert [(one.question, one.breakdown, one.segment) for one in answer] == [
            ("mau", "platform", segment) for segment in ("ios", "web", "other")
        ]
        assert answer[0].estimate == pytest.approx(30, abs=4)
        listed = list(stub.ListReleases(pb.ListReleasesRequest(metric="mau/flows")))
        assert [one.question for one in listed] == ["mau/new", "mau/returning", "mau/gone"]
        wrong = pb.IngestRequest(events=[pb.Event(user="ann", segments={"Jane": "x"})])
        refused(lambda: stub.Ingest(wrong), grpc.StatusCode.INVALID_ARGUMENT, "bad-event")
