"""The runner: config → tasks → shards → one tidy table, its provenance and its figure.

A shard is the row of one point, addressed by everything it depends on (population, point, trials, seed, code). It is
written atomically and reused, so a run can be stopped at any moment and resumes where it was. A run from the cache
imports only what it needs.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from dp.progress import Progress, silent
from experiments.engine import digests
from experiments.engine.artifacts import load_for_writing, write_artifacts
from experiments.engine.code_fingerprint import code_fingerprint
from experiments.engine.config import ConfigError, ExperimentConfig, check
from experiments.engine.executors import FEWEST_POOLED, compute_chunks, preload
from experiments.engine.files import write_atomically
from experiments.engine.grid import words_of
from experiments.engine.kind import MakeTasks

ROWLESS_KEYS = ("name", "question", "figure", "finding", "tolerance", "grid", "also")
"""The keys of a config on which no row depends, except through the row's own point of the grid."""


@dataclass(frozen=True)
class RunPlan:
    """The points of an experiment and where their shards lie.

    Attributes:
        code: SHA-256 of the code that the rows depend on.
    """

    code: str
    shards: dict[Any, Path]

    @property
    def missing(self) -> list[Any]:
        """Points without a shard, in the order of the grid."""
        return [point for point, shard in self.shards.items() if not shard.exists()]

    def seconds_a_point(self) -> float | None:
        """Average seconds of the points that have a shard; None if none has."""
        seconds = [_read_shard(shard)["seconds"] for shard in self.shards.values() if shard.exists()]
        return sum(seconds) / len(seconds) if seconds else None


@dataclass(frozen=True)
class Table:
    """The rows of an experiment, one a point; how many were computed and reused; SHA-256 of the code."""

    rows: tuple[dict[str, Any], ...]
    code: str
    computed: int
    reused: int


@dataclass(frozen=True)
class RunSummary:
    """What a run did: rows computed and reused, wall seconds, and the files it leaves."""

    computed: int
    reused: int
    seconds: float
    files: tuple[Path, ...]


def plan_run(config: ExperimentConfig, cache: Path, only: Sequence[tuple[str, str]] = ()) -> RunPlan:
    """The points to run and their shards in `cache`.

    Args:
        only: names and values, as they stand in the points' identities; a point must have one of the values given for
            each name. All points if it is empty.

    Raises:
        ValueError: a log that the config names is missing, or `only` leaves no point.
    """
    code = code_fingerprint(*config.kind.row_modules)
    depends = code + "".join(_log_digests(config))
    points = select(list(config.points()), only)
    return RunPlan(code, {point: cache / f"{_digest(depends, config, point)}.json" for point in points})


def select(points: Sequence[Any], only: Sequence[tuple[str, str]]) -> list[Any]:
    """The points that `only` asks for.

    Raises:
        ValueError: there is none.
    """
    wanted: dict[str, set[str | float]] = {}
    for name, value in only:
        wanted.setdefault(name, set()).add(_number(value))
    chosen = []
    for point in points:
        words = words_of(point)
        if all(name in words and _number(words[name]) in values for name, values in wanted.items()):
            chosen.append(point)
    if only and not chosen:
        known = sorted({word for point in points for word in point.identity.split(" ")})
        raise ValueError(f"no point has {' '.join('='.join(pair) for pair in only)}; there are {', '.join(known)}")
    return chosen


def tabulate(
    config: ExperimentConfig,
    cache: Path,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    only: Sequence[tuple[str, str]] = (),
    report: Progress = silent,
    make_tasks: MakeTasks | None = None,
) -> Table:
    """Compute the rows of an experiment, or take them from the shards in `cache`.

    Args:
        jobs: processes, all cores by default; the rows do not depend on it.
        scheduler: address of a Dask scheduler to use instead; its workers must see `cache` where this process does.
        only: see `plan_run`.
        report: called with a stage and the fraction done.
        make_tasks: in place of the kind's own; the tasks must be the same.

    Raises:
        ValueError: see `plan_run`; or a point cannot be computed.
        ChildProcessError: a process was ended from outside.
    """
    todo = plan_run(config, cache, only)
    return complete(config, todo, cache, jobs=jobs, scheduler=scheduler, report=report, make_tasks=make_tasks)


