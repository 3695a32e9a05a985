"""What Ctrl-C does to a command: one line and one exit code, at whatever moment it is pressed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

EXIT_INTERRUPTED = 130
RETRY_SECONDS = 0.02
IMPORTING = "<frozen importlib"


@contextmanager
def after_imports() -> Iterator[None]:
    """Within the block, SIGINT raises KeyboardInterrupt as always, but only when no module is being imported.

    A compiled module that is interrupted while it builds its types ends the process with a core dump, or fails later
    with an error that does not name the interrupt. Where SIGINT is ignored or handled otherwise, it stays so.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    # Sent again as what it was: a server that has begun meanwhile handles it in its own way.
    before = signal.signal(signal.SIGALRM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGALRM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORTING):
            signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def is_interrupt(error: BaseException) -> bool:
    """Whether the error is a Ctrl-C, also as DuckDB passes it on: as its own type, or as a plain RuntimeError."""
    named = "interrupt" in type(error).__name__.lower()
    return named or (type(error) is RuntimeError and "interrupt" in str(error).lower())


def leave(line: str, code: int) -> NoReturn:
    """End the process with its own line as the last one, once all that must be closed is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(line, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: libraries complain of what they find unreleased when the interpreter takes them apart.
    os._exit(code)
