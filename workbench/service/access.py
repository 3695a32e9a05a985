"""The way to one store: a thread that writes, connections that read, and a file that must stay where it is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from workbench.service.days import calendar_day
from workbench.service.errors import Refused
from workbench.service.store import ClosedDays, Store, reading
from workbench.service.writer import Writer

Result = TypeVar("Result")
PROBE_BYTES = 256 * 1024
"""What a probe writes: a request of usual size needs no more, and a full disk has less to give."""


class StoreAccess:
    """Reads and writes a store, and refuses once its path leads to another file than at first."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._path = path
        self._writer = writer
        self._identity = _identity(path)
        self._queued: set[Future[Any]] = set()

    def submit(self, work: Callable[[Store], Result]) -> Future[Result]:
        """Queue a job of the writer; nothing of it is stored if the file is no longer there."""

        def done(store: Store) -> Result:
            self._check()
            return work(store)

        future = self._writer.submit(done)
        self._queued.add(future)
        future.add_done_callback(self._queued.discard)
        return future

    @property
    def queued(self) -> int:
        """How many jobs wait or are being written."""
        return len(self._queued)

    def recount(self, day: int, window: int) -> Future[int]:
        """Users active in the window that ends on a closed day, as the log stands now. NOT PRIVATE."""

        def recounted(store: Store) -> int:
            open_day = store.progress().open_day
            assert open_day is not None
            return store.recount(day, window, open_day)

        return self.submit(recounted)

    def reading(self) -> AbstractContextManager[Store]:
        """The store, to be read beside the writer."""
        # SQLite would make a missing file anew.
        self._check()
        return reading(self._path)

    def progress(self) -> ClosedDays:
        """How far the days have come."""
        with self.reading() as store:
            return store.progress()

    def reported_days(self) -> tuple[date, date] | None:
        """First and last day that an operation is about, None before the first; NOT PRIVATE. It reads the whole log."""
        with self.reading() as store:
            first, last = store.connection.execute("SELECT MIN(day), MAX(day) FROM operations").fetchone()
        days = calendar_day(first), calendar_day(last)
        return None if days[0] is None or days[1] is None else (days[0], days[1])

    def probe(self) -> Future[None]:
        """Write `PROBE_BYTES` and remove them again; the future fails where that is not possible."""
        return self.submit(_write_and_remove)

    def _check(self) -> None:
        if _identity(self._path) != self._identity:
            raise Refused(
                "unavailable",
                f"the store {self._path} was moved, removed or replaced while the service runs; put it back, or start "
                "the service anew",
            )


def _write_and_remove(store: Store) -> None:
    # What is removed is overwritten with zeros (secure_delete), so that all of it goes to the disk.
    store.connection.execute("INSERT INTO facts VALUES ('probe', zeroblob(?))", (PROBE_BYTES,))
    store.connection.execute("DELETE FROM facts WHERE name = 'probe'")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
