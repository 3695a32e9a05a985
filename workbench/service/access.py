"""The way to one store: a thread that writes, connections that read, and a file that must stay where it is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import date, timedelta
from typing import Any, TypeVar

import numpy as np

from dp.database_url import Place
from dp.presence.daily import EPOCH
from workbench.service.closed_days import ClosedDays
from workbench.service.operations import ERASE
from workbench.service.same_file import SameFile
from workbench.service.store import Store, reading
from workbench.service.writer import Writer

Result = TypeVar("Result")
PROBE_BYTES = 256 * 1024
"""What a probe writes: a request of usual size needs no more, and a full disk has less to give."""


class StoreAccess:
    """Reads and writes a store, and refuses once its path leads to another file than at first.

    Args:
        store: that of the writer.
    """

    def __init__(self, path: Place, store: Store, writer: Writer) -> None:
        self._store = store
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

    def reading(self) -> AbstractContextManager[Store]:
        """The store, to be read beside the writer."""
        # SQLite would make a missing file anew.
        self._file.check()
        return reading(self._store.database)

    def progress(self) -> ClosedDays:
        """How far the days have come."""
        with self.reading() as store:
            return store.progress()

    def reported_days(self) -> tuple[date, date] | None:
        """First and last day that a waiting operation is about, None without any; NOT PRIVATE."""
        with self.reading() as store:
            return reported_days(store)

    def sizes(self) -> tuple[int, int]:
        """Bytes of the store and of its write-ahead log."""
        with self.reading() as store:
            return store.database.sizes(store.connection)

    def probe(self) -> Future[None]:
        """Write `PROBE_BYTES` and remove them again; the future fails where that is not possible."""
        # Whoever asks meanwhile gets the same answer: asking needs no key, and must not keep the writer busy.
        if self._probe is None or self._probe.done():
            self._probe = self.submit(_write_and_remove)
        return self._probe


def reported_days(store: Store) -> tuple[date, date] | None:
    """First and last day that a waiting operation is about, None without any; it reads the whole log."""
    days = [batch.records["day"][batch.records["op"] != ERASE] for batch in store.waiting()]
    about = np.concatenate(days) if days else np.zeros(0, np.int32)
    if not len(about):
        return None
    return EPOCH + timedelta(days=int(about.min())), EPOCH + timedelta(days=int(about.max()))


def _write_and_remove(store: Store) -> None:
    # What is removed is overwritten with zeros (secure_delete), so that all of it goes to the disk.
    store.keep_probe(PROBE_BYTES)
    store.remove_probe()
