"""The thread that lets users leave: what an erasure has made durable is carried out beside everything else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

REST = 10
"""Times as long as a pass took, the thread rests before the next: many erasures share one."""
LONGEST_REST_SECONDS = 2.0
RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)


class Leavers:
    """Calls `let_go` when woken, once for everybody who has asked meanwhile.

    Args:
        unfinished: whether something is left to do, because somebody reads the store or it cannot be written.
    """

    def __init__(self, let_go: Callable[[], object], unfinished: Callable[[], bool] = lambda: False) -> None:
        self._let_go = let_go
        self._unfinished = unfinished
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dpdau leavers", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Somebody is to leave."""
        self._wanted.set()

    def stop(self) -> None:
        """Let everybody leave who has asked, as far as that is possible, then end the thread."""
        self._stopped.set()
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wanted.wait()
            self._wanted.clear()
            self._stopped.wait(self._pass())
        if self._wanted.is_set():
            self._pass()

    def _pass(self) -> float:
        """One pass; returns the seconds to rest after it."""
        started = time.perf_counter()
        try:
            self._let_go()
            if not self._unfinished():
                return min(REST * (time.perf_counter() - started), LONGEST_REST_SECONDS)
        except Exception:
            # What is durable is not lost: it is carried out later, by this process or another one.
            log.exception("users who are to leave could not be removed yet")
        if not self._stopped.is_set():
            self._wanted.set()
        return RETRY_SECONDS
