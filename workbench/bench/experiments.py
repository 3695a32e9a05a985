"""How fast the experiment engine is: a grid from nothing, the same from its cache, and what a task costs by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from dp.progress import Progress
from experiments.engine.executors import compute_chunks
from workbench.rows import TableRow

TRIALS, HORIZON = 2000, 365
CONFIG = f"""
name = "bench"
question = "How long does a grid take?"
figure = "epsilon_vs_error"
metric = "mau"
unit = "user-day"
w_bound = 2
delta = 1e-6
trials = {TRIALS}
seed = 1

[population]
users = 5000
days = {HORIZON}
seed = 7

[grid]
mechanism = ["laplace", "gaussian", "binary-tree", "square-root", "damped-square-root", "honaker-tree", "b-ary-tree"]
epsilon = [0.5, 1.0, 2.0, 4.0]
"""
POINTS = 28
NOTHINGS = 2000


@dataclass(frozen=True)
class Nothing:
    """A task that is no work; `point` as every task has one."""

    point: int


def evaluate_nothing(task: Nothing) -> TableRow:
    """An empty row."""
    return {"point": task.point}


def bench_experiments(repeats: int, report: Progress) -> list[TableRow]:
    """Wall seconds, the least of `repeats`, each run a process of its own as from the command line.

    Returns:
        one row each for a run that computes all points, one from its cache, and the overhead of a task: what tasks
        that are no work take in the pool, over their number, beyond what starting the pool takes.
    """
    jobs = os.cpu_count() or 1
    first, again = [], []
    for number in range(repeats):
        report("running a grid, and again from its cache", number / (repeats + 1))
        with TemporaryDirectory() as folder:
            (Path(folder) / "bench.toml").write_text(CONFIG, encoding="utf-8")
            first.append(_run(Path(folder)))
            again.append(_run(Path(folder)))
    report("handing over empty tasks", repeats / (repeats + 1))
    few, many = (min(_hand_over(number, jobs) for _ in range(repeats)) for number in (jobs * 16, NOTHINGS))
    grid = f"{POINTS} points × {TRIALS:,} trials × {HORIZON} days"
    return [
        {"what": f"{grid}, on {jobs} processes", "seconds": round(min(first), 2)},
        {"what": "the same from the cache", "seconds": round(min(again), 2)},
        {"what": "overhead of one task", "seconds": round(max(many - few, 0.0) / (NOTHINGS - jobs * 16), 6)},
    ]


def _run(folder: Path) -> float:
    started = time.perf_counter()
    places = ["--results", str(folder / "results"), "--cache", str(folder / "cache")]
    command = [sys.executable, "-m", "experiments", "run", str(folder / "bench.toml"), *places]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def _hand_over(number: int, jobs: int) -> float:
    started = time.perf_counter()
    done = sum(
        len(rows)
        for _, rows in compute_chunks(evaluate_nothing, [Nothing(n) for n in range(number)], jobs=jobs, scheduler=None)
    )
    assert done == number
    return time.perf_counter() - started
