"""The way to one store: a thread that writes, connections that read, and a file that must stay where it is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from workbench.service.days import calendar_day
from workbench.service.same_file import SameFile
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
        self._file = SameFile(path, "store")
        self._file.check()
        self._probe: Future[None] | None = None
        self._queued: set[Future[Any]] = set()

    def submit(self, work: Callable[[Store], Result]) -> Future[Result]:
        """Queue a job of the writer; nothing of it is stored if the file is no longer there."""

        def done(store: Store) -> Result:
            self._file.check()
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
        self._file.check()
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
        # Whoever asks meanwhile gets the same answer: asking needs no key, and must not keep the writer busy.
        if self._probe is None or self._probe.done():
            self._probe = self.submit(_write_and_remove)
        return self._probe


def _write_and_remove(store: Store) -> None:
    # What is removed is overwritten with zeros (secure_delete), so that all of it goes to the disk.
    store.connection.execute("INSERT INTO facts VALUES ('probe', zeroblob(?))", (PROBE_BYTES,))
    store.connection.execute("DELETE FROM facts WHERE name = 'probe'")
