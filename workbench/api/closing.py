"""What draws noise, measured: for whoever asks over HTTP or gRPC, and for the scheduler."""

from __future__ import annotations

import logging
import time
from datetime import date

from workbench.api.metrics import Metrics
from workbench.service import Refused, Service

LOG = logging.getLogger("dpdau.closing")


def measured_close(service: Service, metrics: Metrics, day: date, *, confirmed: bool = True) -> list[str]:
    """Close a day and note how long it took, unless it was closed before; returns its rows."""
    before = service.status().last
    started = time.perf_counter()
    rows = service.close(day, confirmed=confirmed)
    if before is None or day > before:
        LOG.info("a day is closed and published", extra={"day": day})
        metrics.count_close(time.perf_counter() - started, time.time())
        for name in (*service.settings.series, *service.settings.questions):
            metrics.count_release(name, "published")
    return rows


def measured_fresh(service: Service, metrics: Metrics, metric: str, day: date, request_id: str) -> str:
    """The fresh release of that name, counted if it is drawn now."""
    if (row := service.find_fresh(metric, day, request_id)) is None:
        row = service.fresh(metric, day, request_id)
        metrics.count_release(metric, "fresh")
    return row


def day_or_last(service: Service, text: str | None) -> date:
    """A day as text, or the last closed one.

    Raises:
        Refused: it is no day, or none is closed.
    """
    day = parse_day(text) if text else service.status().last
    if day is None:
        raise Refused("open-day", "no day is closed yet; POST /days/{day}/close closes one")
    return day


def published_rows(service: Service, name: str) -> list[str]:
    """All published rows of a metric or of another question, oldest first.

    Raises:
        Refused: there is nothing of that name.
    """
    return service.releases(name) if name in service.settings.series else service.answers.rows(name)


def answer_rows(service: Service, question: str, text: str | None) -> list[str]:
    """The published rows of all series of a question on a day, or on the last one on which it is published.

    Raises:
        Refused: it is no day, there is no such question, or nothing of it is published then.
    """
    answers = service.answers
    return answers.on(question, parse_day(text) if text else answers.last_day(question))


def parse_day(text: str) -> date:
    """A day that a caller names; refuses every other way to write one."""
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise Refused("bad-request", "the day is not a day of the calendar; write it as 2026-01-31")
    return parsed
