"""Routes for whoever operates the service: budget, settings, health, metrics."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Annotated

import msgspec
from fastapi import FastAPI, Query
from starlette.responses import Response

from dp.ledger import LedgerError
from workbench.api.closing import parse_day
from workbench.api.metrics import TEXT_FORMAT, Metrics
from workbench.api.responses import json_response
from workbench.api.rows import budget_row, charge_row, period_row
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
                "periods": [period_row(period) for period in service.account.all_periods()],
                "settings": {name: value for name, value in settings.items() if name not in PATHS},
            }
        )

    _add_renewal(app, service)
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


def _add_renewal(app: FastAPI, service: Service) -> None:
    @app.post("/renewal", tags=["days"], summary="Charge the next period", response_class=Response)
    def renewal(
        confirm: Annotated[bool, Query(description="What the refusal says is to be charged.")] = False,
        first: Annotated[
            str | None,
            Query(
                alias="from",
                description="Its first day, YYYY-MM-DD; needed before the horizon is over, and for "
                "whoever may repeat the call.",
            ),
        ] = None,
    ) -> Response:
        """Charges every series for the next period, by the settings of this process; it begins the day after the last.

        Without confirm=true the answer is a refusal that says what would be charged. A period that was charged before
        is answered as it is, and costs nothing.
        """
        done = service.renewal.renew(None if first is None else parse_day(first), confirmed=confirm)
        return json_response({**period_row(done.period), "promise": service.promise})


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
