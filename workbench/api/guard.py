"""Who may call: pure ASGI middlewares, because one that sees requests only would let websockets through."""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
from html import escape
from http import HTTPStatus
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.api.problems import problem

COOKIE = "dpdau_session"
LOGIN = "/login"
OPEN = frozenset({"/healthz", "/livez", "/readyz"})
LONGEST_FORM = 4096


@functools.lru_cache(maxsize=64)
def only_here(host: str) -> bool:
    """Whether only this machine can reach an address of that name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class LocalGuard:
    """Without a key: programs of this machine, and pages that come from this service, but no other site's pages.

    Any page that a browser on this machine shows can send requests to loopback. Such a request carries the page's
    origin, or says that it is cross-site, or calls this machine by a name of its own (DNS rebinding).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif self._admits(HTTPConnection(scope)):
            await self._app(scope, receive, _unframed(send))
        elif scope["type"] == "websocket":
            await _hang_up(receive, send, "the call comes from another site")
        else:
            answer = problem(
                "other-site",
                HTTPStatus.FORBIDDEN,
                "The call comes from another site",
                "A service without a key answers programs of this machine, by a loopback address or as localhost, and "
                "its own pages. To let others in, set SERVICE_API_KEY.",
            )
            await answer(scope, receive, send)

    def _admits(self, connection: HTTPConnection) -> bool:
        host, origin = connection.headers.get("host", ""), connection.headers.get("origin")
        named = only_here(_name(f"//{host}"))
        return named and not _foreign(connection) and (origin is None or _net(origin) == host)


class KeyGuard:
    """Lets only callers with the key through, HTTP and websocket alike; health and the login form are open.

    The key comes as `Authorization: Bearer KEY` or `X-API-Key: KEY`. A browser sends it once, by the form at /login,
    and from then on a cookie that is derived from the key and does not contain it.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()
        self._token = hmac.new(self._key, b"dpdau session", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        # Not the URL, which the Host header has a part in: the path that is routed.
        path = scope["path"]
        if self._admits(connection) or (scope["type"] == "http" and path in OPEN):
            await self._app(scope, receive, _unframed(send))
        elif scope["type"] == "websocket":
            await _hang_up(receive, send, "the API key is missing or wrong")
        elif path == LOGIN:
            await (await self._login(Request(scope, receive)))(scope, receive, send)
        else:
            await self._refuse(connection)(scope, receive, send)

    def _admits(self, connection: HTTPConnection) -> bool:
        scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
        given = [bearer if scheme.lower() == "bearer" else "", connection.headers.get("x-api-key", "")]
        cookie = connection.cookies.get(COOKIE, "")
        # Headers arrive as bytes, which Starlette reads as Latin-1.
        if any(self._is_key(key.encode("latin-1")) for key in given):
            return True
        # Browsers send a cookie along with what other ports of the same host ask for.
        return hmac.compare_digest(cookie.encode(), self._token.encode()) and not _foreign(connection)

    def _is_key(self, given: bytes) -> bool:
        return hmac.compare_digest(given, self._key)

    def _refuse(self, connection: HTTPConnection) -> Response:
        wants_page = "text/html" in connection.headers.get("accept", "")
        if wants_page and connection.scope["method"] == "GET":
            target = connection.scope["path"] + (f"?{connection.url.query}" if connection.url.query else "")
            return RedirectResponse(f"{LOGIN}?next={quote(target, safe='')}", HTTPStatus.SEE_OTHER)
        return problem(
            "key-missing",
            HTTPStatus.UNAUTHORIZED,
            "The API key is missing or wrong",
            "Send the service's key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'; browsers log in at /login.",
        )

    async def _login(self, request: Request) -> Response:
        target = _local(request.query_params.get("next", "/ui/"))
        if request.method != "POST":
            return _form(target, "", HTTPStatus.OK)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST_FORM:
                return _form(target, "That is too long for a key.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        given = parse_qs(body.decode("utf-8", "replace")).get("key", [""])[0]
        if not self._is_key(given.encode()):
            return _form(target, "That is not the key of this service.", HTTPStatus.UNAUTHORIZED)
        response = RedirectResponse(target, HTTPStatus.SEE_OTHER)
        response.set_cookie(COOKIE, self._token, httponly=True, samesite="strict", secure=request.url.scheme == "https")
        return response


async def _hang_up(receive: Receive, send: Send, reason: str) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1008, "reason": reason})


def _foreign(connection: HTTPConnection) -> bool:
    """Whether a browser says that another site's page asks, other than by a link that leads to a page of ours.

    Such a page does nothing by being shown, as long as it is not shown inside another one.
    """
    headers, scope = connection.headers, connection.scope
    if headers.get("sec-fetch-site") not in ("cross-site", "same-site"):
        return False
    link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return not (link and scope.get("method") == "GET" and _is_page(scope["path"]))


def _unframed(send: Send) -> Send:
    """Forbid other sites to show an answer inside their pages."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"content-security-policy", b"frame-ancestors 'self'")]
            message = {**message, "headers": headers}
        await send(message)

    return sending


def _is_page(path: str) -> bool:
    return path in ("/", "/docs", "/ui") or path.startswith("/ui/")


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _net(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _local(target: str) -> str:
    """Where to go after logging in: a path of this service, never another one's address."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/ui/"


def _form(target: str, message: str, status: HTTPStatus) -> Response:
    note = f'<p role="alert">{escape(message)}</p>' if message else ""
    return HTMLResponse(_PAGE.format(target=quote(target, safe=""), note=note), int(status))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>dpdau: log in</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif }}
main {{ max-width: 22rem; margin: 20vh auto 0; padding: 0 1rem }}
label, input, button {{ display: block; width: 100%; box-sizing: border-box; font: inherit }}
input, button {{ padding: .6rem; margin-top: .5rem }}
</style>
</head>
<body><main>
<h1>dpdau</h1>
{note}
<form method="post" action="/login?next={target}">
<label for="key">Key of this service (SERVICE_API_KEY)</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button>
</form>
</main></body>
</html>
"""
