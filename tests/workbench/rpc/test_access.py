"""Who may call what over gRPC: every method is declared, every answer agrees, and no exact number reaches a reader."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import grpc
import pytest
from fastapi.testclient import TestClient

from tests.laws import each
from tests.workbench.api.common import keys_for, local
from tests.workbench.rpc.common import active, bearing_key, calling, refused, serving, trailing
from workbench.api.app import create_app
from workbench.rpc import dpdau_pb2 as pb
from workbench.rpc import facade
from workbench.rpc.calls import address_of
from workbench.rpc.facade import METHOD_ACCESS, SERVICE, method_needs
from workbench.service import Service
from workbench.service.keyring import ALL_SCOPES
from workbench.service.keys import SCOPES

SUBSETS = [frozenset(chosen) for size in range(1, 5) for chosen in combinations(SCOPES, size)]
DENIED, UNKNOWN = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED

# Said once more and by hand, so that a wrong line in the table is found.
WANTED = {
    "Ingest": "ingest",
    "IngestStream": "ingest",
    "CloseDay": "operate",
    "EraseUser": "operate",
    "DrawFreshRelease": "operate read",
    "GetRelease": "read",
    "ListReleases": "read",
    "GetStatus": "read",
    "GetAnswer": "read",
}
# The same as the name of whoever may do it over HTTP.
REQUESTS: Mapping[str, Any] = {
    "Ingest": active("ann"),
    "IngestStream": active("ann"),
    "CloseDay": pb.CloseDayRequest(day="2026-01-01", confirm=True),
    "EraseUser": pb.EraseUserRequest(user="nobody"),
    "DrawFreshRelease": pb.DrawFreshReleaseRequest(metric="mau"),
    "GetRelease": pb.GetReleaseRequest(metric="mau"),
    "ListReleases": pb.ListReleasesRequest(metric="mau"),
    "GetStatus": pb.GetStatusRequest(),
    "GetAnswer": pb.GetAnswerRequest(question="mau/flows"),
}


def call(stub: Any, method: str, key: str | None) -> list[Any]:
    """The answers of a method."""
    request = REQUESTS[method]
    metadata = (("idempotency-key", "one"), *(bearing_key(key) if key else ()))
    answer = getattr(stub, method)(iter([request]) if method == "IngestStream" else request, metadata=metadata)
    return list(answer) if method == "ListReleases" else [answer]


@pytest.fixture
def keyed(service: Service) -> Iterator[tuple[Any, dict[frozenset[str], str]]]:
    """A stub, and a key for each set of scopes."""
    secrets = keys_for(service.settings, {f"key-{index}": scopes for index, scopes in enumerate(SUBSETS)})
    with serving(create_app(service)) as port, calling(port) as stub:
        yield stub, dict(zip(SUBSETS, secrets.values(), strict=True))


def test_every_method_is_declared(service: Service) -> None:
    assert {method.name for method in SERVICE.methods} == set(METHOD_ACCESS) == set(WANTED)
    assert set(facade.Facade(create_app(service).state.entrance).behaviours) == set(WANTED)
    assert method_needs("Other") == ALL_SCOPES


def wrong_answers(stub: Any, keys: Mapping[frozenset[str], str]) -> set[str]:
    """Methods that some key opens wrongly, or does not open."""
    call(stub, "CloseDay", keys[ALL_SCOPES])
    wrong = set()
    for method, scopes in WANTED.items():
        for given, key in keys.items():
            opened = True
            try:
                call(stub, method, key)
            except grpc.RpcError as error:
                opened = (error.code(), trailing(error)["dpdau-problem"]) != (DENIED, "scope-missing")  # type: ignore[attr-defined]
            if opened != (set(scopes.split()) <= given):
                wrong.add(method)
        for key in (None, "dpdau_wrong"):
            refused(lambda method=method, key=key: call(stub, method, key), UNKNOWN, "key-missing")  # type: ignore[misc]
    return wrong


@pytest.mark.slow
def test_every_answer_agrees_with_the_table(keyed: tuple[Any, dict[frozenset[str], str]]) -> None:
    assert not wrong_answers(*keyed)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "needs"), [("GetStatus", {"metrics"}), ("EraseUser", {"ingest"}), ("Ingest", {})])
def test_a_wrong_line_of_the_table_is_found(
    service: Service, monkeypatch: pytest.MonkeyPatch, method: str, needs: Any
) -> None:
    monkeypatch.setattr(facade, "METHOD_ACCESS", {**METHOD_ACCESS, method: frozenset(needs)})
    secrets = keys_for(service.settings, {f"key-{index}": scopes for index, scopes in enumerate(SUBSETS)})
    with serving(create_app(service)) as port, calling(port) as stub:
        assert wrong_answers(stub, dict(zip(SUBSETS, secrets.values(), strict=True))) == {method}


def numbers(message: Any) -> set[int]:
    """All whole numbers in a message, in those within it too, and in its texts."""
    found = set[int]()
    for field, value in message.ListFields():
        for one in value if field.is_repeated else [value]:
            if hasattr(one, "ListFields"):
                found |= numbers(one)
            elif not isinstance(one, str) and float(one).is_integer():
                found.add(int(one))
    return found


@pytest.mark.slow
def test_no_exact_number_reaches_a_key_without_operate(keyed: tuple[Any, dict[frozenset[str], str]]) -> None:
    stub, keys = keyed
    everything = bearing_key(keys[ALL_SCOPES])
    stub.Ingest(active(*(f"u{index}" for index in range(719))), metadata=everything)
    call(stub, "CloseDay", keys[ALL_SCOPES])
    stub.Ingest(active(*(f"u{index}" for index in range(431)), day="2026-01-02"), metadata=everything)
    exact, seen = {719, 431, *range(1150, 1300)}, set[frozenset[str]]()
    for scopes, key in keys.items():
        for method in WANTED:
            try:
                answers = call(stub, method, key)
            except grpc.RpcError:
                continue
            if any(exact & numbers(answer) for answer in answers):
                seen.add(scopes)
    # Who reports or reads, and operates as well.
    assert seen == {scopes for scopes in SUBSETS if "operate" in scopes and scopes & {"ingest", "read"}}


def test_an_erasure_among_events_needs_operate(keyed: tuple[Any, dict[frozenset[str], str]], service: Service) -> None:
    stub, keys = keyed
    erasing = pb.IngestRequest(events=[pb.Event(user="ann"), pb.Event(user="bob", op=pb.Event.ERASE)])
    ingest = bearing_key(keys[frozenset({"ingest"})])
    refused(lambda: stub.Ingest(erasing, metadata=ingest), DENIED, "scope-missing")
    refused(lambda: stub.IngestStream(iter([erasing]), metadata=ingest), DENIED, "scope-missing")
    assert service.status().operations == 0
    answer = stub.Ingest(erasing, metadata=bearing_key(keys[frozenset({"ingest", "operate"})]))
    assert (answer.accepted, answer.seq) == (2, 2)


def test_a_key_comes_as_over_http(service: Service) -> None:
    keys = keys_for(service.settings, {"reader": {"read"}})
    with serving(create_app(service, api_key="a key of all")) as port, calling(port) as stub:
        for name, key in (("authorization", "bearer " + keys["reader"]), ("x-api-key", keys["reader"]),
                          ("authorization", "Bearer a key of all")):  # fmt: skip
            assert stub.GetStatus(pb.GetStatusRequest(), metadata=((name, key),)).promise
        for name, key in (("authorization", keys["reader"]), ("authorization", "Basic " + keys["reader"]),
                          ("authorization-bin", keys["reader"].encode()), ("cookie", f"dpdau_session={'0' * 64}"),
                          ("x-api-key", ""), ("authorization", "Bearer ")):  # fmt: skip
            refused(lambda name=name, key=key: stub.GetStatus(pb.GetStatusRequest(), metadata=((name, key),)),  # type: ignore[misc]
                    UNKNOWN, "key-missing")  # fmt: skip


def test_wrong_keys_are_limited_together_with_those_over_http(service: Service) -> None:
    keys = keys_for(service.settings, {"reader": {"read"}})
    app = create_app(service, api_key="a key of all", seconds=lambda: 0.0)
    with serving(app) as port, calling(port) as stub:

        def status(key: str) -> Any:
            return stub.GetStatus(pb.GetStatusRequest(), metadata=bearing_key(key))

        client = TestClient(app, client=("127.0.0.1", 50000))
        for number in range(10):
            if number % 2:
                refused(lambda: status("wrong"), UNKNOWN, "key-missing")
            else:
                assert client.get("/config", headers={"X-API-Key": "wrong"}).status_code == 401
        for key in ("wrong", "a key of all"):
            error = refused(lambda key=key: status(key), grpc.StatusCode.RESOURCE_EXHAUSTED, "too-many-failures")  # type: ignore[misc]
            assert int(trailing(error)["retry-after"]) > 0
        assert client.get("/config", headers={"X-API-Key": "wrong"}).status_code == 429
        assert status(keys["reader"]).promise


def test_a_file_of_keys_that_cannot_be_used_is_said(service: Service) -> None:
    keys = keys_for(service.settings, {"reader": {"read"}})
    with serving(create_app(service)) as port, calling(port) as stub:
        service.settings.keys_path.write_text("colour = 1")
        error = refused(
            lambda: stub.GetStatus(pb.GetStatusRequest(), metadata=bearing_key(keys["reader"])),
            grpc.StatusCode.UNAVAILABLE, "keys-unusable",
        )  # fmt: skip
        assert trailing(error)["retry-after"] == "10"


def test_an_open_stream_ends_with_its_key(service: Service) -> None:
    keys = keys_for(service.settings, {"feed": {"ingest"}})
    taken, revoked = threading.Event(), threading.Event()

    def sent() -> Iterator[pb.IngestRequest]:
        yield active("ann")
        taken.set()
        revoked.wait(60)
        yield active("bob")

    with serving(create_app(service)) as port, calling(port) as stub:
        answer = stub.IngestStream.future(sent(), metadata=bearing_key(keys["feed"]))
        taken.wait(60)
        while service.status().operations < 1:
            time.sleep(0.01)
        keys_for(service.settings, {})
        revoked.set()
        error = refused(answer.result, UNKNOWN, "key-missing")
    assert trailing(error)["dpdau-requests-stored"] == "1"
    assert service.status().operations == 1


# Without a key


@each("name", ["origin", "sec-fetch-site", "referer"])
def test_without_a_key_no_page_of_a_browser_may_call(stub: Any, service: Service, name: str) -> None:
    metadata = ((name, "http://127.0.0.1:8000"),)
    refused(lambda: stub.Ingest(active("ann"), metadata=metadata), DENIED, "other-site")
    assert service.status().operations == 0


def test_without_a_key_only_this_machine_may_call() -> None:
    assert address_of("ipv4:127.0.0.1:50051") == "127.0.0.1"
    assert address_of("ipv6:%5B::1%5D:50051") == "::1"
    assert address_of("ipv6:[2001:db8::1]:50051") == "2001:db8::1"
    assert address_of("unix:") == ""


def test_a_key_that_is_made_closes_the_door(service: Service) -> None:
    app = create_app(service)
    with serving(app) as port, calling(port) as stub:
        assert stub.Ingest(active("ann")).seq == 1
        keys_for(service.settings, {"reader": {"read"}})
        refused(lambda: stub.Ingest(active("ann")), UNKNOWN, "key-missing")
        assert local(app).get("/config").status_code == 401
