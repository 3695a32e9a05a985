"""Tasks of experiments with mechanisms: each point of a config with its counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dp.log import Log, read_log
from dp.mechanisms import family_of
from dp.presence import NumpyEngine, user_flips
from experiments.engine.population import START, ConfigLog, Population
from experiments.engine.synthetic_log import write_synthetic_log
from experiments.kinds.mechanisms.config import MechanismConfig
from experiments.kinds.mechanisms.points import MechanismPoint
from experiments.kinds.mechanisms.task import Steps, Task

LogSource = Population | ConfigLog
CountSeries = tuple[int, ...]


@dataclass(frozen=True)
class SeriesCounts:
    """The counts of one log that its points need.

    Attributes:
        series: counts by (metric, flip bound), the bound None for true ones.
        steps: by the same keys, the flips behind the counts, where a sample is drawn.
        levels: by (mechanism, metric, horizon), the counts under the bounds of a mechanism that chooses its own, shape
            (2·bounds, T).
    """

    series: dict[tuple[str, int | None], CountSeries]
    steps: dict[tuple[str, int | None], Steps]
    levels: dict[tuple[str, str, int], tuple[CountSeries, ...]]


CountSource = Callable[[MechanismConfig, LogSource, Sequence[MechanismPoint], Path], SeriesCounts]
"""See `count_series`, which is one."""


def mechanism_tasks(
    config: MechanismConfig, wanted: Sequence[MechanismPoint], folder: Path, count: CountSource | None = None
) -> list[Task]:
    """A task for each point, with the counts of its log; synthetic logs are written into the folder.

    Args:
        count: in place of `count_series`.

    Raises:
        ValueError: a log cannot be read.
    """
    tasks: list[Task] = []
    for source, group in groupby(wanted, config.source):
        points = list(group)
        counts = (count or count_series)(config, source, points, folder)
        tasks += [_task(config, point, counts) for point in points]
    return tasks


def count_series(
    config: MechanismConfig, source: LogSource, wanted: Sequence[MechanismPoint], folder: Path
) -> SeriesCounts:
    """The counts of a source that the points need, over all its days."""
    windows = {point.metric: point.window for point in sorted(wanted, key=lambda point: point.metric)}
    bounds = sorted({point.w_bound for point in wanted if point.unit == "user"})
    sampled = {(point.metric, _bound(point)) for point in wanted if config.rate_at(point) < 1}
    own = {(point.mechanism, point.metric, config.horizon_at(point)) for point in wanted}
    with open_source(source, folder) as (log, first):
        engine = NumpyEngine(log.connection)
        last = first + timedelta(days=source.days - 1)
        series = bounded_series(engine, windows, first, last, bounds)
        steps: dict[tuple[str, int | None], Steps] = {}
        for metric, bound in sampled:
            moves = user_flips(log.connection, windows[metric], first, last, bound)
            steps[metric, bound] = Steps(_whole(moves.ticks), _whole(moves.users), _whole(moves.steps))
        levels = {}
        for mechanism, metric, horizon in own:
            own_bounds = family_of(mechanism).own_bounds
            if own_bounds is not None:
                ends = first + timedelta(days=horizon - 1)
                columns = engine.bounded_counts([windows[metric]], first, ends, own_bounds(horizon))[windows[metric]]
                levels[mechanism, metric, horizon] = tuple(_whole(column) for column in columns.values.T)
    return SeriesCounts(series, steps, levels)


def bounded_series(
    engine: NumpyEngine, windows: Mapping[str, int], first: date, last: date, bounds: Sequence[int]
) -> dict[tuple[str, int | None], CountSeries]:
    """The true counts of each metric under (metric, None), and under (metric, bound) those with users frozen."""
    flips = engine.daily_flips(list(windows.values()), first, last)
    series: dict[tuple[str, int | None], CountSeries] = {
        (metric, None): _whole(flips[window].counts.values) for metric, window in windows.items()
    }
    bounded = engine.bounded_counts(list(windows.values()), first, last, bounds) if bounds else {}
    for metric, window in windows.items():
        series |= {(metric, one): _whole(bounded[window].values[:, 2 * place]) for place, one in enumerate(bounds)}
    return series


@contextmanager
def open_source(source: LogSource, folder: Path) -> Iterator[tuple[Log, date]]:
    """The log of a source, and its first tick; the log of a population is written into the folder."""
    if isinstance(source, ConfigLog):
        path, first, columns = source.path, source.first, source.columns
    else:
        path, first, columns = folder / "population.parquet", START, {}
        write_synthetic_log(source, path)
    with read_log(path, columns=columns) as log:
        yield log, first


def _task(config: MechanismConfig, point: MechanismPoint, counts: SeriesCounts) -> Task:
    horizon, bound, rate = config.horizon_at(point), _bound(point), config.rate_at(point)
    values = {name: config.setting(point, name) for name in ("delta", "trials", "seed", "share", "accountant")}
    steps = counts.steps[point.metric, bound] if rate < 1 else None
    return Task(
        point,
        float(values["delta"] or 0),
        int(values["trials"] or 0),
        int(values["seed"] or 0),
        # A count depends on what had arrived by its day, so those of a shorter horizon are the first of a longer one.
        counts.series[point.metric, None][:horizon],
        counts.series[point.metric, bound][:horizon],
        tuple(config.extra_metrics),
        share=float(values["share"] or 1),
        accountant=None if values["accountant"] is None else str(values["accountant"]),
        rate=rate,
        steps=None if steps is None else steps.before(horizon),
        levels=counts.levels.get((point.mechanism, point.metric, horizon), ()),
    )


def _bound(point: MechanismPoint) -> int | None:
    """The number of flips after which users are frozen; None if they are not."""
    return point.w_bound if point.unit == "user" else None


def _whole(values: NDArray[np.int64]) -> CountSeries:
    return tuple(values.tolist())
