"""The runner: config → tasks → shards → one tidy table, its provenance and its figure.

A shard is the row of one point, addressed by everything it depends on (population, point, trials, seed, code), written
atomically and reused; so a run can be stopped at any moment and goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from dp.release import METRICS
from experiments import figures
from experiments.config import AnyConfig, Config, Point, Population, SketchConfig, load
from experiments.files import write_atomically
from experiments.sketch_tasks import evaluate_sketch, sketch_tasks
from experiments.tables import provenance, write_table
from experiments.tasks import START, Task, evaluate

Report = Callable[[str, float | None], None]
Counts = tuple[int, ...]

WORDS = ("name", "question", "figure", "grid")
"""What of a config no row depends on, but for the row's own point of the grid."""


def _silent(stage: str, fraction: float | None) -> None:
    """No progress display."""


@dataclass(frozen=True)
class Tabulated:
    """The rows of an experiment, one a point; how many shards were computed and reused; SHA-256 of the code."""

    rows: tuple[dict[str, Any], ...]
    code: str
    computed: int
    reused: int


@dataclass(frozen=True)
class Finished:
    """What a run did: shards computed and reused, wall seconds, and the files it leaves."""

    computed: int
    reused: int
    seconds: float
    files: tuple[Path, ...]


def tabulate(config: AnyConfig, cache: Path, *, jobs: int | None = None, report: Report = _silent) -> Tabulated:
    """Compute the rows of an experiment, or take them from the shards in `cache`.

    Args:
        jobs: processes, all cores by default; the rows do not depend on it.
        report: called with a stage and the fraction done.
    """
    code = code_fingerprint()
    kind = KINDS[type(config)]
    all_points = list(config.points())
    shards = {point: cache / f"{_digest(code, config, point)}.json" for point in all_points}
    missing = [point for point in all_points if not shards[point].exists()]
    if missing:
        report("counting the population", None)
        with tempfile.TemporaryDirectory() as folder:
            tasks = kind.tasks(config, missing, Path(folder))
            with _ordered_map(jobs or os.cpu_count() or 1, len(tasks)) as mapped:
                for done, (task, row) in enumerate(zip(tasks, mapped(kind.evaluate, tasks), strict=True), start=1):
                    write_atomically(shards[task.point], json.dumps(row, default=float).encode())
                    report(f"{config.name}: point {done} of {len(tasks)}", done / len(tasks))
    rows = tuple(json.loads(shards[point].read_bytes()) for point in all_points)
    return Tabulated(rows, code, len(missing), len(all_points) - len(missing))


def run(
    config_path: Path, results: Path, cache: Path, *, jobs: int | None = None, report: Report = _silent
) -> Finished:
    """Run a config and write `results`/NAME.parquet, .json (provenance), .svg and .png.

    A table that comes out as it was keeps its provenance.

    Raises:
        ConfigError: the config cannot be run.
    """
    started = time.monotonic()
    config = load(config_path)
    tabulated = tabulate(config, cache, jobs=jobs, report=report)
    report("writing the table and the figure", None)
    table = results / f"{config.name}.parquet"
    source = table.with_suffix(".json")
    if write_table(tabulated.rows, table) or not source.exists():
        details = provenance(
            config=config_path.name,
            config_sha256=config.fingerprint,
            code_sha256=tabulated.code,
            seconds=round(time.monotonic() - started, 1),
        )
        write_atomically(source, (json.dumps(details, indent=2) + "\n").encode())
    drawn = figures.draw(config.figure, table)
    pictures = [table.with_suffix(suffix) for suffix in (".svg", ".png")]
    for picture in pictures:
        figures.save(drawn, picture)
    seconds = time.monotonic() - started
    return Finished(tabulated.computed, tabulated.reused, seconds, (table, source, *pictures))


def mechanism_tasks(config: Config, wanted: Sequence[Point], folder: Path) -> list[Task]:
    """A task for each point, with the counts of the synthetic log; the log is written into the folder."""
    counts = population_counts(config.population, wanted, folder)
    return [_task(config, point, counts) for point in wanted]


@dataclass(frozen=True)
class Kind:
    """How configs of a kind are run.

    Attributes:
        tasks: from a config, the points that are wanted and a folder for scratch files to a task each.
        evaluate: from a task to its row; called in another process while that folder is still there.
    """

    tasks: Callable[[Any, Sequence[Any], Path], Sequence[Any]]
    evaluate: Callable[[Any], dict[str, Any]]


KINDS: dict[type[AnyConfig], Kind] = {
    Config: Kind(mechanism_tasks, evaluate),
    SketchConfig: Kind(sketch_tasks, evaluate_sketch),
}


def population_counts(
    population: Population, wanted: Sequence[Point], folder: Path
) -> dict[tuple[str, int | None], Counts]:
    """Counts of the synthetic log by (metric, flip bound), the bound None for true counts."""
    from dp.events import read_log
    from dp.generate import generate, write_log
    from dp.presence import DuckDBEngine

    log = folder / "population.parquet"
    rates = {name: value for name, value in msgspec.structs.asdict(population).items() if name.endswith("_rate")}
    write_log(generate(population.users, population.days, seed=population.seed, start=START, **rates), log)
    metrics = sorted({point.metric for point in wanted})
    bounds: set[int | None] = {None, *(point.w_bound for point in wanted if point.unit == "user")}
    counts: dict[tuple[str, int | None], Counts] = {}
    with read_log(log) as checked:
        engine = DuckDBEngine(checked.connection)
        last = START + timedelta(days=population.days - 1)
        for bound in bounds:
            flips = engine.daily_flips([METRICS[metric] for metric in metrics], START, last, bound)
            for metric in metrics:
                counts[metric, bound] = tuple(int(count) for count in flips[METRICS[metric]].counts)
    return counts


def code_fingerprint() -> str:
    """SHA-256 over the code that a row depends on: all of `dp`, and the tasks."""
    here = Path(__file__).parent
    files = [*(here.parent / "dp").rglob("*.py"), *(here.parent / "dp").rglob("*.sql")]
    files += [here / name for name in ("tasks.py", "sketch_tasks.py", "sketch_designs.py")]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(here.parent).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _task(config: Config, point: Point, counts: dict[tuple[str, int | None], Counts]) -> Task:
    truth = counts[point.metric, None]
    bounded = counts[point.metric, point.w_bound] if point.unit == "user" else truth
    return Task(point, config.delta, config.trials, config.seed, truth, bounded)


def _digest(code: str, config: AnyConfig, point: Any) -> str:
    """Of all that a row depends on: not of the words of a config, nor of the other points of its grid."""
    values = {name: value for name, value in msgspec.to_builtins(config).items() if name not in WORDS}
    parts = [code, values, asdict(point)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@contextmanager
def _ordered_map(jobs: int, tasks: int) -> Iterator[Callable[..., Iterator[dict[str, Any]]]]:
    """An ordered map over tasks, in this process or in a pool."""
    if jobs == 1 or tasks < 4:
        yield map
        return
    # DuckDB has threads of its own here, with which a plain fork may hang.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("forkserver")) as pool:
        yield lambda function, items: pool.map(function, items, chunksize=max(1, min(16, tasks // (16 * jobs))))
