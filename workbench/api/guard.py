"""Who may call: a pure ASGI middleware, because one that sees requests only would let websockets through."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.api.access import CALLER, RouteNeeds, needed
from workbench.api.admission import HERE, OTHER_SITE, Admission, lacking, tokens_of
from workbench.api.login import COOKIE, LOGIN, form, logged_in, sent_key, shown, target_of, to_login, wants_page
from workbench.api.origins import foreign, from_here, unframed
from workbench.api.problems import Problem
from workbench.service.keyring import Caller
from workbench.service.keys import KeyFileError, session_token

POLICY_VIOLATION = 1008
ANYONE = Caller("anyone", frozenset())


class Guard:
    """Lets callers through whose key has the scopes that the route needs, HTTP and websocket alike.

    Where no key exists, programs of this machine may do everything, and nobody else anything.

    The key comes as `Authorization: Bearer KEY` or `X-API-Key: KEY`. A browser sends it once, by the form at /login,
    and from then on a cookie that is derived from the key and does not contain it.

    Args:
        routes: of the application; the list itself, so that routes added later are known too.
        admission: says whose key it is, at this moment, and limits guesses.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], admission: Admission) -> None:
        self._app = app
        self._routes = routes
        self._keyring = admission.keyring
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        needs: RouteNeeds = None
        # Asked once: a file of keys may appear at any moment.
        if not self._keyring.guarded:
            judged: Caller | Response = HERE if from_here(connection) else OTHER_SITE.response()
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
        if isinstance(caller, Caller) and needs <= caller.scopes:
            return caller
        problem = lacking(needs, caller) if isinstance(caller, Caller) else caller
        helped = wants_page(connection) and problem.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        return to_login(connection) if helped else problem.response()

    def _authenticate(self, connection: HTTPConnection, tokens: Sequence[str]) -> Caller | Problem:
        return self._admission.authenticate(connection.client.host if connection.client else "", tokens)

    async def _login(self, request: Request) -> Response:
        target = target_of(request, self._routes)
        if request.method != "POST":
            return form(target)
        if foreign(request):
            return OTHER_SITE.response()
        key = await sent_key(request)
        if key is None:
            return form(target, "That is too long for a key.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        token = session_token(key)
        caller = self._authenticate(request, [token])
        if isinstance(caller, Problem):
            answer = form(target, _EXCUSES[caller.status], caller.status)
            if caller.retry_after is not None:
                answer.headers["retry-after"] = str(caller.retry_after)
            return answer
        needs = needed(self._routes, shown(request, target)) or frozenset()
        if not needs <= caller.scopes:
            path = target.partition("?")[0]
            message = f"That key does not open {path}, which needs {' and '.join(sorted(needs))}."
            return form(target, message, HTTPStatus.FORBIDDEN)
        return logged_in(request, target, token)

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
    if tokens := tokens_of(connection.headers):
        return tokens
    cookie = connection.cookies.get(COOKIE, "")
    # Browsers send a cookie along with what other ports of the same host ask for.
    return [cookie] if cookie and not foreign(connection) else []


def _hang_up(reason: str) -> Message:
    return {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": reason}


_EXCUSES = {
    HTTPStatus.UNAUTHORIZED: "That is not a key of this service, or it has expired.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many wrong keys: wait a minute.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The service cannot use its file of keys.",
}
