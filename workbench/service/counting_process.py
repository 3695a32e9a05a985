"""Counting days in a process of its own, which gives way to the one that serves.

`CountingProcess` starts it. A thread would do, but for Python's lock: whoever asks the service meanwhile would wait for
it with every step of the count.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from workbench.service.access import StoreAccess
from workbench.service.counting import Counter
from workbench.service.errors import StoreError
from workbench.service.periods import Period
from workbench.service.places import database_at
from workbench.service.settings import Settings
from workbench.service.store import Store
from workbench.service.writer import Writer

NICENESS = 10
"""The service beside it goes first."""
REST_SECONDS = 0.01


class CountingProcess:
    """A process that counts days of one service; it starts with the first and ends when its input ends.

    Its methods may be called from any thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def count(self, day: int, period: Period) -> None:
        """`Counter.count`, elsewhere; raises what that raises.

        Raises:
            StoreError: the process ended; what it left undone is done when the day is closed again.
        """
        with self._lock:
            stdin, stdout = self._pipes()
            try:
                _send((day, period), stdin)
                error = pickle.load(stdout)
            except (EOFError, OSError, pickle.UnpicklingError) as gone:
                self._end()
                raise StoreError(
                    "the process that counts the day ended before it was done; close the day again, and it goes on"
                ) from gone
        if error is not None:
            raise error

    def stop(self) -> None:
        """End the process, once it is done with a day."""
        with self._lock:
            self._end()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._child is None:
            # In a session of its own: an interrupt is for the parent, and the end of its input ends the child.
            self._child = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import main; main()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            assert self._child.stdin is not None
            _send(self._settings, self._child.stdin)
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        return self._child.stdin, self._child.stdout

    def _end(self) -> None:
        if self._child is not None:
            with suppress(BrokenPipeError):
                self._child.communicate()
            self._child = None


def _send(value: object, pipe: IO[bytes]) -> None:
    pickle.dump(value, pipe)
    pipe.flush()


def answer_days(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Count the days that come in; what goes out is None for each, or the error that stopped its count."""
    settings: Settings = pickle.load(questions)
    database = database_at(settings.store_place, settings.key_path)
    writer = Writer(store := Store(database, database.connect()))
    access = StoreAccess(settings.store_place, store, writer)

    def write(work: Callable[[Store], Any]) -> Any:
        result = access.submit(work).result()
        # SQLite lets whoever waits for a file sleep between looks, so that one who never rests keeps it.
        time.sleep(REST_SECONDS)
        return result

    counter = Counter(database, access.reading, write, settings)
    with suppress(EOFError):
        while True:
            day, period = pickle.load(questions)
            try:
                counter.count(day, period)
                error = None
            except Exception as failure:
                error = failure
            _send(error, answers)
    writer.stop()


def main() -> None:
    """The child: settings and days on standard input, outcomes on standard output."""
    os.nice(NICENESS)
    answer_days(sys.stdin.buffer, sys.stdout.buffer)
