"""What the tests of the service share: a service at a given time, and how it stands."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.oracles.service_model import FIRST, clock
from workbench.service import (
    Service,
    Settings,
    open_service,
)

METRICS = ("dau", "wau", "mau")


def opened(settings: Settings, now: datetime | None = None) -> Any:
    return open_service(settings, (lambda: now) if now else clock)


def standing(service: Service) -> tuple[Any, ...]:
    """Everything that a refusal must leave as it was."""
    status = service.status()
    preview = service.preview(status.open_day or FIRST)
    truths = [service.truth(metric) for metric in METRICS]
    releases = [service.releases(metric) for metric in METRICS]
    return status, preview, truths, releases, service.budget(), service.charges()
