"""The command `exact`: true counts."""

from __future__ import annotations

from pathlib import Path

import click

from dp.names import DEFAULT_W_BOUND
from experiments.engine.progress import progress_bar
from workbench.cli.breakdowns import Asked, asked_options
from workbench.cli.compact import tombstones_option
from workbench.cli.counts import Query, open_log, query_options
from workbench.cli.log_summary import summary_row
from workbench.cli.options import LogCommand, LogOptions, Output, log_options, output_options
from workbench.cli.protection import Promised, protection_options, protection_rows, summary
from workbench.rows import TableRow


@click.command(cls=LogCommand)
@log_options
@query_options
@asked_options
@click.option(
    "--w-bound",
    type=click.IntRange(min=1),
    default=None,
    help="Also count with every user frozen after this many flips, and show the truncation bias.",
)
@click.option("--last", "last_only", is_flag=True, help="Only the last day: a row for each metric.")
@click.option(
    "--summary",
    "summarised",
    is_flag=True,
    help="Instead of counts: the log's first and last day, its users, rows, retractions, erasures and late rows, and "
    "each metric's mean and maximum.",
)
@tombstones_option
@protection_options
@output_options
def exact(
    source: LogOptions, query: Query, asked: Asked, w_bound: int | None, last_only: bool, summarised: bool,
    tombstones: Path | None, promised: Promised, output: Output,
) -> None:  # fmt: skip
    """Print true counts (NOT PRIVATE): for your own eyes, never for publication.

    With --protection it prints how much of the log the promise of unit user-day covers (NOT PRIVATE either): a row for
    each number of flips that a user-day may cause. 'epsilon' is what holds for those user-days, and 'users' are those
    of whom no user-day needs more. Unit user needs no such look: there W_BOUND is enforced.
    """
    if last_only + summarised + promised.protection > 1:
        raise click.UsageError("--last, --summary and --protection answer different questions: give one of them")
    output.validate(log=source.log, quarantine=source.quarantine)
    if asked.given:
        if summarised or promised.protection:
            raise click.UsageError("--summary and --protection are about metrics: leave flows, calendar and --by out")
        _answer(source, query, asked, w_bound, last_only, tombstones, output)
        return
    series = query.series
    with progress_bar() as report, open_log(source, query, report, tombstones) as log:
        if log.compacted is not None and log.ticks[0] < log.compacted:
            click.echo(f"the days before {log.compacted} are counted without the users who left the log then", err=True)
        if promised.protection:
            bound = w_bound or DEFAULT_W_BOUND
            found = protection_rows(log, series, bound, promised, report)
            _warn("these figures come from the log")
            output.write(found, title="NOT PRIVATE — what the promise of unit user-day covers")
            click.echo(summary(found, bound), err=True)
            return
        report("counting users", None)
        truth = log.count(series, None)
        bounded = log.count(series, w_bound) if w_bound else None
        if summarised:
            _write_summary(summary_row(log, truth), output)
            return
    rows: list[TableRow] = []
    for metric in series:
        for tick, day in list(enumerate(log.ticks))[-1 if last_only else 0 :]:
            counts = [int(one[metric].values[tick]) for one in (truth, bounded) if one]
            rows.append({"metric": metric, "day": day.isoformat(), **_counted(*counts)})
    _warn("these are true counts")
    output.write(rows, title="NOT PRIVATE — true counts")


def _answer(
    source: LogOptions, query: Query, asked: Asked, w_bound: int | None, last_only: bool, tombstones: Path | None,
    output: Output,
) -> None:  # fmt: skip
    """Write the counts of every series of every question."""
    from dp.presence.questions import count_questions
    from dp.questions import totals_of

    windows = asked.windows(query)
    asked.validate(query.engine, tombstones)
    questions = [*totals_of(windows), *asked.questions(windows)]
    with progress_bar() as report, open_log(source, query, report, tombstones, asked.segments(windows)) as log:
        report("counting users", None)
        assert log.log is not None  # other engines are refused
        first, last, users = log.ticks[0], log.ticks[-1], asked.attributes(windows)
        answers = [
            count_questions(log.log, questions, first, last, w_bound=bound, attributes=users, progress=report)
            for bound in ([None, w_bound] if w_bound else [None])
        ]
    rows: list[TableRow] = []
    for question in questions:
        days = question.cell.days(first, last)
        for place, name in enumerate(question.series):
            for tick, day in list(enumerate(days))[-1 if last_only else 0 :]:
                counts = [int(answer[question.name][place, tick]) for answer in answers]
                rows.append({**name._asdict(), "day": day.isoformat(), **_counted(*counts)})
    _warn("these are true counts")
    output.write(rows, title="NOT PRIVATE — true counts")


def _counted(count: int, bounded: int | None = None) -> TableRow:
    """The columns of a count, and of the one in which users are frozen, where that is asked for."""
    if bounded is None:
        return {"count": count}
    return {"count": count, "bounded_count": bounded, "truncation_bias": bounded - count}


def _write_summary(row: TableRow, output: Output) -> None:
    """A line for each figure where people read, one row for programs."""
    rows = [row]
    if output.format == "table":
        rows = [{"figure": name.replace("_", " "), "value": value} for name, value in row.items()]
    _warn("these figures come from the log")
    output.write(rows, title="NOT PRIVATE — what is in the log")


def _warn(what: str) -> None:
    click.secho(f"NOT PRIVATE: {what}; do not publish them.", fg="red", bold=True, err=True)
