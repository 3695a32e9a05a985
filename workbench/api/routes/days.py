"""Routes that close days and read what is published."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Annotated

from fastapi import FastAPI, Header, Path, Query
from starlette.responses import Response

from workbench.api.closing import measured_close
from workbench.api.metrics import Metrics
from workbench.api.responses import JSON, RELEASE_EXAMPLE, documented
from workbench.service import Refused, Service

Responder = Callable[[str, str | None, bool, str | None], Response]
"""(metric, day, fresh, request id) → the row."""

Day = Annotated[str, Path(description="A calendar day, YYYY-MM-DD.", examples=["2026-01-01"])]
Fresh = Annotated[
    bool,
    Query(
        description="Draw a new release of this past day from the log as it stands now, charged on its own. Needs a "
        "key with the scope operate."
    ),
]
Confirm = Annotated[
    bool,
    Query(description="This first day is meant, though it is far from today or outside the days of the operations."),
]
RequestId = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Repeated with fresh=true, it returns the same bytes and charges nothing. Without one, every call "
        "is a new charge.",
    ),
]


def add_day_routes(app: FastAPI, service: Service, metrics: Metrics, new_id: Callable[[], str]) -> None:
    """Routes that close days and read what is published.

    Args:
        new_id: names fresh releases whose caller names none.
    """

    @app.post(
        "/days/{day}/close",
        tags=["days"],
        summary="Close a day and publish it",
        response_class=Response,
        responses=documented([RELEASE_EXAMPLE]),
    )
    def close(day: Day, confirm: Confirm = False) -> Response:
        """Counts the day for good, draws the next release of every series and commits them before answering.

        A day that is closed already returns what was published then. The first close fixes first day, horizon, series
        and charges for ever, so a first day that looks like a mistake is refused until it is confirmed.
        """
        rows = measured_close(service, metrics, parse_day(day), confirmed=confirm)
        return Response("[" + ",".join(rows) + "]", media_type=JSON)

    def answer(metric: str, day: str | None, fresh: bool, request_id: str | None) -> Response:
        chosen = parse_day(day) if day else service.status().last
        if chosen is None:
            raise Refused("open-day", "no day is closed yet; POST /days/{day}/close closes one")
        if not fresh:
            return Response(service.release(metric, chosen), media_type=JSON)
        name = request_id or new_id()
        drawn_before = service.find_fresh(metric, chosen, name)
        row = drawn_before or service.fresh(metric, chosen, name)
        if drawn_before is None:
            metrics.count_release(metric, "fresh")
        return Response(row, media_type=JSON, headers={"Idempotency-Key": name, "Cache-Control": "no-store"})

    for metric in service.settings.series:
        _add_metric(app, metric, answer)


def _add_metric(app: FastAPI, metric: str, answer: Responder) -> None:
    summary = f"{metric.upper()} of a day"

    @app.get(
        f"/{metric}/{{day}}",
        name=f"get_{metric}_of_day",
        tags=["releases"],
        summary=summary,
        response_class=Response,
        responses=documented({**RELEASE_EXAMPLE, "metric": metric}),
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
        responses=documented({**RELEASE_EXAMPLE, "metric": metric}),
    )
    def latest(
        day: Annotated[str | None, Query(description="YYYY-MM-DD", examples=["2026-01-01"])] = None,
        fresh: Fresh = False,
        idempotency_key: RequestId = None,
    ) -> Response:
        """The published row, byte for byte; with fresh=true a new one, charged on its own."""
        return answer(metric, day, fresh, idempotency_key)


def parse_day(text: str) -> date:
    """A day in a path or a query; refuses every other way to write one."""
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise Refused("bad-request", "the day is not a day of the calendar; write it as 2026-01-31")
    return parsed
