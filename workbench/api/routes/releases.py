"""Routes by which other programs read what is published: as tables and as gauges."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Path, Query, Request
from starlette.responses import Response

from workbench.api.closing import parse_day, published_rows
from workbench.api.metrics import TEXT_FORMAT
from workbench.api.published import (
    COLUMNS,
    MEDIA_TYPES,
    QUESTION_COLUMNS,
    PublishedGauges,
    TableFormat,
    cacheable,
    day_of,
    encoded,
    rows_between,
    table_rows,
)
from workbench.api.responses import JSON, RELEASE_EXAMPLE, documented
from workbench.service import Service


def add_release_routes(app: FastAPI, service: Service) -> None:
    """Routes by which other programs read what is published."""

    @app.get(
        "/releases/{name:path}",
        tags=["releases"],
        summary="Published days of a metric or a question",
        response_class=Response,
        responses={
            **documented([RELEASE_EXAMPLE]),
            304: {"description": "The caller has these bytes already (If-None-Match)"},
        },
    )
    def releases(
        request: Request,
        name: Annotated[str, Path(description="A metric, or a question such as mau/flows.", examples=["mau"])],
        since: Annotated[str | None, Query(alias="from", description="First day, YYYY-MM-DD.")] = None,
        until: Annotated[str | None, Query(alias="to", description="Last day, YYYY-MM-DD.")] = None,
        form: Annotated[
            TableFormat | None,
            Query(alias="format", description="A table with the column as_of; without it, the rows byte for byte."),
        ] = None,
    ) -> Response:
        """The published rows, oldest first; all days by default."""
        start, end = (None if text is None else parse_day(text) for text in (since, until))
        published = published_rows(service, name)
        settled = end is not None and bool(published) and end <= day_of(published[-1])
        if form is None:
            whole = "[" + ",".join(rows_between(published, start, end)) + "]"
            return cacheable(request, whole.encode(), JSON, settled=settled)
        columns = COLUMNS if name in service.settings.series else QUESTION_COLUMNS
        content = encoded(table_rows(published, start, end), form, columns)
        return cacheable(request, content, MEDIA_TYPES[form], settled=settled)

    @app.get("/metrics/published", tags=["releases"], summary="Published estimates as Prometheus gauges",
             response_class=Response)  # fmt: skip
    def gauges() -> Response:
        """The last published day of each metric and question. Private, unlike /metrics."""
        metrics = [rows[-1] for metric in service.settings.series if (rows := service.releases(metric))]
        return Response(PublishedGauges([*metrics, *service.answers.latest()]).text(), media_type=TEXT_FORMAT)
