"""Where chunks of tasks are computed: in this process, in a pool of processes, or on a Dask cluster.

A row depends on its task alone, wherever it is computed. Only the order in which chunks are finished differs.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver
from typing import Any, NamedTuple

LARGEST_CHUNK = 16
"""Tasks in a chunk at most: enough that handing them over costs little, so few that a stopped run loses little."""
CHUNKS_PER_PROCESS = 16
FEWEST_POOLED = 4
"""Fewer tasks than this are done before a pool has started."""
DASK_PATIENCE_SECONDS = 10.0
"""How long a scheduler may take to answer at first."""


class TimedRow(NamedTuple):
    """A row and the seconds that it took."""

    row: dict[str, Any]
    seconds: float


Evaluate = Callable[[Any], dict[str, Any]]
Chunk = tuple[int, list[TimedRow]]
"""The number of its first task, and the rows of its tasks, in their order."""


def compute_chunks(
    evaluate: Evaluate, tasks: Sequence[Any], *, jobs: int | None, scheduler: str | None
) -> Iterator[Chunk]:
    """Compute the rows of tasks; yields chunks of them in the order in which they are finished.

    Args:
        evaluate: a function that another process can import, or a value that can be sent there and called.
        jobs: processes, all cores by default.
        scheduler: address of a Dask scheduler to use instead, for instance "tcp://127.0.0.1:8786".

    Raises:
        ChildProcessError: a process was ended from outside.
        ValueError: Dask is not installed, or the scheduler cannot be reached.
    """
    if scheduler is not None:
        with _dask(scheduler) as (executor, workers):
            yield from _submit(executor, evaluate, tasks, _chunk_size(len(tasks), workers))
        return
    jobs = min(jobs or os.cpu_count() or 1, len(tasks))
    if jobs <= 1 or len(tasks) < FEWEST_POOLED:
        for number, task in enumerate(tasks):
            yield number, evaluate_all(evaluate, [task])
        return
    try:
        with _pool(jobs) as executor:
            yield from _submit(executor, evaluate, tasks, _chunk_size(len(tasks), jobs))
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a process was ended from outside, for want of memory perhaps; finished points are kept, so run it again, "
            "with fewer --jobs if need be"
        ) from error


def preload(module: str) -> None:
    """Let the fork server import a module while this process does something else."""
    forkserver.set_forkserver_preload([module])
    _start_server()


def evaluate_all(evaluate: Evaluate, tasks: Sequence[Any]) -> list[TimedRow]:
    """The rows of some tasks, one after the other."""
    rows = []
    for task in tasks:
        started = time.perf_counter()
        rows.append(TimedRow(evaluate(task), time.perf_counter() - started))
    return rows


def _chunk_size(tasks: int, processes: int) -> int:
    return max(1, min(LARGEST_CHUNK, tasks // (CHUNKS_PER_PROCESS * processes)))


def _submit(executor: Executor, evaluate: Evaluate, tasks: Sequence[Any], size: int) -> Iterator[Chunk]:
    # Neighbours in a grid share what is costly to choose, so a chunk is made of neighbours.
    futures = {
        executor.submit(evaluate_all, evaluate, tasks[start : start + size]): start
        for start in range(0, len(tasks), size)
    }
    for future in as_completed(futures):
        yield futures.pop(future), future.result()


@contextmanager
def _pool(jobs: int) -> Iterator[Executor]:
    """A pool of processes; an exception ends it at once and silently."""
    others = set(multiprocessing.active_children())
    # DuckDB has threads of its own here, with which a plain fork may hang.
    _start_server()
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("forkserver"), initializer=_ignore_interrupts
    )
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown()


def _start_server() -> None:
    """Start the fork server unless it is running."""
    with _ignoring_interrupts():
        # What the server ignores, its children ignore from birth: an interrupt is for this process alone.
        forkserver.ensure_running()


@contextmanager
def _dask(scheduler: str) -> Iterator[tuple[Executor, int]]:
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise ValueError('--scheduler needs Dask, the extra "dask": `make setup EXTRAS="--extra dask"`') from error
    try:
        client = distributed.Client(scheduler, timeout=DASK_PATIENCE_SECONDS)
    except (OSError, TimeoutError) as error:
        raise ValueError(f"scheduler is {scheduler!r}; nothing answers there") from error
    with client, client.get_executor(pure=False) as executor:
        yield executor, max(1, len(client.scheduler_info()["workers"]))


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
