"""Which scope opens which route: every route is declared, every answer agrees, and no exact number reaches a reader."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import Response
from starlette.routing import Match, Mount

from tests.workbench.api.common import NOW, bearing, close, keys_for, problem_of, settings_in, users
from workbench.api import access
from workbench.api.access import ACCESS, MOUNTED, route_needs
from workbench.api.admission import Admission
from workbench.api.app import create_app
from workbench.api.failure_limit import FailureLimit
from workbench.api.guard import Guard
from workbench.service import Service
from workbench.service.keyring import ALL_SCOPES, Keyring
from workbench.service.keys import SCOPES

SUBSETS = [frozenset(chosen) for size in range(5) for chosen in combinations(SCOPES, size)]
SINGLE: dict[str, frozenset[str]] = {name: frozenset({name}) for name in SCOPES}

# Said once more and by hand, so that a wrong line in the table is found.
WANTED: dict[str, set[tuple[str, str]]] = {
    "": {("GET", "/healthz"), ("GET", "/livez"), ("GET", "/readyz")},
    "ingest": {("POST", "/event"), ("POST", "/events")},
    "read": {
        ("GET", "/dau"), ("GET", "/dau/{day}"), ("GET", "/wau"), ("GET", "/wau/{day}"), ("GET", "/mau"),
        ("GET", "/mau/{day}"), ("GET", "/releases/{name:path}"), ("GET", "/budget"), ("GET", "/config"),
        ("GET", "/metrics/published"), ("GET", "/dau/flows"), ("GET", "/dau/flows/{day}"), ("GET", "/wau/flows"),
        ("GET", "/wau/flows/{day}"), ("GET", "/mau/flows"), ("GET", "/mau/flows/{day}"), ("GET", "/week"),
        ("GET", "/week/{day}"), ("GET", "/month"), ("GET", "/month/{day}"),
    },
    "operate": {("DELETE", "/users/{user:path}"), ("POST", "/days/{day}/close"), ("POST", "/renewal")},
    "metrics": {("GET", "/metrics")},
    "operate read": {(MOUNTED, "/ui"), ("GET", "/ui")},
    "any": {
        ("GET", "/"), ("GET", "/docs"), ("GET", "/docs/oauth2-redirect"), ("GET", "/openapi.json"),
        (MOUNTED, "/static-offline-docs"),
    },
}  # fmt: skip
FILLED = {"day": "2026-01-01", "user:path": "nobody", "name:path": "mau"}


class Pages:
    """In place of Streamlit's application."""

    def lifespan(self) -> Any:
        raise AssertionError("not started here")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await Response("a page")(scope, receive, send)


@pytest.fixture
def app(service: Service) -> FastAPI:
    keys_for(service.settings, {})
    return create_app(service, pages=Pages())


def declared(app: FastAPI) -> set[tuple[str, str]]:
    """(method, path) of every route, as the table names them."""
    return {
        (method, route.path)
        for route in app.routes
        for method in ([MOUNTED] if isinstance(route, Mount) else route.methods)  # type: ignore[attr-defined]
        if method != "HEAD"
    }


def undeclared(app: FastAPI) -> set[tuple[str, str]]:
    return declared(app) - set(ACCESS)


def wanted_needs(method: str, path: str) -> frozenset[str] | None:
    ((scopes,),) = [[name] for name, routes in WANTED.items() if (method, path) in routes]
    return {"": None, "any": frozenset[str]()}.get(scopes, frozenset(scopes.split()))


def address_of(method: str, path: str) -> str:
    filled = re.sub(r"\{(.+?)\}", lambda found: FILLED[found[1]], path)
    return f"{filled}/" if method == MOUNTED and path == "/ui" else filled


def wrong_answers(app: FastAPI, service: Service) -> set[tuple[str, str, frozenset[str] | None]]:
    """Calls, with the scopes of their key, that a guard in front of these routes judges wrongly."""
    named = {f"key-{index}": scopes for index, scopes in enumerate(SUBSETS) if scopes}
    secrets = keys_for(service.settings, named)
    reached: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    async def nothing(*message: Any) -> dict[str, Any]:
        return {"type": "websocket.connect"}

    keyring = Keyring(service.settings.keys_path, None, lambda: NOW.date())
    guard = Guard(inner, app.routes, Admission(keyring, FailureLimit(lambda: 0.0)))
    wrong = set()
    for method, path in declared(app):
        needs = wanted_needs(method, path)
        kinds = [("http", method)] if method != MOUNTED else [("http", "GET"), ("http", "POST"), ("websocket", "")]
        for kind, sent in kinds:
            for scopes, secret in [(None, None), *((named[name], key) for name, key in secrets.items())]:
                headers = [(b"authorization", f"Bearer {secret}".encode())] if secret else []
                call = {"type": kind, "method": sent, "path": address_of(method, path), "headers": headers,
                        "query_string": b"", "client": ("1.2.3.4", 5)}  # fmt: skip
                reached.clear()
                asyncio.run(guard(call, nothing, nothing))
                if bool(reached) != (needs is None or (scopes is not None and needs <= scopes)):
                    wrong.add((method, path, scopes))
    return wrong


