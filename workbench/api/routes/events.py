"""Routes that store events and erase users."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from dp.log import is_utf8
from workbench.api.access import may
from workbench.api.direct import Direct, Handler
from workbench.api.events import (
    EVENT_SCHEMA,
    EXAMPLE_EVENT,
    EXAMPLES,
    NDJSON,
    EventRules,
    Parsed,
    read_event,
    read_events,
)
from workbench.api.intake import Intake
from workbench.api.metrics import Metrics
from workbench.api.responses import JSON, documented, json_response
from workbench.service import Refused, Service
from workbench.service.keys import OPERATE
from workbench.service.requests import KEPT_DAYS, REQUEST_ID, RequestKey, request_key

UTF8 = ("utf-8", "utf8", "us-ascii")
ON_ERROR = {
    "name": "on_error",
    "in": "query",
    "schema": {"enum": ["refuse", "partial"], "default": "refuse"},
    "description": "'refuse': one bad event, and nothing is stored. 'partial': the good ones are stored, and the "
    "answer says how many were rejected, and of the first 100 which and why; accepted and rejected add up to what was "
    "sent.",
}
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": REQUEST_ID.pattern},
    "description": f"Names the request for {KEPT_DAYS} days: repeated, it is answered as the first time and stores "
    "nothing. With another body it is refused.",
}


def add_event_routes(app: FastAPI, service: Service, metrics: Metrics) -> None:
    """Routes that store events and erase users."""
    rules = EventRules.of(service)
    intake = Intake(service, metrics)

    async def store(request: Request, body: bytes, parsed: Parsed, *, partial: bool = False) -> Response:
        operates = may(request, OPERATE)
        outcome = await intake.store(parsed, _request_key(request, body), operates=operates, partial=partial)
        # The number of operations of all is an exact count, and what was sent is known to whoever sent it.
        return Response(outcome.answer(seq=operates), media_type=JSON)

    async def post_event(request: Request) -> Response:
        """Answers when the event is on disk. `late` counts events about a closed day: they count from the open one.

        An erasure needs a key with the scope operate, and only such a key is told `seq`, the number of operations that
        have arrived.
        """
        if _media_type(request) != JSON:
            raise _unsupported()
        body = await _read(request)
        return await store(request, body, read_event(body, rules))

    async def post_events(request: Request) -> Response:
        """All or none unless `on_error=partial`, in this order, in one step; answers when they are on disk."""
        partial, media_type = _partial(request), _media_type(request)
        body = await _read(request)
        return await store(request, body, read_events(body, media_type, rules), partial=partial)

    # These answer, and the same ones as FastAPI's routes describe.
    app.add_middleware(Direct, posts={"/event": post_event, "/events": post_events})
    _describe(app, post_event, post_events)
    _add_erasure(app, service, metrics)


def _describe(app: FastAPI, post_event: Handler, post_events: Handler) -> None:
    app.post(
        "/event",
        tags=["events"],
        summary="Store one event",
        response_class=Response,
        openapi_extra={"parameters": [KEY], **_body({JSON: (EVENT_SCHEMA, EXAMPLE_EVENT)})},
        responses=documented({"accepted": 1, "late": 0, "seq": 1}),
    )(post_event)
    app.post(
        "/events",
        tags=["events"],
        summary="Store many events",
        response_class=Response,
        openapi_extra={
            "parameters": [ON_ERROR, KEY],
            **_body(
                {
                    JSON: ({"type": "array", "items": EVENT_SCHEMA}, EXAMPLES),
                    NDJSON: ({"type": "string"}, '{"user": "ann"}\n{"user": "bob"}\n'),
                }
            ),
        },
        responses=documented({"accepted": 3, "late": 0, "seq": 4}),
    )(post_events)


def _add_erasure(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.delete(
        "/users/{user:path}",
        tags=["events"],
        summary="Erase a user",
        response_class=Response,
        responses=documented({"erased": True}),
    )
    def delete_user(user: str, request: Request) -> Response:
        """Answers when the erasure is on disk; every row of the user goes within seconds.

        Where the unit is a user, what stays is how often the presence changed, under a keyed pseudonym; where flows are
        asked, that the user was present.
        """
        # What is not UTF-8 was replaced in the decoded path, and somebody else would be erased.
        if not is_utf8(unquote(request.scope["raw_path"], errors="surrogateescape")):
            raise Refused("bad-request", "nothing was erased: the user in the path is not percent-encoded UTF-8")
        service.erase(user)
        metrics.count_erasure()
        return json_response({"erased": True})

    route = app.routes[-1]
    assert isinstance(route, APIRoute)
    # A dot stands for line breaks too: without it, `a` would be erased for the user `a\n`, and nobody for `a\nb`.
    route.path_regex = re.compile(route.path_regex.pattern, re.DOTALL)


def _request_key(request: Request, body: bytes) -> RequestKey | None:
    """The Idempotency-Key, if there is one, as a plain word or as a string in quotes."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1:
        raise Refused("bad-request", "nothing was stored: there is more than one Idempotency-Key")
    return request_key(given[0], [request.url.path, request.url.query, request.headers.get("content-type", "")], body)


def _partial(request: Request) -> bool:
    chosen = request.query_params.get("on_error", "refuse") if request.scope["query_string"] else "refuse"
    if chosen not in ("refuse", "partial"):
        raise Refused("bad-request", "on_error is neither 'refuse' nor 'partial'; nothing was stored")
    return chosen == "partial"


def _media_type(request: Request) -> str:
    """JSON, also where nothing is said, or JSON Lines; both in UTF-8 and as they are.

    Raises:
        HTTPException: it is something else, which is not guessed at.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _unsupported()
    content_type = request.headers.get("content-type", JSON)
    if content_type in (JSON, NDJSON):
        return content_type
    media_type, *parameters = content_type.lower().split(";")
    values = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
    charset = next((value for name, value in values.items() if name.strip() == "charset"), "utf-8")
    if media_type.strip() not in (JSON, NDJSON) or charset.strip(' "') not in UTF8:
        raise _unsupported()
    return media_type.strip()


def _unsupported() -> HTTPException:
    return HTTPException(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"nothing was stored: send UTF-8 without Content-Encoding, as {JSON}, or to /events also as {NDJSON}",
    )


async def _read(request: Request) -> bytes:
    try:
        return b"".join([chunk async for chunk in request.stream() if chunk])
    except ClientDisconnect:
        # Nobody is there to be told, but the metrics count it as what it is.
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive whole; nothing was stored") from None


def _body(contents: dict[str, tuple[dict[str, Any], Any]]) -> dict[str, Any]:
    described = {kind: {"schema": schema, "example": example} for kind, (schema, example) in contents.items()}
    return {"requestBody": {"required": True, "content": described}}
