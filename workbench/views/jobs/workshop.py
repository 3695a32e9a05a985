"""The process that computes, as the pages see it: questions go in, states come out.

The parent sends the list of all questions that are wanted, in their order, as one JSON line; `process` is the child.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from workbench.views.jobs.job import JobState, key_of

MOST_REMEMBERED = 64
LEFT_SECONDS = 10.0


class Workshop:
    """A process that answers questions. Its methods may be called from any thread.

    Args:
        cache: folder of the experiments' shards.
        folder: where files lie that questions name; the working directory by default.
        clock: seconds that never go back.
    """

    def __init__(self, cache: Path, folder: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._command = [sys.executable, "-m", "workbench.views.jobs.process", str(cache), str(folder or Path())]
        self._lock = threading.Lock()
        self._wanted: dict[str, bytes] = {}
        self._states: dict[bytes, JobState] = {}
        self._child: subprocess.Popen[bytes] | None = None

    def ask(self, asker: str, question: msgspec.Struct) -> JobState:
        """How far a question is answered; returns at once. An asker's newer question supersedes the older one.

        Who has not asked for `LEFT_SECONDS` has left, and nothing is computed for them any more.
        """
        key = key_of(question)
        with self._lock:
            self._heard[asker] = now = self._clock()
            self._drop({one for one, heard in self._heard.items() if heard < now - LEFT_SECONDS})
            state = self._states.get(key, JobState(msgspec.Raw(key)))
            if state.finished:
                if self._wanted.get(asker) == key:
                    del self._wanted[asker]
            elif self._wanted.get(asker) != key or not self._running:
                self._wanted[asker] = key
                self._send()
            return state

    def cancel(self, asker: str) -> None:
        """Nothing is wanted by this asker any more."""
        with self._lock:
            if self._wanted.pop(asker, None) is not None:
                self._send()

    def forget(self, question: msgspec.Struct) -> None:
        """Compute a question anew when it is asked again."""
        with self._lock:
            self._states.pop(key_of(question), None)

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.terminate()
            _bury(child)

    def _drop(self, gone: set[str]) -> None:
        for one in gone:
            del self._heard[one]
        if [self._wanted.pop(one) for one in gone & set(self._wanted)]:
            self._send()

    @property
    def _running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def _ensure_child(self) -> subprocess.Popen[bytes]:
        if self._child is None or not self._running:
            # In a session of its own: an interrupt is for the parent, and the end of its input ends the child.
            self._child = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            threading.Thread(target=self._listen, args=(self._child,), daemon=True).start()
        return self._child

    def _send(self) -> None:
        child = self._ensure_child()
        assert child.stdin is not None
        line = msgspec.json.encode([msgspec.Raw(key) for key in self._wanted.values()]) + b"\n"
        # A child that has just ended is noticed by whoever asks next.
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(line)
            child.stdin.flush()

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            # A child that is ended may leave the half of a line.
            if line.endswith(b"\n"):
                self._note([msgspec.json.decode(line, type=JobState)])
        _bury(child)
        with self._lock:
            # A child that was stopped, or that another one has replaced, leaves nobody without an answer.
            unanswered = set(self._wanted.values()) if self._child is child else set()
        error = "the computation ended unexpectedly"
        self._note([JobState(msgspec.Raw(key), error=error, finished=True) for key in unanswered])

    def _note(self, states: list[JobState]) -> None:
        with self._lock:
            for state in states:
                # The newest last, so that the oldest are forgotten.
                self._states.pop(bytes(state.question), None)
                self._states[bytes(state.question)] = state
            for old in list(self._states)[:-MOST_REMEMBERED]:
                del self._states[old]


def _bury(child: subprocess.Popen[bytes]) -> None:
    child.wait()
    for pipe in (child.stdin, child.stdout):
        # What was written to a child that is gone cannot be flushed.
        with contextlib.suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()
