"""Closing days by the clock: one loop that sleeps, looks which days are due, and closes them in order.

Nothing is remembered but by the store: after a restart the loop finds what is due, and several processes may run it on
one store, because closing a day twice is closing it once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from dp.zones import DAY, EPOCH, MICROSECOND
from workbench.service.service import Service
from workbench.service.settings import Settings

LOOK_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 3600.0
LOG = logging.getLogger("dpdau.scheduler")


def due_day(settings: Settings, now: datetime) -> date:
    """The last day that is to be closed by now: its successor has come to the set hour, and the grace period is over.

    Where clocks are set back, the hour that comes twice counts the first time; one that is skipped, when it is passed.
    """
    assert settings.auto_close is not None
    hour = time.fromisoformat(settings.auto_close)
    reached = now - timedelta(minutes=settings.auto_close_grace_minutes)
    day, passed = divmod(settings.zone.wall_time((reached - EPOCH) // MICROSECOND), DAY)
    early = passed < timedelta(hours=hour.hour, minutes=hour.minute) // MICROSECOND
    return EPOCH.date() + timedelta(days=day - (2 if early else 1))


@dataclass(frozen=True)
class Scheduler:
    """Closes the days that are due, one after the other.

    Attributes:
        clock: the time, with an offset.
        close: closes a day that is open; closing it again does nothing.
        wait: waits for seconds, or until it is to stop; returns whether it is to.
    """

    service: Service
    clock: Callable[[], datetime]
    close: Callable[[date], object]
    wait: Callable[[float], bool]

    def run(self) -> None:
        """Look now and every `LOOK_SECONDS` until it is to stop; after errors, ever later."""
        pause = 0.0
        failures = 0
        while not self.wait(pause):
            try:
                if failures:
                    # A day may have been counted and not published.
                    self.service.finish()
                self.close_due()
                failures = 0
            except Exception as error:
                # Whatever it is, the server goes on, and so does the next attempt.
                failures += 1
                LOG.error("a day that is due could not be closed", exc_info=error)
            pause = min(LOOK_SECONDS * 2**failures, LONGEST_WAIT_SECONDS)

    def close_due(self) -> int:
        """Close every day that is due; returns how many. The first of all is closed only if `first_day` names it."""
        closed = 0
        while (day := self.service.status().open_day) is not None and day <= due_day(
            self.service.settings, self.clock()
        ):
            if self.wait(0.0):
                break
            self.close(day)
            closed += 1
        return closed


@contextmanager
def scheduled(
    service: Service, clock: Callable[[], datetime], close: Callable[[date], object] | None = None
) -> Iterator[None]:
    """Close due days in a thread of its own while the block runs, if the settings say so; it has ended with the block.

    Args:
        close: closes a day; by default the service's own.
    """
    if service.settings.auto_close is None:
        yield
        return
    stopping = threading.Event()
    scheduler = Scheduler(service, clock, close or service.close, stopping.wait)
    thread = threading.Thread(target=scheduler.run, name="dpdau scheduler")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
