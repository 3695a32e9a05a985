"""The HTTP face of the service: FastAPI in front, the Streamlit pages under /ui."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Header, Path, Query, Request
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from workbench.api.events import EVENT_SCHEMA, EXAMPLE, EXAMPLES, NDJSON, read_event, read_events
from workbench.api.guard import KeyGuard, LocalGuard
from workbench.api.intake import Intake
from workbench.api.metrics import Measure, Metrics
from workbench.api.problems import MEDIA_TYPE, explain
from workbench.api.rows import budget_row, charge_row
from workbench.service import Operation, Refused, Service, bad_events

LARGEST_BODY = 32 * 2**20
JSON = "application/json"

RELEASE_EXAMPLE = {
    "metric": "mau", "window": 30, "day": "2026-01-01", "estimate": 984.26, "ci_low": 953.40, "ci_high": 1015.13,
    "ci_level": 0.95, "std": 15.75, "epsilon": 0.5, "delta": 1e-6, "epsilon_total": 0.5, "delta_total": 1e-6,
    "mechanism": "damped-square-root", "sketch": "exact", "unit": "user-day", "w_bound": 2, "horizon": 365,
    "budget": "live", "budget_remaining": 1.8, "secure": True,
}  # fmt: skip
PROBLEM_EXAMPLE = {
    "type": "urn:dpdau:problem:open-day",
    "title": "This day is not closed yet",
    "status": 409,
    "detail": "2026-01-02 is not closed yet: 2026-01-02 is the next to be closed",
}

DESCRIPTION = """Private active-user counts: post what users do and take back, close days, read DAU, WAU and MAU under
differential privacy. A closed day is published once and never revised. Errors are problem details (RFC 9457)."""

Day = Annotated[str, Path(description="A calendar day, YYYY-MM-DD.", examples=["2026-01-01"])]
Fresh = Annotated[
    bool,
    Query(description="Draw a new release of this past day from the log as it stands now, charged on its own."),
]
RequestId = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Repeated with fresh=true, it returns the same bytes and charges nothing. Without one, every call "
        "is a new charge.",
    ),
]


def create_app(
    service: Service,
    *,
    api_key: str | None = None,
    pages: Any = None,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> FastAPI:
    """The application around an open service.

    Args:
        api_key: guards everything but health; without one only this machine is answered.
        pages: a Streamlit application (`st.App`) to mount under /ui.
        new_id: names fresh releases whose caller names none.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if pages is None:
            yield
            return
        async with pages.lifespan()(app):
            yield

    app = FastAPIOffline(
        title="dpdau", description=DESCRIPTION, lifespan=lifespan, redoc_url=None, responses=_documented_problems()
    )
    explain(app)
    _events(app, service, metrics)
    _days(app, service, metrics, new_id)
    _operation(app, service, metrics)
    if pages is not None:
        app.mount("/ui", pages)
        app.add_api_route("/", lambda: RedirectResponse("/ui/"), include_in_schema=False, response_class=Response)
    # The last one added is the outermost: refused requests are counted too.
    if api_key:
        app.add_middleware(KeyGuard, key=api_key)
    else:
        app.add_middleware(LocalGuard)
    app.add_middleware(Measure, metrics=metrics)
    return app


def _events(app: FastAPI, service: Service, metrics: Metrics) -> None:
    zone = service.settings.zone
    intake = Intake(service)

    async def store(operations: list[Operation]) -> Response:
        if faults := service.faults(operations):
            raise bad_events(faults)
        ingested = await intake.store(operations)
        metrics.stored(operations, ingested)
        return _json(ingested)

    async def post_event(request: Request) -> Response:
        """Answers when the event is on disk. `late` counts events about a closed day: they count from the open one."""
        return await store(read_event(await _read(request), zone, service.today()))

    async def post_events(request: Request) -> Response:
        """All or none, in this order, in one step; answers when they are on disk."""
        content_type = request.headers.get("content-type", "")
        return await store(read_events(await _read(request), content_type, zone, service.today()))

    # FastAPI's handling of a request takes longer than storing an event. So plain routes answer, being the first to
    # match, and the same ones behind them describe.
    app.add_route("/event", post_event, methods=["POST"])
    app.add_route("/events", post_events, methods=["POST"])
    app.post(
        "/event",
        tags=["events"],
        summary="Store one event",
        response_class=Response,
        openapi_extra=_body({JSON: (EVENT_SCHEMA, EXAMPLE)}),
        responses=_documented({"accepted": 1, "late": 0, "seq": 1}),
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
        responses=_documented({"accepted": 3, "late": 0, "seq": 4}),
    )(post_events)

    @app.delete(
        "/users/{user:path}",
        tags=["events"],
        summary="Erase a user",
        response_class=Response,
        responses=_documented({"rows_removed": 12}),
    )
    def delete_user(user: str) -> Response:
        """Every row of the user goes. What stays is how often the user's presence changed, under a keyed pseudonym."""
        removed = service.erase(user)
        metrics.erased()
        return _json({"rows_removed": removed})


