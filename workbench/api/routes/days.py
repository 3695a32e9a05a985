"""Routes that close days and read what is published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import FastAPI, Header, Path, Query
from starlette.responses import Response

from workbench.api.closing import day_or_last, measured_close, measured_fresh, parse_day
from workbench.api.metrics import Metrics
from workbench.api.responses import JSON, RELEASE_EXAMPLE, documented
from workbench.api.routes.questions import By
from workbench.api.routes.questions import answer as answered
from workbench.service import Refused, Service

Responder = Callable[[str, str | None, str | None, bool, str | None], Response]
"""(metric, day, breakdown, fresh, request id) → the row, or the rows of all segments."""

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

    def answer(metric: str, day: str | None, by: str | None, fresh: bool, request_id: str | None) -> Response:
        if by is not None and fresh:
            raise Refused("bad-request", "a fresh release is of a metric alone: leave out by, or fresh")
        if by is not None:
            return answered(service, metric, by, day)
        chosen = day_or_last(service, day)
        if not fresh:
            return Response(service.release(metric, chosen), media_type=JSON)
        name = request_id or new_id()
        row = measured_fresh(service, metrics, metric, chosen, name)
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
    def of_day(day: Day, by: By = None, fresh: Fresh = False, idempotency_key: RequestId = None) -> Response:
        """The published row, byte for byte; with by= a row a segment; with fresh=true a new one, charged on its own."""
        return answer(metric, day, by, fresh, idempotency_key)

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
        by: By = None,
        fresh: Fresh = False,
        idempotency_key: RequestId = None,
    ) -> Response:
        """The published row, byte for byte; with by= a row a segment; with fresh=true a new one, charged on its own."""
        return answer(metric, day, by, fresh, idempotency_key)
