"""Routes for whoever operates the service: budget, settings, health, metrics."""

from __future__ import annotations

import asyncio
import sqlite3

import msgspec
from fastapi import FastAPI
from starlette.responses import Response

from dp.ledger import LedgerError
from workbench.api.metrics import TEXT_FORMAT, Metrics
from workbench.api.responses import json_response
from workbench.api.rows import budget_row, charge_row
from workbench.service import Refused, Service

PATHS = ("store", "ledger", "key", "keys")


def add_operation_routes(app: FastAPI, service: Service, metrics: Metrics) -> None:
    """Routes for whoever operates the service: budget, settings, health, metrics."""

    @app.get("/budget", tags=["operation"], summary="What was spent on what, and what is left",
             response_class=Response)  # fmt: skip
    def budget() -> Response:
        """The budget (and that of fresh releases, where it is another one) and the charges, oldest first."""
        budgets = [budget_row(budget) for budget in service.budgets()]
        named = dict(zip(("budget", "fresh_budget"), budgets, strict=False))
        return json_response({**named, "charges": [charge_row(charge) for charge in service.charges()]})

    @app.get("/config", tags=["operation"], summary="What is promised to whom, and by which settings",
             response_class=Response)  # fmt: skip
    def config() -> Response:
        """The promise in one plain sentence, the settings without their paths, and how far the days have come."""
        settings = msgspec.to_builtins(service.settings)
        status, cap = service.status(), service.budget().cap
        # A budget keeps the cap that it was made with.
        settings |= {"budget_epsilon": cap.epsilon, "budget_delta": cap.delta}
        return json_response(
            {
                "promise": service.promise,
                "promises": service.promises,
                "first_day": status.first,
                "last_closed_day": status.last,
                "open_day": status.open_day,
                "settings": {name: value for name, value in settings.items() if name not in PATHS},
            }
        )

    _add_health(app, service)

    @app.get("/metrics", tags=["operation"], summary="Prometheus metrics; NOT PRIVATE", response_class=Response)
    def prometheus() -> Response:
        """Requests, failures, events, releases, budget, latency, and how store, days and process stand.

        Event counts are exact: for operators only. Also answered while the store cannot be used.
        """
        try:
            text = metrics.text(service.budgets(), service.vitals())
        except (Refused, LedgerError, sqlite3.DatabaseError, OSError):
            text = metrics.text([], None)
        return Response(text, media_type=TEXT_FORMAT)


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/livez", tags=["operation"], summary="Whether the process answers; needs no key",
             response_class=Response)  # fmt: skip
    async def livez() -> Response:
        """Never touches the store: a restart mends nothing that this does not show."""
        return json_response({"status": "ok"})

    async def ready() -> Response:
        """Tries a write that changes nothing; 503 where that is not possible. Tells nothing of the data."""
        # Those who ask at the same time share one probe, which outlives whoever gives up.
        probe = await asyncio.to_thread(service.probe)
        await asyncio.shield(asyncio.wrap_future(probe))
        return json_response({"status": "ok"})

    for path, name in (("/readyz", "readyz"), ("/healthz", "healthz")):
        app.get(path, name=name, tags=["operation"], summary="Whether the service can work; needs no key",
                response_class=Response)(ready)  # fmt: skip
