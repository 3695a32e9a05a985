"""What callers may hold over gRPC, and what they are told while the service cannot work."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.workbench.api.common import keys_for
from tests.workbench.rpc.common import active, bearing_key, calling, refused, serving, trailing
from workbench.api.app import create_app
from workbench.api.limits import LIMITS, Limits
from workbench.rpc import dpdau_pb2 as pb
from workbench.rpc.server import serving_rpc
from workbench.service import Service, SettingsError

Code = grpc.StatusCode
KEY = (("idempotency-key", "a"),)


@contextmanager
def held_up(service: Service) -> Iterator[None]:
    """Nothing is written while the block runs."""
    held, going = threading.Event(), threading.Event()

    def hold(store: object) -> None:
        held.set()
        going.wait(PATIENCE_SECONDS)

    holding = service.access.submit(hold)
    held.wait(PATIENCE_SECONDS)
    try:
        yield
    finally:
        going.set()
        holding.result()


def test_a_message_that_is_too_large_is_refused_unread(service: Service) -> None:
    assert LIMITS.message_bytes == 4 * 2**20 <= LIMITS.body_bytes
    largest = active(*("u" * 512 for _ in range(100)))
    with serving(create_app(service, limits=Limits(message_bytes=largest.ByteSize()))) as port, calling(port) as stub:
        assert stub.Ingest(largest).accepted == 100
        larger = active("ann", *("u" * 512 for _ in range(100)))
        refused(lambda: stub.Ingest(larger), Code.RESOURCE_EXHAUSTED, None)
        refused(lambda: stub.IngestStream(iter([active("ann"), larger])), Code.RESOURCE_EXHAUSTED, None)
        assert service.status().operations <= 101
        assert stub.Ingest(active("bob")).accepted == 1


def test_a_compressed_message_is_refused(service: Service) -> None:
    bomb = active(*("u" * 512 for _ in range(4000)))
    with (
        serving(create_app(service)) as port,
        calling(port, compression=grpc.Compression.Gzip) as stub,
        pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"),
    ):
        stub.Ingest(bomb)
    assert service.status().operations == 0


def test_a_caller_that_sends_nothing_is_left(service: Service) -> None:
    silence = threading.Event()

    def sent() -> Iterator[pb.IngestRequest]:
        yield active("ann")
        silence.wait(PATIENCE_SECONDS)

    with serving(create_app(service, limits=Limits(body_seconds=0.2))) as port, calling(port) as stub:
        error = refused(lambda: stub.IngestStream(sent()), Code.DEADLINE_EXCEEDED, "http")
        silence.set()
        assert trailing(error)["dpdau-requests-stored"] == "1"
        assert stub.Ingest(active("bob")).accepted == 1


def test_a_caller_without_a_key_is_not_waited_for(service: Service) -> None:
    keys_for(service.settings, {"feed": {"ingest"}})
    silence = threading.Event()
    with serving(create_app(service, limits=Limits(body_seconds=PATIENCE_SECONDS))) as port, calling(port) as stub:
        started = time.monotonic()
        refused(lambda: stub.IngestStream(iter(silence.wait, True)), Code.UNAUTHENTICATED, "key-missing")
        assert time.monotonic() - started < PATIENCE_SECONDS / 2
        silence.set()


def test_messages_under_way_have_bounded_room(service: Service) -> None:
    limits = Limits(bodies_bytes=3000, kept_bytes=1000, small_bytes=100)
    small, large = active("ann"), active(*(f"user-{index:040}" for index in range(25)))
    assert 1000 < large.ByteSize() < 2000
    app = create_app(service, limits=limits)
    with serving(app) as port, calling(port) as stub:
        with held_up(service):
            first = stub.Ingest.future(large)
            while not service.access.queued > 1:
                time.sleep(0.01)
            error = refused(lambda: stub.Ingest(large), Code.UNAVAILABLE, "busy")
            assert trailing(error)["retry-after"] == "5"
            second = stub.Ingest.future(small)
        assert (first.result().accepted, second.result().accepted) == (25, 1)
        assert stub.Ingest(large).accepted == 25
        for _ in range(10):
            refused(lambda: stub.Ingest(active("")), Code.INVALID_ARGUMENT, "bad-event")
        assert stub.Ingest(large).accepted == 25


def test_more_calls_than_are_served_at_once_are_refused(service: Service) -> None:
    with (
        serving(create_app(service, limits=Limits(calls=2))) as port,
        held_up(service),
        calling(port) as one,
        calling(port, options=[("grpc.use_local_subchannel_pool", 1)]) as other,
    ):
        waiting = [stub.Ingest.future(active("ann")) for stub in (one, other)]
        while service.access.queued < 2:
            time.sleep(0.01)
        refused(lambda: other.GetStatus(pb.GetStatusRequest(), timeout=60), Code.RESOURCE_EXHAUSTED, None)
        for call in waiting:
            call.cancel()


def test_a_deadline_ends_a_call_and_the_service_goes_on(
    stub: Any, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), held_up(service):
        for method, sent in (("Ingest", active("ann")), ("IngestStream", iter([active("bob")]))):
            with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                getattr(stub, method)(sent, timeout=0.2, metadata=KEY if method == "Ingest" else ())
    assert not caplog.records
    # It may be stored or not: under its key it is stored once.
    assert stub.Ingest(active("ann"), metadata=KEY).accepted == 1
    assert stub.Ingest(active("ann"), metadata=KEY).accepted == 1
    assert service.preview(date(2026, 1, 1))["dau"].truth in (1, 2)
    assert service.status().operations in (1, 2)


def test_callers_that_go_leave_nothing_behind(stub: Any, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for number in range(30):
            call = stub.Ingest.future(active(f"u{number}"))
            time.sleep(0.001 * (number % 5))
            call.cancel()
        assert stub.Ingest(active("ann")).accepted == 1
    assert not caplog.records


def test_a_store_that_was_taken_away_is_said_until_it_is_back(stub: Any, service: Service, tmp_path: Path) -> None:
    stub.Ingest(active("ann"))
    (tmp_path / "s").rename(tmp_path / "elsewhere")
    calls = [
        lambda: stub.Ingest(active("bob")),
        lambda: stub.IngestStream(iter([active("bob")])),
        lambda: stub.CloseDay(pb.CloseDayRequest(day="2026-01-01", confirm=True)),
        lambda: stub.EraseUser(pb.EraseUserRequest(user="ann")),
        lambda: stub.GetStatus(pb.GetStatusRequest()),
    ]
    for call in calls:
        assert trailing(refused(call, Code.UNAVAILABLE, "unavailable"))["retry-after"] == "5"
    (tmp_path / "elsewhere").rename(tmp_path / "s")
    assert stub.Ingest(active("bob")).accepted == 1
    assert service.preview(date(2026, 1, 1))["dau"].truth == 2


def test_a_defect_is_logged_without_what_was_sent(
    stub: Any, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(user: str) -> None:
        raise RuntimeError(f"no {user}")

    monkeypatch.setattr(service, "erase", fail)
    error = refused(lambda: stub.EraseUser(pb.EraseUserRequest(user="Zaphod")), Code.INTERNAL, "failure")
    assert "Zaphod" not in str(error)
    (record,) = caplog.records
    assert "Zaphod" not in record.getMessage()


def test_a_port_that_is_taken_is_said(service: Service) -> None:
    app = create_app(service)
    with (
        serving(app) as port,
        pytest.raises(SettingsError, match=f"127.0.0.1:{port}.*--grpc-port"),
        serving_rpc(app.state.entrance, "127.0.0.1", port, 0.0),
    ):
        pass


def test_a_key_in_other_letters_is_a_wrong_key(service: Service) -> None:
    keys_for(service.settings, {"feed": {"ingest"}})
    with serving(create_app(service)) as port, calling(port) as stub:
        for key in ("x" * 4000, "dpdau_", "a,b"):
            refused(lambda key=key: stub.Ingest(active("a"), metadata=bearing_key(key)), Code.UNAUTHENTICATED,  # type: ignore[misc]
                    "key-missing")  # fmt: skip
