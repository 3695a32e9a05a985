"""Progress on standard error, for whatever takes longer than two seconds: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dp.progress import Progress

PATIENCE_SECONDS = 2.0
LINE_SECONDS = 5.0
FEWEST_LINE_SECONDS = 1.0


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A function to report (stage, fraction done or None) to; after two seconds a terminal shows a bar.

    Where standard error is no terminal, a line says which stage has begun, and every few seconds how far it is.
    """
    if sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        stream = sys.stderr
        with progress_lines(lambda line: print(line, file=stream, flush=True)) as report:
            yield report


@contextmanager
def progress_lines(
    write: Callable[[str], None], patience: float | None = None, between: float = LINE_SECONDS
) -> Iterator[Progress]:
    """A function to report to; lines come from a thread of their own, so also while a stage reports nothing.

    Args:
        write: is given the lines.
        patience: seconds before the first line, PATIENCE_SECONDS by default.
        between: seconds between two lines; a stage that begins gets its line sooner, but not within a second.
    """
    begun, changed = time.monotonic(), threading.Condition()
    stage, fraction, ended = "starting", None, False

    def report(new_stage: str, new_fraction: float | None) -> None:
        nonlocal stage, fraction
        with changed:
            begins = _name(new_stage) != _name(stage)
            stage, fraction = new_stage, new_fraction
            if begins:
                changed.notify()

    def moved_on(shown: str) -> bool:
        return ended or _name(stage) != shown

    def run() -> None:
        shortest = min(FEWEST_LINE_SECONDS, between)
        with changed:
            changed.wait_for(lambda: ended, PATIENCE_SECONDS if patience is None else patience)
            while not ended:
                shown, share = _name(stage), "" if fraction is None else f", {fraction:.0%}"
                write(f"{stage}{share} ({time.monotonic() - begun:.0f} s)")
                changed.wait_for(lambda: ended, shortest)
                changed.wait_for(functools.partial(moved_on, shown), between - shortest)

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield report
    finally:
        with changed:
            ended = True
            changed.notify()
        thread.join()


def _name(stage: str) -> str:
    """A stage without its details."""
    return stage.partition(": ")[0]


@contextmanager
def _bar() -> Iterator[Progress]:
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
