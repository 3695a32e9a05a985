"""Who may call: with a key, and without one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import date
from itertools import count
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, WebSocketRoute
from starlette.testclient import WebSocketDenialResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.laws import each
from tests.workbench.api.common import NOW, bearing, keys_for, local, problem_of, users
from workbench.api.admission import Admission
from workbench.api.app import create_app
from workbench.api.failure_limit import FailureLimit
from workbench.api.guard import Guard
from workbench.api.login import COOKIE
from workbench.service import Service
from workbench.service.keyring import Keyring
from workbench.service.keys import create_key

TODAY = NOW.date()
KEY = "a key with ünicode, 32 characters"


@pytest.fixture
def guarded(service: Service) -> Iterator[TestClient]:
    # Ten seconds pass from call to call, so that wrong keys of many cases are not too many at once.
    app = create_app(service, api_key=KEY, seconds=count(step=10).__next__)
    with TestClient(app, follow_redirects=False) as made:
        yield made


def test_the_key_guards_all_but_health(guarded: TestClient) -> None:
    assert guarded.get("/healthz").status_code == 200
    open_paths = {path for path in guarded.app.openapi()["paths"]} - {"/healthz", "/livez", "/readyz"}  # type: ignore[attr-defined]
    for path in [*open_paths, "/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css", "/ui/", "/nowhere"]:
        for method in ("get", "post", "delete"):
            problem_of(guarded.request(method, path.replace("{day}", "2026-01-01")), 401, "key-missing")
    assert guarded.get("/budget").headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_the_key_opens(guarded: TestClient, header: str) -> None:
    prefix = b"Bearer " if header == "Authorization" else b""
    sent = KEY.encode()
    assert guarded.get("/budget", headers=[(header.encode(), prefix + sent)]).status_code == 200
    for wrong in (b"", b"wrong", sent[:-1], sent + b"x", b"\xff"):
        problem_of(guarded.get("/budget", headers=[(header.encode(), prefix + wrong)]), 401, "key-missing")


def test_a_browser_logs_in_once(guarded: TestClient) -> None:
    sent_away = guarded.get("/docs?a=b", headers={"Accept": "text/html"})
    assert (sent_away.status_code, sent_away.headers["location"]) == (303, "/login?next=%2Fdocs%3Fa%3Db")
    form = guarded.get(sent_away.headers["location"])
    assert form.status_code == 200
    assert 'type="password"' in form.text
    wrong = guarded.post("/login", data={"key": "wrong"})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    right = guarded.post(sent_away.headers["location"], data={"key": KEY})
    assert (right.status_code, right.headers["location"]) == (303, "/docs?a=b")
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert KEY not in cookie
    assert guarded.get("/docs").status_code == 200
    guarded.cookies.clear()
    guarded.cookies.set(COOKIE, "0" * 64)
    assert guarded.get("/docs").status_code == 401


@each("target", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "javascript:x", "//["])
def test_logging_in_leads_nowhere_else(guarded: TestClient, target: str) -> None:
    guarded.cookies.clear()
    response = guarded.post("/login", params={"next": target}, data={"key": KEY})
    assert response.headers["location"] == "/ui/"


# Every way to write another host, and what is not shown here.
ELSEWHERE = [
    "//evil.example", "///evil.example", "////evil.example/ui/", "/\\evil.example", "\\\\evil.example",
    "/\\/evil.example",
    "%2f%2fevil.example", "/%2fevil.example", "/%5cevil.example", "%252f%252fevil.example", "/%2e%2e//evil.example",
    "/./evil.example", "/.//evil.example", "/docs/..//evil.example", "/ui//evil.example", "/ui/..//evil.example",
    "/\t/evil.example", "/\n/evil.example", "\t//evil.example", " //evil.example", "/ /evil.example",
    "/\r\n/evil.example",
    "/docs\r\nSet-Cookie: a=b", "/docs#//evil.example", "/docs;//evil.example", "http:evil.example", "https:/docs",
    "HTTPS://evil.example", "//user@evil.example", "/docs@evil.example", "/@evil.example", "evil.example/docs",
    "javascript:alert(1)", "data:text/html,x", "", "?", "docs", "/nowhere", "/docs/more", "/login", "/login?next=/docs",
    "/event", "/users/ann", "/days/2026-01-01/close", "/docs\x00", "/dócs", "/docs?x=\u00e9", "/docs?x=\\", "/docs?a b",
]  # fmt: skip


@each("target", ELSEWHERE, by=lambda target: "a host" if "evil" in target else "no host")
def test_logging_in_leads_to_what_is_shown_here_and_says_nothing_else(guarded: TestClient, target: str) -> None:
    guarded.cookies.clear()
    answer = guarded.post("/login", params={"next": target}, data={"key": KEY})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/")
    for shown in (guarded.get("/login", params={"next": target}), guarded.post("/login", params={"next": target})):
        assert "/login?next=%2Fui%2F" in shown.text
        assert "evil" not in shown.text + str(shown.headers)


@each(
    ("target", "leads_to"),
    [
        *[(page, page) for page in ("/docs", "/docs?a=b&c=%2F", "/openapi.json", "/mau", "/mau?day=2026-01-01")],
        *[
            (page, page)
            for page in ("/releases/mau?format=csv&from=2026-01-01", "/budget", "/metrics", "/mau?fresh=no")
        ],
        # It would be charged.
        *[
            (f"/mau?{query}", "/mau")
            for query in ("fresh=true", "fresh=1&day=2026-01-01", "day=2026-01-01&fresh=%74rue")
        ],
        ("/dau/2026-01-01?fresh=on", "/dau/2026-01-01"),
    ],
)
def test_logging_in_shows_what_was_asked_for_and_does_nothing_else(
    guarded: TestClient, target: str, leads_to: str
) -> None:
    guarded.cookies.clear()
    answer = guarded.post("/login", params={"next": target}, data={"key": KEY})
    assert (answer.status_code, answer.headers["location"]) == (303, leads_to)


def test_no_other_site_may_frame_a_page(client: TestClient, guarded: TestClient) -> None:
    assert client.get("/docs").headers["content-security-policy"] == "frame-ancestors 'self'"
    answer = guarded.get("/docs", headers=[(b"X-API-Key", KEY.encode())])
    assert answer.headers["content-security-policy"] == "frame-ancestors 'self'"


def test_a_cookie_is_not_for_pages_of_another_port(guarded: TestClient) -> None:
    guarded.post("/login", data={"key": KEY})
    other = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}
    assert guarded.get("/budget").status_code == 200
    assert guarded.get("/budget", headers=other).status_code == 401
    assert guarded.post("/days/2026-01-01/close", headers=other).status_code == 401
    keyed = [(name.encode(), value.encode()) for name, value in other.items()]
    assert guarded.get("/budget", headers=[*keyed, (b"X-API-Key", KEY.encode())]).status_code == 200


def test_a_login_form_does_not_swallow_everything(guarded: TestClient) -> None:
    assert guarded.post("/login", content=b"key=" + b"x" * 10_000).status_code == 413


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("open")
    await websocket.close()


def test_the_key_guards_websockets(tmp_path: Path) -> None:
    app = Starlette(routes=[Mount("/ui", routes=[WebSocketRoute("/_stcore/stream", _echo)])])
    keyring = Keyring(tmp_path / "none", KEY, lambda: TODAY)
    client = TestClient(Guard(app, app.routes, Admission(keyring, FailureLimit(lambda: 0.0))))
    with (
        pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)),
        client.websocket_connect("/ui/_stcore/stream") as socket,
    ):
        socket.receive_text()
    token = client.post("/login", data={"key": KEY}, follow_redirects=False).headers["set-cookie"].split(";")[0]
    for headers in ({b"X-API-Key": KEY.encode()}, {b"Cookie": token.encode()}):
        with client.websocket_connect("/ui/_stcore/stream", headers=headers) as socket:
            assert socket.receive_text() == "open"


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1:9"},
    {"Origin": "null"},
    {"Host": "evil.example"},
    {"Host": "evil.example", "Origin": "http://evil.example"},
    {"Host": "["},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_without_a_key_no_other_site_may_call(client: TestClient, service: Service, headers: dict[str, str]) -> None:
    problem_of(client.post("/events", json=users(1), headers=headers), 403, "other-site")
    problem_of(client.post("/days/2026-01-01/close", headers=headers), 403, "other-site")
    problem_of(client.get("/mau?fresh=true", headers=headers), 403, "other-site")
    assert service.status().operations == 0
    assert service.charges() == []
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ui/_stcore/stream", headers=headers) as socket:
        socket.receive_text()


@each(
    "headers",
    [
        {},
        {"Host": "localhost:8000"},
        {"Host": "[::1]:8000"},
        {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_without_a_key_this_machine_may_call(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/events", json=users(1), headers=headers).status_code == 200


def test_a_link_from_elsewhere_may_lead_to_a_page(client: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/docs", headers=headers).status_code == 200
    assert client.get("/mau", headers=headers).status_code == 403
    assert client.post("/docs", headers=headers).status_code == 403
    assert client.get("/docs", headers={**headers, "Sec-Fetch-Dest": "iframe"}).status_code == 403
    assert client.get("/docs", headers={**headers, "Host": "evil.example"}).status_code == 403


# Keys of a file


def test_a_browser_with_a_key_that_only_reads_gets_no_further_than_its_scope(service: Service) -> None:
    keys = keys_for(service.settings, {"reader": {"read"}, "operator": {"operate", "read"}})
    with TestClient(create_app(service, pages=_Pages()), follow_redirects=False) as client:
        refused = client.post("/login", data={"key": keys["reader"]})
        assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
        assert "operate and read" in refused.text
        assert client.post("/login?next=/docs", data={"key": keys["reader"]}).status_code == 303
        assert client.get("/docs").status_code == 200
        assert client.get("/config").status_code == 200
        problem_of(client.get("/ui/_stcore/health"), 403, "scope-missing")
        page = client.get("/ui/operate", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Fui%2Foperate")
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ui/_stcore/stream") as socket:
            socket.receive_text()
        assert (
            client.post(page.headers["location"], data={"key": keys["operator"]}).headers["location"] == "/ui/operate"
        )
        assert client.get("/ui/operate", headers={"Accept": "text/html"}).text == "a page"
        with client.websocket_connect("/ui/_stcore/stream") as socket:
            assert socket.receive_text() == "more"


def test_an_open_websocket_ends_with_its_key(service: Service) -> None:
    keys = keys_for(service.settings, {"operator": {"operate", "read"}})
    pages = _Pages()
    with (
        TestClient(create_app(service, pages=pages)) as client,
        client.websocket_connect("/ui/_stcore/stream", headers=bearing(keys["operator"])) as socket,
    ):
        assert socket.receive_text() == "more"
        socket.send_text("go on")
        assert socket.receive_text() == "more"
        keys_for(service.settings, {"operator": {"read"}})
        socket.send_text("close the day")
        with pytest.raises(WebSocketDisconnect) as ended:
            socket.receive_text()
    assert ended.value.code == 1008
    assert pages.received == ["go on"]


def test_a_websocket_that_is_open_without_a_key_ends_when_keys_appear(service: Service) -> None:
    with (
        local(create_app(service, pages=_Pages())) as client,
        client.websocket_connect("ws://127.0.0.1:8000/ui/_stcore/stream") as socket,
    ):
        assert socket.receive_text() == "more"
        keys_for(service.settings, {"reader": {"read"}})
        socket.send_text("close the day")
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()


def test_a_running_service_notices_keys_that_are_made_and_revoked(service: Service) -> None:
    with local(create_app(service)) as client:
        assert client.get("/config").status_code == 200
        keys = keys_for(service.settings, {"reader": {"read"}})
        problem_of(client.get("/config"), 401, "key-missing")
        assert client.get("/config", headers=bearing(keys["reader"])).status_code == 200
        keys_for(service.settings, {})
        problem_of(client.get("/config", headers=bearing(keys["reader"])), 401, "key-missing")
        service.settings.keys_path.unlink()
        problem_of(client.get("/config"), 401, "key-missing")


def test_an_expired_key_is_told_so(service: Service) -> None:
    key = create_key(
        service.settings.keys_path, "a", ["read"], made=date(2026, 5, 1), expires=TODAY, random=lambda size: b"x" * size
    )
    with TestClient(create_app(service)) as client:
        problem_of(client.get("/config", headers=bearing(key)), 401, "key-expired")
        assert client.post("/login?next=/docs", data={"key": key}).status_code == 401


def test_another_site_cannot_log_a_browser_in(guarded: TestClient) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    problem_of(guarded.post("/login", data={"key": KEY}, headers=foreign), 403, "other-site")


class _Pages:
    """In place of Streamlit's application: a page, and a websocket that answers every message."""

    def __init__(self) -> None:
        self.received: list[str] = []

    @asynccontextmanager
    async def _nothing(self, app: object) -> AsyncIterator[None]:
        yield

    def lifespan(self) -> Callable[[object], AbstractAsyncContextManager[None]]:
        return self._nothing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await Response("a page")(scope, receive, send)
            return
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        with suppress(WebSocketDisconnect):
            while True:
                await socket.send_text("more")
                self.received.append(await socket.receive_text())
