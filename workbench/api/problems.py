"""Errors as problem details (RFC 9457): what happened, and what to do about it."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dp.ledger import BudgetExhausted, LedgerError
from workbench.service import Refused, StoreError, bad_events, budget_advice, unavailable
from workbench.service.errors import MOST_FAULTS

MEDIA_TYPE = "application/problem+json"
PROBLEM_PREFIX = "urn:dpdau:problem:"
EXAMPLE_PROBLEM = {
    "type": "urn:dpdau:problem:open-day",
    "title": "This day is not closed yet",
    "status": 409,
    "detail": "2026-01-02 is not closed yet: 2026-01-02 is the next to be closed",
}

RETRY_SECONDS = 5
"""Nothing that is answered with 503 lasts long."""
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


@dataclass(frozen=True)
class Problem:
    """An error as callers are told it, over HTTP and over gRPC.

    Attributes:
        kind: its name.
        status: of HTTP; over gRPC the one that says the same.
        more: members of its own.
        wait: seconds until it is worth asking again, where that is known.
    """

    kind: str
    status: HTTPStatus
    title: str
    detail: str
    more: Mapping[str, Any] = field(default_factory=dict)
    wait: int | None = None

    @property
    def retry_after(self) -> int | None:
        """Seconds until it is worth asking again; None where nobody should."""
        return RETRY_SECONDS if self.wait is None and self.status == HTTPStatus.SERVICE_UNAVAILABLE else self.wait

    def response(self) -> Response:
        """The problem document."""
        content = {"type": PROBLEM_PREFIX + self.kind, "title": self.title, "status": int(self.status)}
        content |= {"detail": self.detail, **self.more}
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return Response(msgspec.json.encode(content), int(self.status), headers, MEDIA_TYPE)


class RejectedEvents(Refused):
    """Events of which some cannot be right; nothing was stored.

    Attributes:
        members: of the problem: how many were rejected, and the first of them.
    """

    def __init__(self, faults: Sequence[tuple[int, str]], lines: Sequence[int] | None) -> None:
        said = bad_events(faults, lines=lines)
        super().__init__(said.kind, str(said), said.faults)
        self.members = rejections(faults, lines)


def rejections(faults: Sequence[tuple[int, str]], lines: Sequence[int] | None) -> dict[str, Any]:
    """How many events were rejected, and the first of them with index, line (where there are lines) and reason."""
    events = [
        {"index": index, **({"line": lines[index]} if lines else {}), "reason": reason}
        for index, reason in faults[:MOST_FAULTS]
    ]
    return {"rejected": len(faults), "events": events}


def http_problem(status: HTTPStatus, detail: str) -> Problem:
    """A request that is wrong before anybody has looked at what it asks."""
    return Problem("http", status, status.phrase, detail)


def problem_of(error: BaseException) -> Problem:
    """What callers are told of an error; `FAILURE` if it explains nothing."""
    if isinstance(error, Refused):
        status, title = REFUSALS[error.kind]
        return Problem(error.kind, status, title, str(error), getattr(error, "members", {}))
    if isinstance(error, BudgetExhausted):
        return _exhausted(error)
    if (refused := unavailable(error)) is not None:
        LOG.error("store or ledger cannot be used", exc_info=error)
        return problem_of(refused)
    if isinstance(error, LedgerError | StoreError):
        return Problem("ledger", HTTPStatus.CONFLICT, "Ledger or store refuses", str(error))
    return FAILURE


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
    files = (sqlite3.OperationalError, sqlite3.DatabaseError)
    for kind in (Refused, BudgetExhausted, LedgerError, StoreError, *files, HTTPException):
        app.add_exception_handler(kind, explained)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)


def explained(request: Request, error: Exception) -> Response:
    """The answer to an error; raises what explains nothing."""
    if isinstance(error, HTTPException):
        return _http(request, error)
    if (found := problem_of(error)) is FAILURE:
        raise error
    return found.response()


def _exhausted(error: BudgetExhausted) -> Problem:
    parts = {"requested": error.requested, "spent": error.budget.spent, "remaining": error.budget.remaining}
    return Problem(
        "budget-exhausted",
        HTTPStatus.FORBIDDEN,
        f"The budget is {error.reason}",
        f"{error}. Nothing was released. {budget_advice(error)}",
        {
            "budget": error.budget.name,
            **{name: {"epsilon": part.epsilon, "delta": part.delta} for name, part in parts.items()},
        },
    )


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    reasons = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return problem_of(Refused("bad-request", reasons)).response()


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    # Not the path: a user may be in it.
    detail = (
        "this method and path are not served here; the service's interface is described at /docs"
        if error.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
        else str(error.detail)
    )
    response = http_problem(HTTPStatus(error.status_code), detail).response()
    response.headers.update(error.headers or {})
    return response


def _failed(request: Request, error: Exception) -> Response:
    return FAILURE.response()


FAILURE = Problem(
    "failure",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "The service failed",
    "The cause is in the service's log. What was acknowledged before is safe.",
)
"""A defect of the service."""