def complete(
    config: ExperimentConfig,
    todo: RunPlan,
    cache: Path,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    report: Progress = silent,
    meanwhile: Callable[[], None] = lambda: None,
    make_tasks: MakeTasks | None = None,
) -> Table:
    """The rows of a plan for a config; those that are missing are computed, see `tabulate`.

    Args:
        meanwhile: called, in another thread, while other processes compute.
    """
    missing = todo.missing
    if missing:
        report("counting users", None)
        elsewhere = _prepare(config, missing, jobs, scheduler)
        usual, evaluate = config.kind.functions()
        if scheduler is not None:
            cache.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=cache.resolve() if scheduler else None)
        with scratch as folder, ThreadPoolExecutor(max_workers=1) as beside:
            tasks = (make_tasks or usual)(config, missing, Path(folder))
            done, started = 0, time.monotonic()
            for first, chunk in compute_chunks(evaluate, tasks, jobs=jobs, scheduler=scheduler):
                if elsewhere and not done:
                    beside.submit(meanwhile)
                for number, (row, seconds) in enumerate(chunk, start=first):
                    content = json.dumps({"seconds": round(seconds, 6), "row": row}, default=float)
                    write_atomically(todo.shards[tasks[number].point], content.encode())
                done += len(chunk)
                rate = done / max(time.monotonic() - started, 1e-9)
                report(f"{config.name}: {done} of {len(tasks)} points, {rate:.3g} a second", done / len(tasks))
    rows = tuple(_read_shard(shard)["row"] for shard in todo.shards.values())
    return Table(rows, todo.code, len(missing), len(rows) - len(missing))


def run(
    config: ExperimentConfig,
    path: Path,
    results: Path,
    cache: Path,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    only: Sequence[tuple[str, str]] = (),
    profile: str = "quick",
    report: Progress = silent,
) -> RunSummary:
    """Run a config and write `results`/NAME.parquet, .json (provenance), .svg and .png.

    A table that comes out as it was keeps its provenance, and a figure whose table and code are what they were is not
    drawn again. With `only` the files are called NAME_only, so that a part never takes the place of the whole.

    Args:
        path: the file that the config was read from, named in the provenance and in refusals.
        profile: with which it was read.

    Raises:
        ConfigError: the config cannot be run.
        ValueError, ChildProcessError: see `tabulate`.
    """
    started = time.monotonic()
    try:
        todo = plan_run(config, cache, only)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    missing = todo.missing
    if missing or not todo.shards:
        _prepare(config, missing, jobs, scheduler)
        # A config whose rows are all there was checked when they were computed.
        check(config, path)
    table = complete(
        config, todo, cache, jobs=jobs, scheduler=scheduler, report=report, meanwhile=lambda: load_for_writing(config)
    )
    report("writing the table and the figure", None)
    details = {
        "config": path.name,
        "config_sha256": config.fingerprint,
        "code_sha256": table.code,
        "profile": profile,
        **({"only": ["=".join(pair) for pair in only]} if only else {}),
    }
    name = f"{config.name}_only" if only else config.name
    files = write_artifacts(table.rows, config, results / f"{name}.parquet", details, started)
    return RunSummary(table.computed, table.reused, time.monotonic() - started, files)


def _prepare(config: ExperimentConfig, missing: Sequence[Any], jobs: int | None, scheduler: str | None) -> bool:
    """Whether other processes compute the points that are missing. Those of this machine begin to import."""
    elsewhere = scheduler is not None or (jobs != 1 and len(missing) >= FEWEST_POOLED)
    if elsewhere and scheduler is None:
        preload(config.kind.row_modules[0])
    return elsewhere


def _digest(code: str, config: ExperimentConfig, point: Any) -> str:
    """Of everything that a row depends on: not of the words of a config, nor of the other points of its grid."""
    values = {name: value for name, value in msgspec.to_builtins(config).items() if name not in ROWLESS_KEYS}
    parts = [code, values, asdict(point)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _log_digests(config: ExperimentConfig) -> list[str]:
    """SHA-256 of the logs that a config names."""
    contents = []
    for name, log in config.log_files.items():
        content = digests.of_file(log.path)
        if content is None:
            raise ValueError(f"logs.{name}.file is {log.file}, and there is no such file")
        contents.append(content)
    return contents


def _read_shard(shard: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(shard.read_bytes())
    return content


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
