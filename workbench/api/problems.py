"""Errors as problem details (RFC 9457): what happened, and what to do about it."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dp.ledger import BudgetExhausted, LedgerError
from workbench.service import Refused, StoreError, budget_advice, unavailable
from workbench.service.errors import MOST_FAULTS

MEDIA_TYPE = "application/problem+json"
PROBLEM_PREFIX = "urn:dpdau:problem:"
EXAMPLE_PROBLEM = {
    "type": "urn:dpdau:problem:open-day",
    "title": "This day is not closed yet",
    "status": 409,
    "detail": "2026-01-02 is not closed yet: 2026-01-02 is the next to be closed",
}

# What a status says in the headers, too. Nothing that is answered with 503 lasts long.
HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "5"},
}
LOG = logging.getLogger("dpdau.api")

# Kind of refusal → status and title.
REFUSALS: dict[str, tuple[HTTPStatus, str]] = {
    "unknown-metric": (HTTPStatus.NOT_FOUND, "There is no such metric"),
    "unknown-day": (HTTPStatus.NOT_FOUND, "There is no release of this day"),
    "open-day": (HTTPStatus.CONFLICT, "This day is not closed yet"),
    "not-next": (HTTPStatus.CONFLICT, "Another day is next"),
    "future-day": (HTTPStatus.UNPROCESSABLE_ENTITY, "This day is not there yet"),
    "horizon-over": (HTTPStatus.CONFLICT, "The horizon of the guarantee is over"),
    "bad-event": (HTTPStatus.UNPROCESSABLE_ENTITY, "The events cannot be right"),
    "bad-request": (HTTPStatus.UNPROCESSABLE_ENTITY, "The request cannot be understood"),
    "scope-missing": (HTTPStatus.FORBIDDEN, "The API key lacks a scope"),
    "busy": (HTTPStatus.SERVICE_UNAVAILABLE, "Too much is under way"),
    "clock": (HTTPStatus.SERVICE_UNAVAILABLE, "The clock of the service was set back"),
    "key-reused": (HTTPStatus.UNPROCESSABLE_ENTITY, "Another request had this Idempotency-Key"),
    "other-settings": (HTTPStatus.CONFLICT, "Settings that were fixed by the first close"),
    "other-store": (HTTPStatus.CONFLICT, "Store and ledger do not belong together"),
    "doubtful-first-day": (HTTPStatus.CONFLICT, "This first day needs a confirmation"),
    "not-over": (HTTPStatus.CONFLICT, "There is nothing to renew yet"),
    "unconfirmed-renewal": (HTTPStatus.CONFLICT, "A renewal needs a confirmation"),
    "unavailable": (HTTPStatus.SERVICE_UNAVAILABLE, "The service cannot work now"),
}


def problem(kind: str, status: int, title: str, detail: str, **more: Any) -> Response:
    """A problem document; `more` are members of its own."""
    content = {"type": PROBLEM_PREFIX + kind, "title": title, "status": int(status), "detail": detail, **more}
    return Response(msgspec.json.encode(content), int(status), HEADERS.get(HTTPStatus(status)), MEDIA_TYPE)


def refusal(error: Refused, **more: Any) -> Response:
    """A refusal as a problem document; `more` are members of its own."""
    status, title = REFUSALS[error.kind]
    return problem(error.kind, status, title, str(error), **more)


def rejections(faults: Sequence[tuple[int, str]], lines: Sequence[int] | None) -> dict[str, Any]:
    """How many events were rejected, and the first of them with index, line (where there are lines) and reason."""
    events = [
        {"index": index, **({"line": lines[index]} if lines else {}), "reason": reason}
        for index, reason in faults[:MOST_FAULTS]
    ]
    return {"rejected": len(faults), "events": events}


def documented_problems() -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` of all routes that may refuse."""
    content = {MEDIA_TYPE: {"example": EXAMPLE_PROBLEM}}
    return {
        401: {"description": "The API key is missing or wrong", "content": content},
        403: {
            "description": "The budget is exhausted or too small: nothing was charged or released",
            "content": content,
        },
        404: {"description": "Unknown day or metric", "content": content},
        409: {"description": "An open day, a day out of order, or a horizon that is over", "content": content},
        422: {"description": "Body or parameter that cannot be right; nothing was stored", "content": content},
        503: {
            "description": "Store or ledger cannot be used now; repeat it after `Retry-After` seconds",
            "content": content,
        },
    }


def explain(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(BudgetExhausted, _exhausted)
    app.add_exception_handler(LedgerError, _conflict)
    app.add_exception_handler(StoreError, _conflict)
    app.add_exception_handler(sqlite3.OperationalError, _unavailable)
    app.add_exception_handler(sqlite3.DatabaseError, _unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal(error)


def _exhausted(request: Request, error: Exception) -> Response:
    assert isinstance(error, BudgetExhausted)
    budget, wanted = error.budget, error.requested
    return problem(
        "budget-exhausted",
        HTTPStatus.FORBIDDEN,
        f"The budget is {error.reason}",
        f"{error}. Nothing was released. {budget_advice(error)}",
        budget=budget.name,
        requested={"epsilon": wanted.epsilon, "delta": wanted.delta},
        spent={"epsilon": budget.spent.epsilon, "delta": budget.spent.delta},
        remaining={"epsilon": budget.remaining.epsilon, "delta": budget.remaining.delta},
    )


def _unavailable(request: Request, error: Exception) -> Response:
    if (refused := unavailable(error)) is None:
        raise error
    LOG.error("store or ledger cannot be used", exc_info=error)
    return _refused(request, refused)


def _conflict(request: Request, error: Exception) -> Response:
    if unavailable(error):
        return _unavailable(request, error)
    return problem("ledger", HTTPStatus.CONFLICT, "Ledger or store refuses", str(error))


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    reasons = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    status, title = REFUSALS["bad-request"]
    return problem("bad-request", status, title, reasons)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    # Not the path: a user may be in it.
    detail = (
        "this method and path are not served here; the service's interface is described at /docs"
        if error.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
        else str(error.detail)
    )
    response = problem("http", error.status_code, title, detail)
    response.headers.update(error.headers or {})
    return response


def _failed(request: Request, error: Exception) -> Response:
    return problem(
        "failure",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The service failed",
        "The cause is in the service's log. What was acknowledged before is safe.",
    )
