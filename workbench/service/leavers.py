"""The thread that lets users leave: what an erasure has made durable is carried out beside everything else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

REST = 10
"""Times as long as a pass took, the thread rests before the next: many erasures share one."""
RETRY_SECONDS = 5.0

log = logging.getLogger(__name__)


class Leavers:
    """Calls `let_go` when woken, once for everybody who has asked meanwhile."""

    def __init__(self, let_go: Callable[[], object]) -> None:
        self._let_go = let_go
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
            started = time.perf_counter()
            try:
                self._let_go()
                rest = REST * (time.perf_counter() - started)
            except Exception:
                # What is durable is not lost: it is carried out later, by this process or another one.
                log.exception("users who are to leave could not be removed yet")
                self._wanted.set()
                rest = RETRY_SECONDS
            self._stopped.wait(rest)
