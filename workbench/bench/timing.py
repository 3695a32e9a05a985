"""Processor time of a piece of work: other work on the machine does not stretch it."""

from __future__ import annotations

import time
from collections.abc import Callable

REPEATS = 3


def seconds_once(work: Callable[[], object]) -> float:
    """Processor time of one run."""
    started = time.process_time()
    work()
    # The clock's own step, for work that is over sooner.
    return max(time.process_time() - started, 1e-7)


def processor_seconds(work: Callable[[], object]) -> float:
    """The least processor time of some runs."""
    return min(seconds_once(work) for _ in range(REPEATS))


def alternate_seconds(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """The least processor time of each over some runs, which alternate, so that a busy machine hits both alike."""
    times = [(seconds_once(ours), seconds_once(theirs)) for _ in range(REPEATS)]
    return min(mine for mine, _ in times), min(other for _, other in times)
