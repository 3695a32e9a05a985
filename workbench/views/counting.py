"""Counts that research pages start from: of a generated population or of a log that a visitor gives, remembered."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from dp.log import Log
from dp.names import METRICS
from dp.presence import NumpyEngine
from experiments.engine.population import Population
from experiments.kinds.mechanisms.tasks import bounded_series, open_source
from workbench.views.given_log import GivenLog, open_given
from workbench.views.jobs.job import Job

MOST_DAYS = 3_660
"""Ten years."""

BoundedCounts = Mapping[int | None, tuple[int, ...]]
"""Bound → users present at each tick, each frozen after that many flips; None → the true ones."""


@dataclass(frozen=True)
class CountedUsers:
    """The counts of a population or a log.

    Attributes:
        bounded: of all its days.
        first: the first tick.
        users: how many have a row.
        rows: of the log.
    """

    bounded: BoundedCounts
    first: date
    users: int
    rows: int

    @property
    def days(self) -> int:
        """Number of ticks."""
        return len(self.bounded[None])


def count_population(job: Job, population: Population, metric: str, bounds: Sequence[int]) -> CountedUsers:
    """The counts of a generated population; they are remembered.

    Args:
        metric: a name in `dp.names.METRICS`.
        bounds: flips after which users are frozen.
    """

    def count() -> CountedUsers:
        job.tell("generating and counting users", 0.0, None)
        with (
            tempfile.TemporaryDirectory() as folder,
            open_source(population, Path(folder)) as (log, first),
        ):
            return _counted(log, first, population.days, metric, bounds)

    return job.memory.recall((population, metric, tuple(bounds)), count)


def count_given(job: Job, given: GivenLog, path: Path, metric: str, bounds: Sequence[int]) -> CountedUsers:
    """The counts of a log that lies at `path`, from its first to its last day; they are remembered.

    Raises:
        ValueError: the log is refused, has no rows, or lasts too long.
    """

    def count() -> CountedUsers:
        with open_given(given, path, lambda stage, fraction: job.tell("reading the log", 0.0, None)) as log:
            job.tell("counting users", 0.0, None)
            if log.first_day is None or log.last_day is None:
                raise ValueError(f"{given.file} has no rows")
            days = (log.last_day - log.first_day).days + 1
            if days > MOST_DAYS:
                raise ValueError(
                    f"{given.file} lasts {days:,} days, from {log.first_day} to {log.last_day}; at most {MOST_DAYS:,} "
                    "are shown. Is a day wrong? Otherwise give a part of the log."
                )
            return _counted(log, log.first_day, days, metric, bounds)

    return job.memory.recall((given, metric, tuple(bounds)), count)


def _counted(log: Log, first: date, days: int, metric: str, bounds: Sequence[int]) -> CountedUsers:
    last = first + timedelta(days=days - 1)
    series = bounded_series(NumpyEngine(log.connection), {metric: METRICS[metric]}, first, last, bounds)
    return CountedUsers({bound: values for (_, bound), values in series.items()}, first, log.users, log.rows_used)
