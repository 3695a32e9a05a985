"""The log that a command counts, and the options that say which series are counted and by which engine."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import click

from experiments.engine.progress import Report
from workbench.cli.options import METRIC_WINDOWS, DayType, Source, gathered_as, read_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dp.counts import Counts, Freeze
    from dp.log import Log
    from dp.presence import Engine

METRIC_NAMES = tuple(METRIC_WINDOWS)


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
                 help="First tick. A public parameter; give it. Without it, the log's first day is used, which is "
                      "data."),
    click.option("--to", "last", type=DayType(), help="Last tick. A public parameter, like --from."),
    click.option("--engine", default="duckdb", show_default=True, metavar="duckdb | spark://… | local[N]",
                 help="Where the counting query runs. Spark needs the extra 'spark', --from, --to and a log written by "
                      "'dpdau validate --out'."),
)  # fmt: skip


@dataclass(frozen=True)
class CountableLog:
    """A log that is open for counting.

    Attributes:
        engine: counts all users.
        log: None where the engine alone reads it.
        ticks: the days that the counts cover.
        arrived: names the operations that had arrived by the end of a day; None where the engine cannot tell.
    """

    engine: Engine
    log: Log | None
    ticks: list[date]
    arrived: Callable[[date], str] | None

    def count(self, windows: dict[str, int], freeze: Freeze) -> dict[str, Counts]:
        """Counts of all users by metric, with users left out as `dp.counts.Freeze` says."""
        from dp.release import engine_counts

        return engine_counts(self.engine, windows, self.ticks[0], self.ticks[-1], freeze)


@contextmanager
def open_log(source: Source, query: Query, report: Report) -> Iterator[CountableLog]:
    """The log, read and checked by DuckDB or left to Spark.

    Raises:
        click.UsageError: options that do not go with the engine, or a last tick before the first.
    """
    if query.engine == "duckdb":
        with read_source(source, report) as checked:
            yield _in_duckdb(checked, query, report)
        return
    first, last = _spark_ticks(source, query)
    from dp.presence import spark_engine

    report("starting Spark", None)
    spark = spark_engine(query.engine, source.logs[0])
    try:
        yield CountableLog(spark, None, _ticks(first, last), None)
    finally:
        spark.session.stop()


def _in_duckdb(log: Log, query: Query, report: Report) -> CountableLog:
    from dp.log import arrived_fingerprint
    from dp.presence import DuckDBEngine

    if query.first is None or query.last is None:
        click.echo(
            "warning: the first or last tick is taken from the log, where it is data; both are public "
            "parameters: give --from and --to",
            err=True,
        )
        first, last = query.first or log.period[0], query.last or log.period[1]
    else:
        first, last = query.first, query.last
    engine = DuckDBEngine(log.connection, progress=report)
    return CountableLog(engine, log, _ticks(first, last), functools.partial(arrived_fingerprint, log))


def _spark_ticks(source: Source, query: Query) -> tuple[date, date]:
    """The first and the last tick, where Spark can count."""
    if not query.engine.startswith(("spark://", "local")):
        raise click.UsageError(f"--engine is {query.engine!r}; write duckdb, spark://host:port or local[N]")
    if query.first is None or query.last is None:
        raise click.UsageError(f"--engine {query.engine} needs --from and --to")
    if source.reading or source.on_error != "fail" or len(source.logs) > 1:
        raise click.UsageError(
            "several files, --columns, --timezone, --on-error, --input-format and all else that says how a log is read "
            "belong to 'dpdau validate --out', which writes the log that Spark reads"
        )
    if importlib.util.find_spec("pyspark") is None:
        raise click.UsageError("PySpark is not installed; it is the extra 'spark': uv sync --extra spark")
    return query.first, query.last


def _ticks(first: date, last: date) -> list[date]:
    if last < first:
        raise click.UsageError(f"--to is {last}, before --from {first}")
    return [first + timedelta(days=index) for index in range((last - first).days + 1)]
