"""The command `exact`: true counts."""

from __future__ import annotations

import click

from experiments.engine.progress import progress_bar
from workbench.cli.counts import Query, open_log, query_options
from workbench.cli.options import LogCommand, LogOptions, Output, log_options, output_options
from workbench.rows import TableRow


@click.command(cls=LogCommand)
@log_options
@query_options
@click.option(
    "--w-bound",
    type=click.IntRange(min=1),
    default=None,
    help="Also count with every user frozen after this many flips, and show the truncation bias.",
)
@output_options
def exact(source: LogOptions, query: Query, w_bound: int | None, output: Output) -> None:
    """Print true counts (NOT PRIVATE): for your own eyes, never for publication."""
    output.validate(log=source.log, quarantine=source.quarantine)
    series = query.series
    with progress_bar() as report, open_log(source, query, report) as log:
        report("counting users", None)
        truth = log.count(series, None)
        bounded = log.count(series, w_bound) if w_bound else None
    rows: list[TableRow] = []
    for metric in series:
        for tick, day in enumerate(log.ticks):
            count = int(truth[metric].values[tick])
            row = {"metric": metric, "day": day.isoformat(), "count": count}
            if bounded:
                kept = int(bounded[metric].values[tick])
                row |= {"bounded_count": kept, "truncation_bias": kept - count}
            rows.append(row)
    click.secho("NOT PRIVATE: these are true counts; do not publish them.", fg="red", bold=True, err=True)
    output.write(rows, title="NOT PRIVATE — true counts")