def test_every_route_is_declared(app: FastAPI) -> None:
    assert not undeclared(app)


def test_a_route_without_a_scope_is_found_and_needs_every_scope(app: FastAPI) -> None:
    app.add_api_route("/counts", lambda: 1)
    app.add_route("/raw", lambda request: Response("1"), methods=["POST"])
    app.mount("/more", Pages())
    assert undeclared(app) == {("GET", "/counts"), ("POST", "/raw"), (MOUNTED, "/more")}
    assert route_needs("GET", "/counts") == ALL_SCOPES


def test_a_path_without_parameters_is_answered_by_the_route_of_its_name(app: FastAPI) -> None:
    for method, path in declared(app):
        if method != MOUNTED and "{" not in path:
            call = {"type": "http", "method": method, "path": path}
            first = next(route for route in app.routes if route.matches(call)[0] is Match.FULL)
            assert first.path == path  # type: ignore[attr-defined]


@pytest.mark.slow
def test_every_answer_agrees_with_the_table(app: FastAPI, service: Service) -> None:
    assert not wrong_answers(app, service)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("GET", "/metrics", frozenset({"read"})),
        ("GET", "/budget", None),
        ("POST", "/events", frozenset()),
        (MOUNTED, "/ui", frozenset({"read"})),
        ("DELETE", "/users/{user:path}", frozenset({"ingest"})),
        ("GET", "/mau/{day}", frozenset({"read", "operate"})),
    ],
)
def test_a_wrong_line_of_the_table_is_found(
    app: FastAPI, service: Service, monkeypatch: pytest.MonkeyPatch, method: str, path: str, needs: Any
) -> None:
    monkeypatch.setattr(access, "ACCESS", {**ACCESS, (method, path): needs})
    assert {(one, other) for one, other, _ in wrong_answers(app, service)} == {(method, path)}


@pytest.fixture
def keyed(service: Service) -> Iterator[tuple[TestClient, Mapping[str, str]]]:
    """A client of a service with a closed day, and keys of one scope each."""
    keys = keys_for(service.settings, {**SINGLE, "all": ALL_SCOPES, "feed": {"ingest", "operate"}})
    with TestClient(create_app(service), follow_redirects=False, headers=bearing(keys["all"])) as client:
        client.post("/events", json=users(719)).raise_for_status()
        close(client, "2026-01-01")
        client.post("/events", json=users(431, "2026-01-02")).raise_for_status()
        client.headers.clear()
        yield client, keys


# Of users a day, and of operations while the test runs: what nobody but the operator may see.
EXACT = {719, 431, *range(1150, 1400)}


def exact_numbers(answer: Any, published: Sequence[str]) -> set[int]:
    """Exact numbers in an answer; what is published may equal them by chance."""
    text = answer.text
    for row in published:
        text = text.replace(row, "")
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return EXACT & {int(number) for number in re.findall(r"(?<![\w.])(\d+)(?:\.0)?(?![\w.])", f"{text} {headers}")}


@pytest.mark.slow
def test_no_exact_number_reaches_a_key_without_operate_or_metrics(
    keyed: tuple[TestClient, Mapping[str, str]], service: Service
) -> None:
    client, keys = keyed
    seen: dict[str, set[int]] = {name: set() for name in (*SCOPES, "all", "nobody")}
    published = [row for metric in service.settings.series for row in service.releases(metric)]
    for method, path in declared(client.app):  # type: ignore[arg-type]
        for name in seen:
            sent = {"json": users(3) if path == "/events" else {"user": "new"}} if method == "POST" else {}
            headers = bearing(keys[name]) if name in keys else {}
            for query in ("", "?fresh=true", "?fresh=false", "?day=2026-01-02"):
                answer = client.request(
                    method.replace(MOUNTED, "GET"), address_of(method, path) + query, headers=headers, **sent
                )
                seen[name] |= exact_numbers(answer, published)
    assert {name for name, numbers in seen.items() if numbers} == {"metrics", "all"}
    assert client.delete("/users/u1", headers=bearing(keys["operate"])).json() == {"erased": True}


