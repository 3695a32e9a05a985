"""Routes by which questions other than DAU, WAU and MAU are read: flows and calendar cells, in all and by segment."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Path, Query
from starlette.responses import Response

from dp.names import CALENDAR, FLOWS
from workbench.api.closing import answer_rows
from workbench.api.responses import JSON, QUESTION_EXAMPLE, documented
from workbench.service import Service
from workbench.service.settings import SERIES

By = Annotated[
    str | None, Query(description="A breakdown of the settings: a row for each of its segments.", examples=["platform"])
]


def add_question_routes(app: FastAPI, service: Service) -> None:
    """Routes of flows, weeks and months; before those of the metrics, whose days they would be."""
    for metric in SERIES:
        rows = [{**QUESTION_EXAMPLE, "question": f"{metric}/{flow}"} for flow in FLOWS]
        _add_cell(app, service, f"{metric}/flows", f"Who comes into {metric.upper()}, and who leaves it", rows)
    for cell in CALENDAR:
        rows = [{**QUESTION_EXAMPLE, "question": cell}]
        _add_cell(app, service, cell, f"Users of a {cell}, published on its last day", rows)


def _add_cell(app: FastAPI, service: Service, cell: str, summary: str, example: object) -> None:
    named = cell.replace("/", "_")

    @app.get(f"/{cell}", name=f"get_{named}", tags=["releases"], summary=f"{summary}; the last published by default",
             response_class=Response, responses=documented(example))  # fmt: skip
    def latest(
        by: By = None, day: Annotated[str | None, Query(description="YYYY-MM-DD", examples=["2026-01-31"])] = None
    ) -> Response:
        """The published rows, byte for byte, of all series on a day."""
        return answer(service, cell, by, day)

    @app.get(f"/{cell}/{{day}}", name=f"get_{named}_of_day", tags=["releases"], summary=summary,
             response_class=Response, responses=documented(example))  # fmt: skip
    def of_day(day: Annotated[str, Path(description="YYYY-MM-DD", examples=["2026-01-31"])], by: By = None) -> Response:
        """The published rows, byte for byte, of all series on a day."""
        return answer(service, cell, by, day)


def answer(service: Service, cell: str, by: str | None, day: str | None) -> Response:
    """The published rows of a question on a day, or on the last one, as a JSON array."""
    rows = answer_rows(service, cell if by is None else f"{cell}/{by}", day)
    return Response("[" + ",".join(rows) + "]", media_type=JSON)
