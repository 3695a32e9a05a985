"""What every way into a service shares, so that what a caller may is the same by whatever way it comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workbench.api.admission import Admission
from workbench.api.limits import Limits, Room
from workbench.api.metrics import Metrics
from workbench.service import Service


@dataclass(frozen=True)
class Entrance:
    """The service and what stands before it.

    Attributes:
        admission: whose key a call carries.
        limits: what callers may hold at once.
        room: what bodies under way take.
        metrics: what is counted.
        new_id: names fresh releases whose caller names none.
    """

    service: Service
    admission: Admission
    limits: Limits
    room: Room
    metrics: Metrics
    new_id: Callable[[], str]
