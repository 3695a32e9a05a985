"""The HTTP face of the service: FastAPI in front, the Streamlit pages under /ui."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.responses import RedirectResponse, Response

from workbench.api.access import declare_access
from workbench.api.admission import Admission
from workbench.api.entrance import Entrance
from workbench.api.failure_limit import FailureLimit
from workbench.api.guard import Guard
from workbench.api.limits import LIMITS, BodyLimits, Limits, Room
from workbench.api.metrics import Measure, Metrics
from workbench.api.mounted import Mounted
from workbench.api.problems import documented_problems, explain
from workbench.api.routes.days import add_day_routes
from workbench.api.routes.events import add_event_routes
from workbench.api.routes.operation import add_operation_routes
from workbench.api.routes.questions import add_question_routes
from workbench.api.routes.releases import add_release_routes
from workbench.service import Service
from workbench.service.keyring import Keyring

DESCRIPTION = """Private active-user counts: post what users do and take back, close days, read DAU, WAU and MAU under
differential privacy. A closed day is published once and never revised. Errors are problem details (RFC 9457)."""


def create_app(
    service: Service,
    *,
    api_key: str | None = None,
    pages: Any = None,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    seconds: Callable[[], float] = time.monotonic,
    limits: Limits = LIMITS,
    metrics: Metrics | None = None,
) -> FastAPI:
    """The application around an open service; its `state.entrance` is what gRPC shares with it.

    Args:
        api_key: the key of all scopes. Without it and without a file of keys only this machine is answered.
        pages: a Streamlit application (`st.App`) to mount under /ui.
        new_id: names fresh releases whose caller names none.
        seconds: since some moment; never runs backwards.
        limits: what callers may hold at once.
        metrics: what others than the application count, too; by default only its own.

    Raises:
        KeyFileError: there is a file of keys that cannot be used.
    """
    keyring = Keyring(service.settings.keys_path, api_key, service.today)
    metrics = metrics or Metrics()
    admission, room = Admission(keyring, FailureLimit(seconds)), Room(limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if pages is None:
            yield
            return
        async with pages.lifespan()(app):
            yield

    app = FastAPIOffline(
        title="dpdau", description=DESCRIPTION, lifespan=lifespan, redoc_url=None, responses=documented_problems(),
        # Such a redirect repeats the path, and a user may be in it.
        redirect_slashes=False,
        # So would the spans of a tracer that the environment names.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )  # fmt: skip
    explain(app)
    add_event_routes(app, service, metrics)
    add_question_routes(app, service)
    add_day_routes(app, service, metrics, new_id)
    add_release_routes(app, service)
    add_operation_routes(app, service, metrics)
    if pages is not None:
        _add_pages(app, pages)
    # The last one added is the outermost: refused requests are counted too.
    app.add_middleware(BodyLimits, room=room)
    app.add_middleware(Guard, routes=app.router.routes, admission=admission)
    app.add_middleware(Measure, metrics=metrics)
    app.state.entrance = Entrance(service, admission, limits, room, metrics, new_id)
    _declare(app)
    return app


def _add_pages(app: FastAPI, pages: Any) -> None:
    app.mount("/ui", Mounted(pages, "/ui"))
    for path in ("/", "/ui"):
        app.add_api_route(path, lambda: RedirectResponse("/ui/"), include_in_schema=False, response_class=Response)


def _declare(app: FastAPI) -> None:
    """Let the description of the interface say which scope opens what."""
    undeclared = app.openapi

    def declared() -> dict[str, Any]:
        document = undeclared()
        declare_access(document, app.routes)
        return document

    app.openapi = declared  # type: ignore[method-assign]
