"""Days and releases over gRPC: the same bytes and values as over HTTP, and the same refusals."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

import grpc
import pytest
from fastapi.testclient import TestClient

from tests.laws import each
from tests.places import ROOT
from tests.workbench.rpc.common import PROTO, active, generate, refused
from workbench.api.problems import REFUSALS
from workbench.api.published import COLUMNS, QUESTION_COLUMNS
from workbench.rpc import dpdau_pb2 as pb
from workbench.rpc.calls import CODES
from workbench.rpc.messages import RELEASE_FIELDS
from workbench.service import Service

Code = grpc.StatusCode
METRICS = ("dau", "wau", "mau")


def test_the_generated_code_is_that_of_the_proto_file(tmp_path: Any) -> None:
    generate(tmp_path)
    for ending in ("_pb2.py", "_pb2.pyi"):
        name = PROTO.replace(".proto", ending)
        assert (ROOT / name).read_text() == (tmp_path / name).read_text(), "run `make rpc`"


def test_a_release_has_the_columns_of_a_table() -> None:
    assert sorted(RELEASE_FIELDS) == sorted({*COLUMNS, *QUESTION_COLUMNS})


def test_every_refusal_has_a_code() -> None:
    assert {status for status, _ in REFUSALS.values()} <= set(CODES)


def close(stub: Any, day: str) -> list[Any]:
    return list(stub.CloseDay(pb.CloseDayRequest(day=day, confirm=True)).releases)


@pytest.mark.slow
def test_what_is_read_is_what_http_reads(stub: Any, client: TestClient) -> None:
    stub.Ingest(active(*(f"u{index}" for index in range(50))))
    closed = [close(stub, f"2026-01-0{day}") for day in range(1, 6)]
    assert close(stub, "2026-01-03") == closed[2]
    for place, metric in enumerate(METRICS):
        listed = list(stub.ListReleases(pb.ListReleasesRequest(metric=metric)))
        assert listed == [day[place] for day in closed]
        assert "[" + ",".join(one.row for one in listed) + "]" == client.get(f"/releases/{metric}").text
        for one, told in zip(listed, client.get(f"/releases/{metric}?format=json").json(), strict=True):
            assert one == stub.GetRelease(pb.GetReleaseRequest(metric=metric, day=one.day))
            assert one.row == client.get(f"/{metric}/{one.day}").text
            assert {name: getattr(one, name) for name in RELEASE_FIELDS if told.get(name) is not None} == {
                name: told[name] for name in RELEASE_FIELDS if told.get(name) is not None
            }
            assert not any(one.HasField(name) for name in RELEASE_FIELDS if told.get(name) is None)
        assert stub.GetRelease(pb.GetReleaseRequest(metric=metric)) == listed[-1]
        for start, end in (("2026-01-02", "2026-01-04"), ("2026-01-04", ""), ("", "2026-01-01"), ("2027-01-01", "")):
            asked = pb.ListReleasesRequest(metric=metric, from_day=start, to_day=end)
            query = {name: day for name, day in (("from", start), ("to", end)) if day}
            rows = [json.loads(one.row) for one in stub.ListReleases(asked)]
            assert rows == client.get(f"/releases/{metric}", params=query).json()
    told = client.get("/config").json()
    status = stub.GetStatus(pb.GetStatusRequest())
    assert (status.promise, status.first_day, status.last_closed_day, status.open_day, status.operations) == (
        told["promise"], told["first_day"], told["last_closed_day"], told["open_day"], 50,
    )  # fmt: skip


def test_before_the_first_close_no_day_is_said(stub: Any) -> None:
    status = stub.GetStatus(pb.GetStatusRequest())
    assert not any(status.HasField(name) for name in ("first_day", "last_closed_day", "open_day"))
    refused(lambda: stub.GetRelease(pb.GetReleaseRequest(metric="mau")), Code.FAILED_PRECONDITION, "open-day")
    assert list(stub.ListReleases(pb.ListReleasesRequest(metric="mau"))) == []


@pytest.mark.slow
def test_a_fresh_release_is_drawn_once_under_its_key(stub: Any, service: Service) -> None:
    stub.Ingest(active("ann"))
    close(stub, "2026-01-01")
    asked = pb.DrawFreshReleaseRequest(metric="dau", day="2026-01-01")
    key = (("idempotency-key", "june"),)
    first = stub.DrawFreshRelease(asked, metadata=key)
    assert stub.DrawFreshRelease(asked, metadata=key) == first
    assert first.row == service.find_fresh("dau", date(2026, 1, 1), "june")
    assert len(service.charges()) == 4
    other, called = stub.DrawFreshRelease.with_call(pb.DrawFreshReleaseRequest(metric="dau"))
    named = dict(called.initial_metadata())["idempotency-key"]
    assert stub.DrawFreshRelease(asked, metadata=(("idempotency-key", named),)) == other != first
    assert len(service.charges()) == 5
    refused(lambda: stub.DrawFreshRelease(asked, metadata=(("idempotency-key", "a b"),)), Code.INVALID_ARGUMENT,
            "bad-request")  # fmt: skip
    while not math.isclose(service.budget().remaining.epsilon, 0.0, abs_tol=0.29):
        stub.DrawFreshRelease(asked)
    refused(lambda: stub.DrawFreshRelease(asked), Code.RESOURCE_EXHAUSTED, "budget-exhausted")


@pytest.fixture
def closed(service: Service) -> None:
    """The first day is closed."""
    service.close(date(2026, 1, 1))


@pytest.mark.usefixtures("closed")
@each(
    ("method", "request_", "code", "kind"),
    [
        ("GetRelease", pb.GetReleaseRequest(metric="yau", day="2026-01-01"), Code.NOT_FOUND, "unknown-metric"),
        ("GetRelease", pb.GetReleaseRequest(metric="mau", day="2025-01-01"), Code.NOT_FOUND, "unknown-day"),
        ("GetRelease", pb.GetReleaseRequest(metric="mau", day="2026-01-02"), Code.FAILED_PRECONDITION, "open-day"),
        ("GetRelease", pb.GetReleaseRequest(metric="mau", day="1.1.2026"), Code.INVALID_ARGUMENT, "bad-request"),
        ("ListReleases", pb.ListReleasesRequest(metric=""), Code.NOT_FOUND, "unknown-metric"),
        ("ListReleases", pb.ListReleasesRequest(metric="mau", from_day="2026-01-02", to_day="2026-01-01"),
         Code.INVALID_ARGUMENT, "bad-request"),
        ("CloseDay", pb.CloseDayRequest(), Code.INVALID_ARGUMENT, "bad-request"),
        ("CloseDay", pb.CloseDayRequest(day="2026-01-03"), Code.FAILED_PRECONDITION, "not-next"),
        ("CloseDay", pb.CloseDayRequest(day="2025-12-31"), Code.NOT_FOUND, "unknown-day"),
        ("EraseUser", pb.EraseUserRequest(user=" "), Code.INVALID_ARGUMENT, "bad-event"),
        ("EraseUser", pb.EraseUserRequest(), Code.INVALID_ARGUMENT, "bad-event"),
        ("DrawFreshRelease", pb.DrawFreshReleaseRequest(metric="yau"), Code.NOT_FOUND, "unknown-metric"),
    ],
)  # fmt: skip
def test_what_cannot_be_met_is_refused_by_its_name(
    stub: Any, method: str, request_: Any, code: grpc.StatusCode, kind: str
) -> None:
    refused(lambda: getattr(stub, method)(request_), code, kind)


def test_a_doubtful_first_day_needs_a_confirmation(stub: Any, service: Service) -> None:
    day = pb.CloseDayRequest(day="1950-01-01")
    refused(lambda: stub.CloseDay(day), Code.FAILED_PRECONDITION, "doubtful-first-day")
    future = pb.CloseDayRequest(day="2027-01-01", confirm=True)
    refused(lambda: stub.CloseDay(future), Code.INVALID_ARGUMENT, "future-day")
    assert service.charges() == []
    assert len(close(stub, "2026-01-01")) == 3


def test_a_user_is_erased(stub: Any, service: Service) -> None:
    stub.Ingest(active("ann", "bob"))
    stub.EraseUser(pb.EraseUserRequest(user="ann"))
    assert service.preview(date(2026, 1, 1))["mau"].truth == 1


def test_calls_are_counted_with_the_requests(stub: Any, client: TestClient, service: Service) -> None:
    stub.Ingest(active("ann", "bob"))
    refused(lambda: stub.GetRelease(pb.GetReleaseRequest(metric="mau")), Code.FAILED_PRECONDITION, "open-day")
    text = client.get("/metrics").text
    for name, status in (("Ingest", 200), ("GetRelease", 409)):
        route = f'method="POST",route="/dpdau.v1.ActiveUsers/{name}",status="{status}"'
        assert f"dpdau_http_requests_total{{{route}}} 1.0" in text
    assert 'dpdau_events_total{op="+"} 2.0' in text