@pytest.mark.slow
def test_who_only_reports_is_told_what_was_sent_and_nothing_of_others(
    keyed: tuple[TestClient, Mapping[str, str]],
) -> None:
    client, keys = keyed
    late = [*users(2), {"user": "new"}]
    assert client.post("/events", json=late, headers=bearing(keys["ingest"])).json() == {"accepted": 3, "late": 2}
    assert client.post("/event", json=late[0], headers=bearing(keys["ingest"])).json() == {"accepted": 1, "late": 1}
    assert client.post("/events", json=late, headers=bearing(keys["feed"])).json() == {
        "accepted": 3, "late": 2, "seq": 1157,
    }  # fmt: skip


@pytest.mark.slow
def test_an_erasure_among_events_needs_operate(keyed: tuple[TestClient, Mapping[str, str]], service: Service) -> None:
    client, keys = keyed
    before = service.status().operations
    erasure = {"user": "u1", "op": "erase"}
    lines = {**bearing(keys["ingest"]), "Content-Type": "application/x-ndjson"}
    for answer in (
        client.post("/event", json=erasure, headers=bearing(keys["ingest"])),
        client.post("/events", json=[*users(2), erasure], headers=bearing(keys["ingest"])),
        client.post("/events", content=b'{"user": "a"}\n{"user": "u1", "op": "erase"}\n', headers=lines),
    ):
        problem_of(answer, 403, "scope-missing")
    assert service.status().operations == before
    assert client.post("/event", json=erasure, headers=bearing(keys["feed"])).json()["accepted"] == 1


@pytest.mark.slow
def test_a_fresh_release_needs_operate(keyed: tuple[TestClient, Mapping[str, str]]) -> None:
    client, keys = keyed
    for asked in ("true", "1", "on", "YES", "t", "y", "false&fresh=true", "true&fresh=false", "", "x"):
        for path in ("/dau", "/mau/2026-01-01"):
            for name in ("read", "operate"):
                problem_of(client.get(f"{path}?fresh={asked}", headers=bearing(keys[name])), 403, "scope-missing")
    assert len(client.get("/budget", headers=bearing(keys["read"])).json()["charges"]) == 3
    for asked in ("false", "0", "No", "OFF", "f", "n"):
        assert client.get(f"/dau?fresh={asked}", headers=bearing(keys["read"])).status_code == 200
    assert client.get("/dau?fresh=true", headers=bearing(keys["all"])).status_code == 200


def test_a_scope_that_lacks_is_named(service: Service) -> None:
    keys = keys_for(service.settings, {"reader": {"read"}, "nothing-much": {"metrics"}})
    with TestClient(create_app(service)) as client:
        said = problem_of(client.delete("/users/ann", headers=bearing(keys["reader"])), 403, "scope-missing")
        assert "scope operate" in said["detail"]
        said = problem_of(client.get("/mau?fresh=true", headers=bearing(keys["nothing-much"])), 403, "scope-missing")
        assert "operate and read" in said["detail"]
        problem_of(client.get("/nowhere", headers=bearing(keys["reader"])), 404, "http")
        problem_of(client.put("/events", headers=bearing(keys["reader"])), 405, "http")
        problem_of(client.get("/nowhere"), 401, "key-missing")


def test_the_description_says_what_every_call_needs(service: Service) -> None:
    app = create_app(service)
    for document in (app.openapi(), app.openapi()):
        schemes = document["components"]["securitySchemes"]
        assert (schemes["bearer"]["scheme"], schemes["header"]["name"]) == ("bearer", "X-API-Key")
        for path, item in document["paths"].items():
            for method, operation in item.items():
                needs = wanted_needs(
                    method.upper(), path.replace("{user}", "{user:path}").replace("{name}", "{name:path}")
                )
                assert operation["security"] == (
                    [] if needs is None else [{"bearer": sorted(needs)}, {"header": sorted(needs)}]
                )
                assert {"401", "403", "429"} <= set(operation["responses"]) or needs is None


def test_the_settings_name_no_file(tmp_path: Path, client: TestClient) -> None:
    shown = client.get("/config").json()["settings"]
    assert not {"store", "ledger", "key", "keys"} & set(shown)
    assert settings_in(tmp_path).keys_path == tmp_path / "s.keys"
