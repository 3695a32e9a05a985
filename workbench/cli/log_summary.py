"""`dpdau exact --summary`: what is in a log, at a glance (NOT PRIVATE)."""

from __future__ import annotations

from collections.abc import Mapping

import click

from dp.counts import Counts
from workbench.cli.counts import CountableLog
from workbench.rows import TableRow


def summary_row(log: CountableLog, truth: Mapping[str, Counts]) -> TableRow:
    """One row: the log's days, users and operations, then the mean and the largest of each series over its ticks.

    'late_rows' are activities and retractions that arrived after the day that they are about.

    Raises:
        click.UsageError: an engine other than DuckDB, which alone holds the operations.
    """
    if log.log is None:
        raise click.UsageError("--summary needs --engine duckdb")
    found = log.log.connection.execute(
        'SELECT COUNT(*) FILTER (op = -1), COUNT(*) FILTER (op = 0), COUNT(*) FILTER (op <> 0 AND day < o."at") '
        "FROM operations AS o"
    ).fetchone()
    assert found is not None
    retractions, erasures, late = found
    row: TableRow = {
        "first_day": None if log.log.first_day is None else log.log.first_day.isoformat(),
        "last_day": None if log.log.last_day is None else log.log.last_day.isoformat(),
        "users": log.log.users,
        "rows": log.log.rows_used,
        "retractions": retractions,
        "erasures": erasures,
        "late_rows": late,
    }
    for metric, counts in truth.items():
        row |= {f"{metric}_mean": float(counts.values.mean()), f"{metric}_max": int(counts.values.max())}
    return row
