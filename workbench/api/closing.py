"""Closing a day, measured: for whoever asks over HTTP, and for the scheduler."""

from __future__ import annotations

import logging
import time
from datetime import date

from workbench.api.metrics import Metrics
from workbench.service import Service

LOG = logging.getLogger("dpdau.closing")


def measured_close(service: Service, metrics: Metrics, day: date, *, confirmed: bool = True) -> list[str]:
    """Close a day and note how long it took, unless it was closed before; returns its rows."""
    before = service.status().last
    started = time.perf_counter()
    rows = service.close(day, confirmed=confirmed)
    if before is None or day > before:
        LOG.info("a day is closed and published", extra={"day": day})
        metrics.count_close(time.perf_counter() - started, time.time())
        for metric in service.settings.series:
            metrics.count_release(metric, "published")
    return rows
