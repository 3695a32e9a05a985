"""Events over gRPC: stored as over HTTP, explained one by one, and stored once however often they are sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.laws import each
from tests.workbench.api.common import NOW, local, settings_in
from tests.workbench.rpc.common import active, calling, refused, serving, trailing
from workbench.api.app import create_app
from workbench.rpc import dpdau_pb2 as pb
from workbench.service import Service, open_service

DAY = date(2026, 1, 1)
INVALID = grpc.StatusCode.INVALID_ARGUMENT
KEY = (("idempotency-key", "topic-3:1000-1999"),)


def counted(service: Service, day: date = DAY) -> int:
    return service.preview(day)["dau"].truth


def test_what_is_acknowledged_is_stored(stub: Any, service: Service) -> None:
    answer = stub.Ingest(active("ann", "bob", "ann"))
    assert (answer.accepted, answer.late, answer.seq, answer.rejected) == (3, 0, 3, 0)
    assert counted(service) == 2
    stub.Ingest(active("ann", op=pb.Event.RETRACT))
    assert counted(service) == 1
    erased = pb.IngestRequest(events=[pb.Event(user="bob", op=pb.Event.ERASE)])
    assert stub.Ingest(erased).accepted == 1
    assert counted(service) == 0
    assert stub.Ingest(pb.IngestRequest()).accepted == 0


def test_an_event_about_a_closed_day_is_late(stub: Any, service: Service) -> None:
    stub.Ingest(active("ann"))
    service.close(DAY)
    assert stub.Ingest(active("ann", "bob")).late == 2


def test_a_stream_is_stored_request_by_request_and_answered_when_all_is_stored(stub: Any, service: Service) -> None:
    def sent() -> Any:
        for number in range(50):
            # What came before is on its way to the disk or there, and never ahead of what is sent.
            assert service.status().operations <= 20 * number
            yield active(*(f"u{number}-{index}" for index in range(20)))

    answer = stub.IngestStream(sent())
    assert (answer.accepted, answer.seq) == (1000, 1000)
    assert counted(service) == service.status().operations == 1000
    assert stub.IngestStream(iter([])).accepted == 0


def test_a_moment_is_on_the_day_of_the_zone(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, ("timezone", "Asia/Tokyo"))
    with open_service(settings, lambda: NOW) as service, serving(create_app(service)) as port, calling(port) as stub:
        event = pb.Event(user="ann")
        event.timestamp.FromDatetime(datetime(2026, 1, 1, 15, tzinfo=UTC))
        stub.Ingest(pb.IngestRequest(events=[event, pb.Event(user="bob")]))
        assert counted(service, date(2026, 1, 2)) == 1
        assert counted(service, service.today()) == 1


def moment(seconds: int = 0, nanos: int = 0, **more: Any) -> pb.Event:
    event = pb.Event(user="ann", **more)
    event.timestamp.seconds, event.timestamp.nanos = seconds, nanos
    return event


BAD = {
    "no user": pb.Event(day="2026-01-01"),
    "blank": pb.Event(user=" ", day="2026-01-01"),
    "NUL": pb.Event(user="a\0b", day="2026-01-01"),
    "long": pb.Event(user="u" * 513, day="2026-01-01"),
    "no day of the calendar": pb.Event(user="ann", day="2026-02-30"),
    "another way to write a day": pb.Event(user="ann", day="20260101"),
    "a week": pb.Event(user="ann", day="2026-W01-1"),
    "tomorrow": pb.Event(user="ann", day="2026-06-02"),
    "long ago": pb.Event(user="ann", day="1899-12-31"),
    "day and moment": moment(day="2026-01-01"),
    "a moment of no year": moment(seconds=10**15),
    "a moment before all years": moment(seconds=-(10**15)),
    "nanoseconds": moment(nanos=-5),
    "an unknown op": pb.Event(user="ann", day="2026-01-01", op=7),  # type: ignore[arg-type]
    "an erasure with a day": pb.Event(user="ann", day="2026-01-01", op=pb.Event.ERASE),
    "an erasure with a moment": moment(op=pb.Event.ERASE),
}


@each("bad", BAD.values())
def test_one_bad_event_and_nothing_is_stored(stub: Any, service: Service, bad: pb.Event) -> None:
    good = pb.Event(user="good", day="2026-01-01")
    request = pb.IngestRequest(events=[good, bad, good])
    stored = service.status().operations
    error = refused(lambda: stub.Ingest(request), INVALID, "bad-event")
    assert "event 1: " in error.details()
    assert "ann" not in error.details()
    assert service.status().operations == stored
    request.partial = True
    answer = stub.Ingest(request)
    assert (answer.accepted, answer.rejected, [event.index for event in answer.events]) == (2, 1, [1])
    assert answer.events[0].reason in error.details()


def test_a_partial_stream_counts_places_through_all_its_requests(stub: Any) -> None:
    requests = [active("a", "", "b", partial=True), active("c", partial=True), active("", "", partial=True)]
    answer = stub.IngestStream(iter(requests))
    assert (answer.accepted, answer.rejected, [event.index for event in answer.events]) == (3, 3, [1, 4, 5])
    many = stub.IngestStream(iter([active(*[""] * 80, partial=True)] * 2))
    assert (many.rejected, [event.index for event in many.events]) == (160, list(range(100)))


def raw(stub_method: str, port: int, *messages: bytes) -> Callable[[], Any]:
    def call() -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            return channel.stream_unary(f"/dpdau.v1.ActiveUsers/{stub_method}")(iter(messages))

    return call


def test_bytes_that_are_no_request_are_refused(service: Service) -> None:
    whole = active("ann").SerializeToString()
    broken = {
        "cut": whole[:-1],
        "no text": whole.replace(b"ann", b"a\xff\xfe"),
        "an unknown field": whole + b"\xfa\x01\x01x",
        "an unknown field of an event": pb.IngestRequest(
            events=[pb.Event.FromString(b"\x0a\x01a\x7a\x03ios")]
        ).SerializeToString(),
        "noise": b"\xff" * 100,
    }
    with serving(create_app(service)) as port:
        for content in broken.values():
            for method in ("Ingest", "IngestStream"):
                refused(raw(method, port, content), INVALID, "bad-request")
        for method in ("Ingest", "CloseDay", "EraseUser", "GetRelease", "DrawFreshRelease", "GetStatus"):
            refused(raw(method, port), INVALID, "bad-request")
        assert service.status().operations == 0
        assert pb.IngestResponse.FromString(raw("Ingest", port, whole)()).accepted == 1


# Sent again


def test_a_retry_after_an_erasure_brings_nobody_back(stub: Any, service: Service) -> None:
    first = stub.Ingest(active("ann"), metadata=KEY)
    stub.EraseUser(pb.EraseUserRequest(user="ann"))
    assert stub.Ingest(active("ann"), metadata=KEY) == first
    assert counted(service) == 0
    refused(lambda: stub.Ingest(active("bob"), metadata=KEY), INVALID, "key-reused")
    refused(lambda: stub.IngestStream(iter([active("ann")] * 2), metadata=(("idempotency-key", "a b"),)), INVALID,
            "bad-request")  # fmt: skip
    refused(lambda: stub.Ingest(active("ann"), metadata=KEY + KEY), INVALID, "bad-request")


def test_a_stream_that_broke_is_sent_again_whole(stub: Any, service: Service) -> None:
    requests = [active(f"u{number}", f"v{number}") for number in range(5)]
    error = refused(lambda: stub.IngestStream(iter([*requests[:3], active("")]), metadata=KEY), INVALID, "bad-event")
    assert trailing(error)["dpdau-requests-stored"] == "3"
    answer = stub.IngestStream(iter(requests), metadata=KEY)
    assert (answer.accepted, answer.seq) == (10, 10)
    assert stub.IngestStream(iter(requests), metadata=KEY) == answer
    assert service.status().operations == 10
    # The parts of a stream are no requests of their own.
    assert stub.Ingest(requests[0], metadata=KEY).seq == 12


def test_a_partial_answer_comes_back_whole(stub: Any) -> None:
    request = active("ann", "", partial=True)
    first = stub.Ingest(request, metadata=KEY)
    assert (first.accepted, first.rejected) == (1, 1)
    assert stub.Ingest(request, metadata=KEY) == first


# The same as over HTTP

OPS = {"+": pb.Event.ADD, "-": pb.Event.RETRACT, "erase": pb.Event.ERASE}
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cÿd", " ", "\u2003x"]),
        st.sampled_from([None, "2025-12-31", "2026-01-01", "2026-06-01", "2026-13-01", "2030-01-01"]),
        st.sampled_from([*OPS]),
    ),
    max_size=12,
)


@pytest.mark.slow
@examples(40)
@given(requests=st.lists(st.tuples(EVENTS, st.booleans()), max_size=6))
def test_events_are_taken_and_refused_as_over_http(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[list[Any], bool]]
) -> None:
    one, other = (settings_in(tmp_path_factory.mktemp(name)) for name in ("http", "grpc"))
    with open_service(one, lambda: NOW) as over_http, open_service(other, lambda: NOW) as over_grpc:
        client: TestClient = local(create_app(over_http))
        with serving(create_app(over_grpc)) as port, calling(port) as stub:
            for events, partial in requests:
                body = [{"user": user, "op": op, **({"day": day} if day else {})} for user, day, op in events]
                posted = client.post(f"/events?on_error={'partial' if partial else 'refuse'}", json=body)
                request = pb.IngestRequest(
                    events=[pb.Event(user=user, day=day or "", op=OPS[op]) for user, day, op in events],
                    partial=partial,
                )
                if posted.status_code == 422:
                    refused(lambda sent=request: stub.Ingest(sent), INVALID, "bad-event")  # type: ignore[misc]
                    continue
                answer, told = stub.Ingest(request), posted.json()
                assert (answer.accepted, answer.late, answer.seq, answer.rejected) == (
                    told["accepted"], told["late"], told["seq"], told.get("rejected", 0),
                )  # fmt: skip
                assert [event.index for event in answer.events] == [event["index"] for event in told.get("events", [])]
            for index in range(2):
                day = DAY - timedelta(days=1 - index)
                assert over_http.preview(day) == over_grpc.preview(day)
            over_http.settled()
            over_grpc.settled()
            # Pseudonyms have keys of their own.
            one_recent, other_recent = (
                [activity._replace(who="") for activity in service.recent(100)] for service in (over_http, over_grpc)
            )
            assert one_recent == other_recent
