"""The log that a command counts, and the options that say which series are counted and by which engine."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dp.progress import Progress
from workbench.cli.options import METRIC_WINDOWS, DayType, LogOptions, gathered_as, read_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dp.counts import Counts, Freeze
    from dp.log import Log
    from dp.presence import Engine

METRIC_NAMES = tuple(METRIC_WINDOWS)
# The engines that count a log that was read and checked here.
ENGINES_HERE = ("numpy", "duckdb")


@dataclass(frozen=True)
class Query:
    """The series that a command counts, and where."""

    metrics: Sequence[str]
    windows: Sequence[int]
    mau_window: str
    first: date | None
    last: date | None
    engine: str

    @property
    def ticks(self) -> list[date] | None:
        """The days to count; None where the log is to say them.

        Raises:
            click.UsageError: the last is before the first.
        """
        return None if self.first is None or self.last is None else _ticks(self.first, self.last)

    @property
    def series(self) -> dict[str, int]:
        """Metric → trailing window in days."""
        names = dict.fromkeys(self.metrics or (() if self.windows else METRIC_NAMES))
        named = {metric: METRIC_WINDOWS[metric] for metric in names}
        if "mau" in named:
            named["mau"] = int(self.mau_window)
        return named | {f"{window}-day": window for window in self.windows}


query_options = gathered_as(
    Query, "query",
    click.option("--metric", "metrics", type=click.Choice(METRIC_NAMES), multiple=True,
                 help="May be repeated. All three when neither --metric nor --window is given."),
    click.option("--window", "windows", type=click.IntRange(min=1), multiple=True, metavar="DAYS",
                 help="Any other trailing window; its metric is called '14-day' and so on. May be repeated."),
    click.option("--mau-window", type=click.Choice(["30", "28"]), default="30", show_default=True,
                 help="Days in MAU's window; 28 removes the weekly ripple."),
    click.option("--from", "first", type=DayType(),
                 help="First tick. What is published needs it, because the log's own first day is data; other commands "
                      "take that by default."),
    click.option("--to", "last", type=DayType(), help="Last tick; like --from."),
    click.option("--engine", default="numpy", show_default=True, metavar="numpy | duckdb | spark://… | local[N]",
                 help="What counts; all give the same counts. NumPy is the fastest, DuckDB and Spark run the query as "
                      "SQL. Spark needs the extra 'spark', --from, --to and a log written by 'dpdau validate --out'."),
)  # fmt: skip


@dataclass(frozen=True)
class CountableLog:
    """A log that is open for counting.

    Attributes:
        engine: counts all users.
        log: None where the engine alone reads it.
        ticks: the days that the counts cover.
        arrived: names the operations that had arrived by the end of a day.
        compacted: the day of the compaction that made the log; users who left it are missing on the days before.
    """

    engine: Engine
    log: Log | None
    ticks: list[date]
    arrived: Callable[[date], str]
    compacted: date | None = None

    def count(self, windows: dict[str, int], freeze: Freeze) -> dict[str, Counts]:
        """Counts of all users by metric, with users left out as `dp.counts.Freeze` says."""
        from dp.release import engine_counts

        return engine_counts(self.engine, windows, self.ticks[0], self.ticks[-1], freeze)


@contextmanager
def open_log(
    source: LogOptions, query: Query, report: Progress, tombstones: Path | None = None, segments: Sequence[str] = ()
) -> Iterator[CountableLog]:
    """The log, read and checked here or left to Spark.

    Args:
        tombstones: a file that 'dpdau compact' wrote for this log.
        segments: columns that are read as segments; for an engine that counts here.

    Raises:
        click.UsageError: options that do not go with the engine, or a last tick before the first.
    """
    if query.engine in ENGINES_HERE:
        with read_source(source, report, segments) as checked:
            yield _counted_here(checked, query, report, tombstones)
        return
    if tombstones is not None:
        raise click.UsageError(f"--tombstones go with the engines {' and '.join(ENGINES_HERE)}")
    first, last = _spark_ticks(source, query)
    from dp.presence import spark_engine

    report("starting Spark", None)
    spark = spark_engine(query.engine, source.logs[0])
    try:
        yield CountableLog(spark, None, _ticks(first, last), spark.arrived_fingerprint)
    finally:
        spark.session.stop()


def _counted_here(log: Log, query: Query, report: Progress, tombstones: Path | None) -> CountableLog:
    from dp.presence import DuckDBEngine, NumpyEngine
    from dp.presence.tombstone_file import left_behind, past_name, read_compaction

    first, last = query.first or log.period[0], query.last or log.period[1]
    chosen = NumpyEngine if query.engine == "numpy" else DuckDBEngine
    compaction = None if tombstones is None else read_compaction(tombstones)
    if compaction is not None:
        compaction.validate(log)
    engine = chosen(log.connection, *left_behind(compaction), progress=report)
    named = partial(past_name, log, compaction=compaction, segments=log.segments)
    return CountableLog(engine, log, _ticks(first, last), named, compaction and compaction.tombstones.through)


def _spark_ticks(source: LogOptions, query: Query) -> tuple[date, date]:
    """The first and the last tick, where Spark can count."""
    if not query.engine.startswith(("spark://", "local")):
        raise click.UsageError(f"--engine is {query.engine!r}; write numpy, duckdb, spark://host:port or local[N]")
    if query.first is None or query.last is None:
        raise click.UsageError(f"--engine {query.engine} needs --from and --to")
    if source.reading or source.on_error != "fail" or len(source.logs) > 1:
        raise click.UsageError(
            "several files, --columns, --timezone, --on-error, --input-format and all else that says how a log is read "
            "belong to 'dpdau validate --out', which writes the log that Spark reads"
        )
    if importlib.util.find_spec("pyspark") is None:
        raise click.UsageError('PySpark is not installed; it is the extra "spark": make setup EXTRAS="--extra spark"')
    return query.first, query.last


def _ticks(first: date, last: date) -> list[date]:
    if last < first:
        raise click.UsageError(f"--to is {last}, before --from {first}")
    return [first + timedelta(days=index) for index in range((last - first).days + 1)]