def _days(app: FastAPI, service: Service, metrics: Metrics, new_id: Callable[[], str]) -> None:
    @app.post(
        "/days/{day}/close",
        tags=["days"],
        summary="Close a day and publish it",
        response_class=Response,
        responses=_documented([RELEASE_EXAMPLE]),
    )
    def close(day: Day) -> Response:
        """Counts the day for good, draws the next release of every series and commits them before answering.

        A day that is closed already returns what was published then.
        """
        before = service.status().last
        rows = service.close(_parse_day(day))
        if before is None or _parse_day(day) > before:
            for metric in service.settings.series:
                metrics.released(metric, "published")
        return Response("[" + ",".join(rows) + "]", media_type=JSON)

    def answer(metric: str, day: str | None, fresh: bool, request_id: str | None) -> Response:
        chosen = _parse_day(day) if day else service.status().last
        if chosen is None:
            raise Refused("open-day", "no day is closed yet; POST /days/{day}/close closes one")
        if not fresh:
            return Response(service.release(metric, chosen), media_type=JSON)
        name = request_id or new_id()
        drawn_before = service.find_fresh(metric, chosen, name)
        row = drawn_before or service.fresh(metric, chosen, name)
        if drawn_before is None:
            metrics.released(metric, "fresh")
        return Response(row, media_type=JSON, headers={"Idempotency-Key": name, "Cache-Control": "no-store"})

    def of_metric(metric: str) -> None:
        summary = f"{metric.upper()} of a day"

        @app.get(
            f"/{metric}/{{day}}",
            name=f"get_{metric}_of_day",
            tags=["releases"],
            summary=summary,
            response_class=Response,
            responses=_documented({**RELEASE_EXAMPLE, "metric": metric}),
        )
        def of_day(day: Day, fresh: Fresh = False, idempotency_key: RequestId = None) -> Response:
            """The published row, byte for byte; with fresh=true a new one, charged on its own."""
            return answer(metric, day, fresh, idempotency_key)

        @app.get(
            f"/{metric}",
            name=f"get_{metric}",
            tags=["releases"],
            summary=f"{summary}, the last closed one by default",
            response_class=Response,
            responses=_documented({**RELEASE_EXAMPLE, "metric": metric}),
        )
        def latest(
            day: Annotated[str | None, Query(description="YYYY-MM-DD", examples=["2026-01-01"])] = None,
            fresh: Fresh = False,
            idempotency_key: RequestId = None,
        ) -> Response:
            """The published row, byte for byte; with fresh=true a new one, charged on its own."""
            return answer(metric, day, fresh, idempotency_key)

    for metric in service.settings.series:
        of_metric(metric)

    @app.get(
        "/releases/{metric}",
        tags=["releases"],
        summary="All published days of a metric",
        response_class=Response,
        responses=_documented([RELEASE_EXAMPLE]),
    )
    def releases(metric: Annotated[str, Path(examples=["mau"])]) -> Response:
        """Every published row, oldest first."""
        return Response("[" + ",".join(service.releases(metric)) + "]", media_type=JSON)


def _operation(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.get("/budget", tags=["operation"], summary="What was spent on what, and what is left",
             response_class=Response)  # fmt: skip
    def budget() -> Response:
        """The budget (and that of fresh releases, where it is another one) and the charges, oldest first."""
        budgets = [budget_row(budget) for budget in service.budgets()]
        named = dict(zip(("budget", "fresh_budget"), budgets, strict=False))
        return _json({**named, "charges": [charge_row(charge) for charge in service.charges()]})

    @app.get("/config", tags=["operation"], summary="What is promised to whom, and by which settings",
             response_class=Response)  # fmt: skip
    def config() -> Response:
        """The promise in one plain sentence, the settings without their paths, and how far the days have come."""
        settings = msgspec.to_builtins(service.settings)
        status, cap = service.status(), service.budget().cap
        # A budget keeps the cap that it was made with.
        settings |= {"budget_epsilon": cap.epsilon, "budget_delta": cap.delta}
        return _json(
            {
                "promise": service.promise,
                "promises": service.promises,
                "first_day": status.first,
                "last_closed_day": status.last,
                "open_day": status.open_day,
                "settings": {name: value for name, value in settings.items() if name not in ("store", "ledger", "key")},
            }
        )

    @app.get("/healthz", tags=["operation"], summary="Whether the service can work; needs no key",
             response_class=Response)  # fmt: skip
    async def healthz() -> Response:
        """Tries a write that changes nothing; tells nothing of the data."""
        await asyncio.wrap_future(service.checking())
        return _json({"status": "ok"})

    @app.get("/metrics", tags=["operation"], summary="Prometheus metrics; NOT PRIVATE", response_class=Response)
    def prometheus() -> Response:
        """Requests, failures, events, releases, budget and latency. Event counts are exact: for operators only."""
        return Response(metrics.text(service.budgets()), media_type="text/plain; version=0.0.4; charset=utf-8")


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


def _parse_day(text: str) -> date:
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise Refused("bad-request", f"{text!r} is not a day; write it as 2026-01-31")
    return parsed


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type=JSON)


def _body(contents: dict[str, tuple[dict[str, Any], Any]]) -> dict[str, Any]:
    described = {kind: {"schema": schema, "example": example} for kind, (schema, example) in contents.items()}
    return {"requestBody": {"required": True, "content": described}}


def _documented(example: Any) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "Done", "content": {JSON: {"example": example}}}}


def _documented_problems() -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"example": PROBLEM_EXAMPLE}}
    return {
        401: {"description": "The API key is missing or wrong", "content": content},
        403: {"description": "The budget is exhausted: nothing was charged or released", "content": content},
        404: {"description": "Unknown day or metric", "content": content},
        409: {"description": "An open day, a day out of order, or a horizon that is over", "content": content},
        422: {"description": "Body or parameter that cannot be right; nothing was stored", "content": content},
    }


__all__ = ["create_app"]
