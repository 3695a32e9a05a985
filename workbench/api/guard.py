"""Who may call: a pure ASGI middleware, because one that sees requests only would let websockets through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.api.access import CALLER, RouteNeeds, needed
from workbench.api.failure_limit import FailureLimit
from workbench.api.login import COOKIE, LOGIN, form, logged_in, sent_key, target_of, to_login, wants_page
from workbench.api.origins import foreign, from_here, unframed
from workbench.api.problems import problem
from workbench.service.keyring import ALL_SCOPES, Caller, Keyring
from workbench.service.keys import KeyFileError, session_token

HERE = Caller("this machine", ALL_SCOPES)
POLICY_VIOLATION = 1008
ANYONE = Caller("anyone", frozenset())


class Guard:
    """Lets callers through whose key has the scopes that the route needs, HTTP and websocket alike.

    Where no key exists, programs of this machine may do everything, and nobody else anything.

    The key comes as `Authorization: Bearer KEY` or `X-API-Key: KEY`. A browser sends it once, by the form at /login,
    and from then on a cookie that is derived from the key and does not contain it.

    Args:
        routes: of the application; the list itself, so that routes added later are known too.
        keyring: says whose key it is, at this moment.
        limit: on wrong keys. Keys that nobody can guess are looked at all the same, so that a guesser stops nobody
            who uses one.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], keyring: Keyring, limit: FailureLimit) -> None:
        self._app = app
        self._routes = routes
        self._keyring = keyring
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        needs: RouteNeeds = None
        # Asked once: a file of keys may appear at any moment.
        if not self._keyring.guarded:
            judged: Caller | Response = HERE if from_here(connection) else _other_site()
        elif scope["type"] == "http" and scope["path"] == LOGIN:
            judged = await self._login(Request(scope, receive))
        else:
            # Now, because the router changes the scope when it passes the call on.
            needs = needed(self._routes, scope)
            judged = self._judge(connection, needs)
        if isinstance(judged, Caller):
            scope[CALLER] = judged
            if scope["type"] == "websocket":
                await self._app(scope, *self._while_admitted(connection, needs, receive, send))
            else:
                await self._app(scope, receive, unframed(send))
        elif scope["type"] == "websocket":
            await receive()
            await send(_hang_up("the call may not come from there, or its key is missing, wrong or lacks a scope"))
        else:
            await judged(scope, receive, unframed(send))

    def _judge(self, connection: HTTPConnection, needs: RouteNeeds) -> Caller | Response:
        """Who calls and may, or how the call is refused."""
        if needs is None:
            return ANYONE
        caller = self._authenticate(connection, _tokens(connection))
        if isinstance(caller, Response):
            unauthorized = caller.status_code == HTTPStatus.UNAUTHORIZED
            return to_login(connection) if unauthorized and wants_page(connection) else caller
        if needs <= caller.scopes:
            return caller
        return to_login(connection) if wants_page(connection) else _lacking(needs, caller)

    def _authenticate(self, connection: HTTPConnection, tokens: Sequence[str]) -> Caller | Response:
        """Whose key it is that came along; a wrong one is counted."""
        if not tokens:
            return _wrong()
        address = connection.client.host if connection.client else ""
        wait = self._limit.wait(address)
        refused = _wrong
        try:
            found = [self._keyring.find(token, made_only=wait > 0) for token in tokens]
        except KeyFileError:
            found, refused = [None] * len(tokens), _unusable_file
        for _ in range(0 if wait else found.count(None)):
            self._limit.note_failure(address)
        callers = [caller for caller in found if caller is not None]
        if not callers:
            return _blocked(wait) if wait else refused()
        if callers[0].guessable:
            self._limit.note_right(address)
        return callers[0] if not callers[0].expired else _unauthorized("key-expired", "The API key has expired")

    async def _login(self, request: Request) -> Response:
        target = target_of(request)
        if request.method != "POST":
            return form(target)
        if foreign(request):
            return _other_site()
        key = await sent_key(request)
        if key is None:
            return form(target, "That is too long for a key.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        token = session_token(key)
        caller = self._authenticate(request, [token])
        if isinstance(caller, Response):
            answer = form(target, _EXCUSES.get(caller.status_code, _EXCUSES[401]), HTTPStatus(caller.status_code))
            answer.headers.update({name: value for name, value in caller.headers.items() if name == "retry-after"})
            return answer
        path = target.partition("?")[0]
        needs = needed(self._routes, {**request.scope, "method": "GET", "path": path, "query_string": b""})
        if not (needs or frozenset()) <= caller.scopes:
            names = " and ".join(sorted(needs or ()))
            return form(target, f"That key does not open {path}, which needs {names}.", HTTPStatus.FORBIDDEN)
        return logged_in(request, token)

    def _while_admitted(
        self, connection: HTTPConnection, needs: RouteNeeds, receive: Receive, send: Send
    ) -> tuple[Receive, Send]:
        """Let a websocket's messages through, both ways, until its key is revoked or expires; then hang up."""
        gone = False

        async def ended() -> bool:
            nonlocal gone
            if not gone and not self._still_admits(connection, needs):
                gone = True
                await send(_hang_up("the key is no longer valid"))
            return gone

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and await ended():
                return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
            return message

        async def sending(message: Message) -> None:
            if not await ended():
                await send(message)

        return receiving, sending

    def _still_admits(self, connection: HTTPConnection, needs: RouteNeeds) -> bool:
        if not self._keyring.guarded:
            return True
        try:
            found = [self._keyring.find(token) for token in _tokens(connection)]
        except KeyFileError:
            return False
        return needs is not None and any(one and not one.expired and needs <= one.scopes for one in found)


def _tokens(connection: HTTPConnection) -> list[str]:
    """The session tokens of the keys in the headers or, where there are none, the one in the cookie."""
    scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
    given = [bearer if scheme.lower() == "bearer" else "", connection.headers.get("x-api-key", "")]
    # Headers arrive as bytes, which Starlette reads as Latin-1.
    if tokens := [session_token(key.encode("latin-1")) for key in given if key]:
        return tokens
    cookie = connection.cookies.get(COOKIE, "")
    # Browsers send a cookie along with what other ports of the same host ask for.
    return [cookie] if cookie and not foreign(connection) else []


def _unauthorized(kind: str, title: str) -> Response:
    detail = "Send a key of this service as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'; browsers log in at /login."
    return problem(kind, HTTPStatus.UNAUTHORIZED, title, detail)


def _wrong() -> Response:
    return _unauthorized("key-missing", "The API key is missing or wrong")


def _lacking(needs: frozenset[str], caller: Caller) -> Response:
    lacks = sorted(needs - caller.scopes)
    detail = (
        f"This call needs a key with the scope {' and '.join(sorted(needs))}; this one lacks {' and '.join(lacks)}."
    )
    return problem("scope-missing", HTTPStatus.FORBIDDEN, "The API key lacks a scope", detail, needed=sorted(needs))


def _blocked(wait: float) -> Response:
    detail = "Too many wrong keys came from this address, or from all together. Keys made by 'dpdau keys' are served."
    answer = problem("too-many-failures", HTTPStatus.TOO_MANY_REQUESTS, "Too many wrong keys", detail)
    answer.headers["retry-after"] = str(math.ceil(wait))
    return answer


def _unusable_file() -> Response:
    detail = "The service cannot use its file of keys. The operator finds the fault with 'dpdau keys list'."
    answer = problem("keys-unusable", HTTPStatus.SERVICE_UNAVAILABLE, "The file of keys cannot be used", detail)
    answer.headers["retry-after"] = "10"
    return answer


def _other_site() -> Response:
    return problem(
        "other-site",
        HTTPStatus.FORBIDDEN,
        "The call comes from another site",
        "A service without a key answers programs of this machine, by a loopback address or as localhost, and "
        "its own pages. To let others in, make a key with 'dpdau keys create', or set SERVICE_API_KEY.",
    )


def _hang_up(reason: str) -> Message:
    return {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason}


_EXCUSES = {
    401: "That is not a key of this service, or it has expired.",
    429: "Too many wrong keys: wait a minute.",
    503: "The service cannot use its file of keys.",
}
