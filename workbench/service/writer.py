"""One thread that writes: whatever waits when a transaction begins shares it, and with it one flush to disk."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from workbench.service.database import driver_errors, writing
from workbench.service.errors import StoreError
from workbench.service.store import Store

Result = TypeVar("Result")
LOG = logging.getLogger("dpdau.writer")
MOST_JOBS = 256


@dataclass(frozen=True)
class _Job:
    work: Callable[[Store], Any]
    future: Future[Any] = field(default_factory=Future)


class Writer:
    """Runs jobs on a store, in the order in which they were submitted, each in a transaction.

    Args:
        somebody_leaves: told when it is durable that users are to leave.

    A future is done only when its job's transaction is on disk. A job that fails takes no other with it.
    """

    def __init__(self, store: Store, somebody_leaves: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._somebody_leaves = somebody_leaves
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._stopped = False
        self._order = threading.Lock()  # nothing is queued behind the end
        self._thread = threading.Thread(target=self._run, name="dpdau writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Store], Result]) -> Future[Result]:
        """Queue a job; its result comes when it is durable.

        Raises:
            StoreError: the writer was stopped.
        """
        job = _Job(work)
        with self._order:
            if self._stopped:
                raise StoreError("the service is stopping; nothing was stored")
            self._jobs.put(job)
        return cast("Future[Result]", job.future)

    def stop(self) -> None:
        """Finish what is queued, then end the thread and close the store."""
        with self._order:
            if not self._stopped:
                self._stopped = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            first = self._jobs.get()
            group = [] if first is None else [first]
            last = first is None
            while not last and len(group) < MOST_JOBS:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                last = job is None
                if job is not None:
                    group.append(job)
            self._together(group)
        self._store.close()

    def _together(self, group: list[_Job]) -> None:
        wanted = [job for job in group if job.future.set_running_or_notify_cancel()]
        if not wanted:
            return
        try:
            results = self._transact(wanted)
        except BaseException as error:
            # What may be on disk already is not stored once more.
            if len(wanted) == 1 or self._store.lost:
                for job in wanted:
                    job.future.set_exception(error)
                return
            for job in wanted:
                try:
                    (result,) = self._transact([job])
                except BaseException as own:
                    job.future.set_exception(own)
                else:
                    job.future.set_result(result)
            return
        for job, result in zip(wanted, results, strict=True):
            job.future.set_result(result)

    def _transact(self, jobs: list[_Job]) -> list[Any]:
        store = self._store
        try:
            with driver_errors():
                store.reconnect()
            with writing(store.database, store.connection):
                results = [job.work(store) for job in jobs]
        except BaseException:
            store.somebody_leaves = False
            raise
        self._after_commit()
        return results

    def _after_commit(self) -> None:
        """What is durable stays so, whatever becomes of this."""
        try:
            if self._store.somebody_leaves:
                self._store.somebody_leaves = False
                self._somebody_leaves()
            self._store.wipe()
        except Exception:
            LOG.exception("what was removed could not be overwritten yet")
