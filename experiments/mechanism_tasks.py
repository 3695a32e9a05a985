"""Tasks of experiments with mechanisms: the counts that the points of a config are tried on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

from dp.events import Log, read_log
from dp.generate import generate, write_log
from dp.presence import DuckDBEngine
from experiments.mechanism_config import Config
from experiments.points import START, Point
from experiments.population import LogFile, Population
from experiments.tasks import Task, evaluate

Source = Population | LogFile
Counts = dict[tuple[str, int | None], tuple[int, ...]]
"""By (metric, flip bound), the bound None for true counts."""


def mechanism_tasks(config: Config, wanted: Sequence[Point], folder: Path) -> list[Task]:
    """A task for each point, with the counts of its log; synthetic logs are written into the folder.

    Raises:
        ValueError: a log cannot be read.
    """
    tasks: list[Task] = []
    for source, group in groupby(wanted, config.source):
        points = list(group)
        counts = counted(source, points, folder)
        tasks += [_task(config, point, counts) for point in points]
    return tasks


def counted(source: Source, wanted: Sequence[Point], folder: Path) -> Counts:
    """The counts that the points need, over all days of the source."""
    windows = {point.metric: point.window for point in sorted(wanted, key=lambda point: point.metric)}
    bounds: set[int | None] = {None, *(point.w_bound for point in wanted if point.unit == "user")}
    counts: Counts = {}
    with _log(source, folder) as (log, first):
        engine = DuckDBEngine(log.connection)
        last = first + timedelta(days=source.days - 1)
        for bound in bounds:
            flips = engine.daily_flips(list(windows.values()), first, last, bound)
            for metric, window in windows.items():
                counts[metric, bound] = tuple(int(count) for count in flips[window].counts)
    return counts


@contextmanager
def _log(source: Source, folder: Path) -> Iterator[tuple[Log, date]]:
    if isinstance(source, LogFile):
        path, first, columns = source.path, source.first, source.columns
    else:
        path, first, columns = folder / "population.parquet", START, {}
        write_log(generate(source.users, source.days, seed=source.seed, start=START, **source.rates), path)
    with read_log(path, columns=columns) as log:
        yield log, first


def _task(config: Config, point: Point, counts: Counts) -> Task:
    horizon = config.horizon_at(point)
    # A count depends on what had arrived by its day, so those of a shorter horizon are the first of a longer one.
    truth = counts[point.metric, None][:horizon]
    bounded = counts[point.metric, point.w_bound][:horizon] if point.unit == "user" else truth
    delta, trials, seed = (config.setting(point, name) for name in ("delta", "trials", "seed"))
    assert delta is not None
    assert trials is not None
    assert seed is not None
    return Task(point, float(delta), int(trials), int(seed), truth, bounded, tuple(config.metrics))


__all__ = ["counted", "evaluate", "mechanism_tasks"]
