"""The runner: config → tasks → shards → one tidy table, its provenance and its figure.

A shard is the row of one point, addressed by everything it depends on (population, point, trials, seed, code), written
atomically and reused; so a run can be stopped at any moment and goes on where it was. What a run from the cache does
not need, it does not import.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from experiments.engine import digests
from experiments.engine.artifacts import write_products
from experiments.engine.code_fingerprint import code_fingerprint
from experiments.engine.executors import FEWEST_POOLED, Evaluate, computed, prepare
from experiments.engine.files import write_atomically
from experiments.kinds.accountants.config import AccountantConfig
from experiments.kinds.audit.config import AttackConfig, AuditConfig
from experiments.kinds.coverage.config import CoverageConfig
from experiments.kinds.loading import AnyConfig, Config, ConfigError, SketchConfig, check, read
from experiments.kinds.published.config import PublishedConfig

Report = Callable[[str, float | None], None]

WORDS = ("name", "question", "figure", "finding", "tolerance", "grid", "also")
"""What of a config no row depends on, but for the row's own point of the grid."""


def _silent(stage: str, fraction: float | None) -> None:
    """No progress display."""


@dataclass(frozen=True)
class Kind:
    """How configs of a kind are run, by name, so that nothing is imported for a table that is there already.

    Attributes:
        module: holds both functions; rows depend on it and on all that it imports.
        tasks: from a config, the points that are wanted and a folder for scratch files to a task each.
        evaluate: from a task to its row; called in another process while that folder is still there.
    """

    module: str
    tasks: str
    evaluate: str

    @property
    def code(self) -> str:
        """SHA-256 of the code that rows depend on."""
        return code_fingerprint(self.module)

    def functions(self) -> tuple[Callable[[Any, Sequence[Any], Path], Sequence[Any]], Evaluate]:
        """`tasks` and `evaluate`."""
        module = importlib.import_module(self.module)
        return getattr(module, self.tasks), getattr(module, self.evaluate)


KINDS: dict[type[AnyConfig], Kind] = {
    Config: Kind("experiments.kinds.mechanisms.tasks", "mechanism_tasks", "evaluate"),
    SketchConfig: Kind("experiments.kinds.sketches.trials", "sketch_tasks", "evaluate_sketch"),
    CoverageConfig: Kind("experiments.kinds.coverage.trials", "coverage_tasks", "evaluate_coverage"),
    AccountantConfig: Kind("experiments.kinds.accountants.trials", "accountant_tasks", "evaluate_accountant"),
    PublishedConfig: Kind("experiments.kinds.published.trials", "published_tasks", "evaluate_published"),
    AuditConfig: Kind("experiments.kinds.audit.trials", "audit_tasks", "evaluate_audit"),
    AttackConfig: Kind("experiments.kinds.attacks.trials", "attack_tasks", "evaluate_attack"),
}


@dataclass(frozen=True)
class Plan:
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
        """What a point took in the mean, of those that have a shard; None if none has."""
        kept = [_kept(shard)["seconds"] for shard in self.shards.values() if shard.exists()]
        return sum(kept) / len(kept) if kept else None


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


def plan(config: AnyConfig, cache: Path, only: Sequence[tuple[str, str]] = ()) -> Plan:
    """What there is to do.

    Args:
        only: names and values, as they stand in the points' identities; a point must have one of the values given for
            each name. None of them: all points.

    Raises:
        ValueError: a log that the config names is missing, or `only` leaves no point.
    """
    code = KINDS[type(config)].code
    depends = code + "".join(_contents(config))
    chosen = selected(list(config.points()), only)
    return Plan(code, {point: cache / f"{_digest(depends, config, point)}.json" for point in chosen})


def selected(points: Sequence[Any], only: Sequence[tuple[str, str]]) -> list[Any]:
    """The points that `only` asks for.

    Raises:
        ValueError: there is none.
    """
    wanted: dict[str, set[str | float]] = {}
    for name, value in only:
        wanted.setdefault(name, set()).add(_number(value))
    kept = []
    for point in points:
        words = dict(word.split("=", 1) for word in point.identity.split(" "))
        if all(name in words and _number(words[name]) in values for name, values in wanted.items()):
            kept.append(point)
    if only and not kept:
        known = sorted({word for point in points for word in point.identity.split(" ")})
        raise ValueError(f"no point has {' '.join('='.join(pair) for pair in only)}; there are {', '.join(known)}")
    return kept


