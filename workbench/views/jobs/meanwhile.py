"""Work that says nothing of itself, such as the choice of a strategy: its job goes on telling, and can be ended."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Worked = TypeVar("Worked")

TELL_SECONDS = 0.3


def meanwhile(work: Callable[[], Worked], tell: Callable[[], None]) -> Worked:
    """What `work` returns, or raises; `tell` is called while it lasts.

    What `tell` raises leaves at once; the work then ends by itself, and what it found is kept where it keeps it.
    """
    beside = ThreadPoolExecutor(max_workers=1)
    try:
        future = beside.submit(work)
        while not future.done():
            tell()
            _wait(future.exception)
        return future.result()
    finally:
        beside.shutdown(wait=False)


def _wait(ended: Callable[[float], object]) -> None:
    # Asked for the error, a future raises only that the time is over.
    try:
        ended(TELL_SECONDS)
    except TimeoutError:
        return
