"""Progress on the terminal, for whatever takes longer than two seconds."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, float | None], None]
"""Called with a stage and the fraction done, None where it is unknown."""

PATIENCE_SECONDS = 2.0


def silent(stage: str, fraction: float | None) -> None:
    """Report nothing."""


@contextmanager
def progress_bar() -> Iterator[Report]:
    """A function to report (stage, fraction done or None) to; a bar appears on a terminal after two seconds."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    task = bar.add_task("starting", total=None)
    timer = threading.Timer(PATIENCE_SECONDS, bar.start)
    timer.daemon = True
    timer.start()

    def report(stage: str, fraction: float | None) -> None:
        bar.update(task, description=stage, total=None if fraction is None else 1.0, completed=fraction or 0.0)

    try:
        yield report
    finally:
        timer.cancel()
        bar.stop()