def tabulate(
    config: AnyConfig,
    cache: Path,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    only: Sequence[tuple[str, str]] = (),
    report: Report = _silent,
) -> Tabulated:
    """Compute the rows of an experiment, or take them from the shards in `cache`.

    Args:
        jobs: processes, all cores by default; the rows do not depend on it.
        scheduler: address of a Dask scheduler to use in their place; its workers see `cache` where this process does.
        only: see `plan`.
        report: called with a stage and the fraction done.

    Raises:
        ValueError: see `plan`; or a point cannot be computed.
        ChildProcessError: a process was ended from outside.
    """
    return completed(config, plan(config, cache, only), cache, jobs=jobs, scheduler=scheduler, report=report)


def completed(
    config: AnyConfig,
    planned: Plan,
    cache: Path,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    report: Report = _silent,
) -> Tabulated:
    """The rows of what is planned for a config: those that are missing are computed; see `tabulate`."""
    missing = planned.missing
    if missing:
        report("counting users", None)
        kind = KINDS[type(config)]
        if scheduler is None and jobs != 1 and len(missing) >= FEWEST_POOLED:
            prepare(kind.module)
        tasks_of, evaluate = kind.functions()
        if scheduler is not None:
            cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache.resolve() if scheduler else None) as folder:
            tasks = tasks_of(config, missing, Path(folder))
            done, started = 0, time.monotonic()
            for first, chunk in computed(evaluate, tasks, jobs=jobs, scheduler=scheduler):
                for number, (row, seconds) in enumerate(chunk, start=first):
                    content = json.dumps({"seconds": round(seconds, 6), "row": row}, default=float)
                    write_atomically(planned.shards[tasks[number].point], content.encode())
                done += len(chunk)
                rate = done / max(time.monotonic() - started, 1e-9)
                report(f"{config.name}: {done} of {len(tasks)} points, {rate:.3g} a second", done / len(tasks))
    rows = tuple(_kept(shard)["row"] for shard in planned.shards.values())
    return Tabulated(rows, planned.code, len(missing), len(rows) - len(missing))


def run(
    config_path: Path,
    results: Path,
    cache: Path,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    only: Sequence[tuple[str, str]] = (),
    profile: str = "quick",
    report: Report = _silent,
) -> Finished:
    """Run a config and write `results`/NAME.parquet, .json (provenance), .svg and .png.

    A table that comes out as it was keeps its provenance, and a figure whose table and code are what they were is not
    drawn again. With `only` the files are called NAME_only, so that a part never takes the place of the whole.

    Raises:
        ConfigError: the config cannot be run.
        ValueError, ChildProcessError: see `tabulate`.
    """
    started = time.monotonic()
    config = read(config_path, profile)
    try:
        todo = plan(config, cache, only)
    except ValueError as error:
        raise ConfigError(f"{config_path}: {error}") from error
    if todo.missing or not todo.shards:
        # What has a row has been checked.
        check(config, config_path)
    tabulated = completed(config, todo, cache, jobs=jobs, scheduler=scheduler, report=report)
    report("writing the table and the figure", None)
    details = {
        "config": config_path.name,
        "config_sha256": config.fingerprint,
        "code_sha256": tabulated.code,
        "profile": profile,
        **({"only": ["=".join(pair) for pair in only]} if only else {}),
    }
    name = f"{config.name}_only" if only else config.name
    files = write_products(tabulated.rows, config.figure, results / f"{name}.parquet", details, started)
    return Finished(tabulated.computed, tabulated.reused, time.monotonic() - started, files)


def _digest(code: str, config: AnyConfig, point: Any) -> str:
    """Of all that a row depends on: not of the words of a config, nor of the other points of its grid."""
    values = {name: value for name, value in msgspec.to_builtins(config).items() if name not in WORDS}
    parts = [code, values, asdict(point)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _contents(config: AnyConfig) -> list[str]:
    """SHA-256 of the logs that a config names."""
    contents = []
    for name, log in getattr(config, "logs", {}).items():
        content = digests.of_file(log.path)
        if content is None:
            raise ValueError(f"logs.{name}.file is {log.file}, and there is no such file")
        contents.append(content)
    return contents


def _kept(shard: Path) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(shard.read_bytes())
    return kept


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
