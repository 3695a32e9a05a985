"""Prometheus metrics of one application; NOT PRIVATE, since they count events exactly."""

from __future__ import annotations

import functools
import math
import time
from collections import Counter as Tally
from collections.abc import Sequence
from http import HTTPMethod

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dp.ledger import Budget
from workbench.service import ERASE, Ingested, Operation
from workbench.service.operations import OP_NAMES
from workbench.service.vitals import Vitals

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# Which are answered before a route is named.
PLAIN_ROUTES = ("/event", "/events")
METHODS = frozenset(HTTPMethod)


VITALS = {
    "open_day_age_seconds": (
        "dpdau_open_day_age_seconds", "Seconds since the open day began in the service's zone; NaN before the first.",
    ),
    "published": ("dpdau_published_days", "Days that are published."),
    "days_left": ("dpdau_horizon_days_left", "Days of the horizon that can still be closed; +Inf without an end."),
    "queued": ("dpdau_writer_queue_jobs", "Jobs that wait for the writer or are being written."),
    "store_bytes": ("dpdau_store_bytes", "Size of the store's file."),
    "wal_bytes": ("dpdau_store_wal_bytes", "Size of the store's write-ahead log."),
    "free_bytes": ("dpdau_disk_free_bytes", "What the file system of the store has left."),
}  # fmt: skip
"""Attribute of `Vitals` → its gauge, and what that says."""
WITHOUT = {"open_day_age_seconds": math.nan, "days_left": math.inf}
"""What a gauge shows where a service has no such thing."""


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # To find the one of some labels takes longer than to count, and there are few.
        self._labelled = functools.cache(lambda metric, *labels: metric.labels(*labels))
        self._requests = Counter(
            "dpdau_http_requests", "HTTP requests by method, route and status.", ["method", "route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._failures = Counter(
            "dpdau_failures", "Requests that the service failed to answer (5xx).", ["route"], registry=self.registry
        )
        self._seconds = Histogram(
            "dpdau_http_request_seconds", "Time to answer a request, in seconds.", ["method", "route"],
            buckets=BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._events = Counter("dpdau_events", "Events stored, by operation.", ["op"], registry=self.registry)
        self._late = Counter("dpdau_late_events", "Events about a day that was closed.", registry=self.registry)
        self._releases = Counter(
            "dpdau_releases", "Releases drawn, by metric and kind.", ["metric", "kind"], registry=self.registry
        )
        self._close_seconds = Gauge(
            "dpdau_last_close_duration_seconds", "How long the last close of this process took, in seconds.",
            registry=self.registry,
        )  # fmt: skip
        self._closed_at = Gauge(
            "dpdau_last_close_timestamp_seconds", "When this process closed a day last, in Unix time; 0 for never.",
            registry=self.registry,
        )  # fmt: skip
        self._vitals = {part: Gauge(*named, registry=self.registry) for part, named in VITALS.items()}
        self._usable = Gauge(
            "dpdau_store_usable", "Whether store and ledger could be read for these metrics, 1 or 0.",
            registry=self.registry,
        )  # fmt: skip
        ProcessCollector(registry=self.registry)
        self._budget = Gauge(
            "dpdau_budget", "The budget: cap, spent and left, by parameter.", ["budget", "parameter", "part"],
            registry=self.registry,
        )  # fmt: skip

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._labelled(self._requests, method, route, str(status)).inc()
        self._labelled(self._seconds, method, route).observe(seconds)
        if status >= 500:
            self._failures.labels(route).inc()

    def count_events(self, operations: Sequence[Operation], ingested: Ingested) -> None:
        """Count events that are durable."""
        for op, number in Tally([operation.op for operation in operations]).items():
            self._labelled(self._events, OP_NAMES[op]).inc(number)
        self._late.inc(ingested.late)

    def count_erasure(self) -> None:
        """Count one user erased."""
        self._events.labels(OP_NAMES[ERASE]).inc()

    def count_close(self, seconds: float, at: float) -> None:
        """Note that a day was closed: how long it took, and the Unix time."""
        self._close_seconds.set(seconds)
        self._closed_at.set(at)

    def count_release(self, metric: str, kind: str) -> None:
        """Count one release that was drawn; `kind` is "published" or "fresh"."""
        self._releases.labels(metric, kind).inc()

    def text(self, budgets: Sequence[Budget], vitals: Vitals | None) -> bytes:
        """Everything in Prometheus's text format.

        Args:
            budgets: as they stand.
            vitals: how the service stands; None where that cannot be read, and what was read last is shown.
        """
        self._usable.set(vitals is not None)
        if vitals is not None:
            for part, gauge in self._vitals.items():
                value = getattr(vitals, part)
                gauge.set(WITHOUT[part] if value is None else value)
        for budget in budgets:
            for part, guarantee in (("cap", budget.cap), ("spent", budget.spent), ("left", budget.remaining)):
                self._budget.labels(budget.name, "epsilon", part).set(guarantee.epsilon)
                self._budget.labels(budget.name, "delta", part).set(guarantee.delta)
        return generate_latest(self.registry)


class Measure:
    """ASGI middleware: counts and times every HTTP request by its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on and note how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        # Whoever dies before answering has failed.
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.count_request(method, _route(scope), status, time.perf_counter() - started)


def _route(scope: Scope) -> str:
    """The route's pattern, so that days and users make no label of their own."""
    path = scope["path"]
    if path.startswith("/ui"):
        return "/ui"
    return path if path in PLAIN_ROUTES else getattr(scope.get("route"), "path", "other")
