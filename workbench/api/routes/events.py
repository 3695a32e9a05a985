"""Routes that store events and erase users."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from workbench.api.access import may
from workbench.api.events import EVENT_SCHEMA, EXAMPLE_EVENT, EXAMPLES, NDJSON, read_event, read_events
from workbench.api.intake import Intake
from workbench.api.metrics import Metrics
from workbench.api.responses import JSON, documented, json_response
from workbench.service import ERASE, Operation, Refused, Service, bad_events
from workbench.service.keys import OPERATE

LARGEST_BODY = 32 * 2**20

Handler = Callable[[Request], Awaitable[Response]]


def add_event_routes(app: FastAPI, service: Service, metrics: Metrics) -> None:
    """Routes that store events and erase users."""
    zone = service.settings.zone
    intake = Intake(service)

    async def store(request: Request, operations: list[Operation]) -> Response:
        operates = may(request, OPERATE)
        if not operates and any(operation.op == ERASE for operation in operations):
            raise Refused("scope-missing", "an erasure needs a key with the scope operate; nothing was stored")
        if faults := service.faults(operations):
            raise bad_events(faults)
        ingested = await intake.store(operations)
        metrics.count_events(operations, ingested)
        # The number of operations of all is an exact count, and what was sent is known to whoever sent it.
        told = ingested if operates else {"accepted": ingested.accepted, "late": ingested.late}
        return json_response(told)

    async def post_event(request: Request) -> Response:
        """Answers when the event is on disk. `late` counts events about a closed day: they count from the open one.

        An erasure needs a key with the scope operate, and only such a key is told `seq`, the number of operations that
        have arrived.
        """
        return await store(request, read_event(await _read(request), zone, service.today()))

    async def post_events(request: Request) -> Response:
        """All or none, in this order, in one step; answers when they are on disk."""
        content_type = request.headers.get("content-type", "")
        return await store(request, read_events(await _read(request), content_type, zone, service.today()))

    # FastAPI's handling of a request takes longer than storing an event. So plain routes answer, being the first to
    # match, and the same ones behind them describe.
    app.add_route("/event", post_event, methods=["POST"])
    app.add_route("/events", post_events, methods=["POST"])
    _describe(app, post_event, post_events)
    _add_erasure(app, service, metrics)


def _describe(app: FastAPI, post_event: Handler, post_events: Handler) -> None:
    app.post(
        "/event",
        tags=["events"],
        summary="Store one event",
        response_class=Response,
        openapi_extra=_body({JSON: (EVENT_SCHEMA, EXAMPLE_EVENT)}),
        responses=documented({"accepted": 1, "late": 0, "seq": 1}),
    )(post_event)
    app.post(
        "/events",
        tags=["events"],
        summary="Store many events",
        response_class=Response,
        openapi_extra=_body(
            {
                JSON: ({"type": "array", "items": EVENT_SCHEMA}, EXAMPLES),
                NDJSON: ({"type": "string"}, '{"user": "ann"}\n{"user": "bob"}\n'),
            }
        ),
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
    def delete_user(user: str) -> Response:
        """Answers when the erasure is on disk; every row of the user goes within seconds.

        Where the unit is a user, what stays is how often the presence changed, under a keyed pseudonym.
        """
        service.erase(user)
        metrics.count_erasure()
        return json_response({"erased": True})

    route = app.routes[-1]
    assert isinstance(route, APIRoute)
    # A dot stands for line breaks too: without it, `a` would be erased for the user `a\n`, and nobody for `a\nb`.
    route.path_regex = re.compile(route.path_regex.pattern, re.DOTALL)


async def _read(request: Request) -> bytes:
    """The body, refused before it fills the memory."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_BODY:
            detail = f"the body is larger than {LARGEST_BODY // 2**20} MiB; send the events in several requests"
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        chunks.append(chunk)
    return b"".join(chunks)


def _body(contents: dict[str, tuple[dict[str, Any], Any]]) -> dict[str, Any]:
    described = {kind: {"schema": schema, "example": example} for kind, (schema, example) in contents.items()}
    return {"requestBody": {"required": True, "content": described}}
