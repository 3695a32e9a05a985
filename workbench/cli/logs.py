"""The commands `generate` and `validate`: a log is made, a log is checked."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click

from experiments.engine.progress import progress_bar
from workbench.cli.options import FILE, DayType, LogCommand, LogOptions, log_options, read_source, segments_option
from workbench.cli.output import keep_apart


@click.command()
@click.option("--users", type=click.IntRange(min=1), required=True, help="Size of the population.")
@click.option("--days", type=click.IntRange(min=1), required=True, help="Length of the log.")
@click.option(
    "--delete-rate",
    type=float,
    default=0.0,
    show_default=True,
    help="Probability that a user's activity on a day is retracted later (a retracted event).",
)
@click.option(
    "--erase-rate", type=float, default=0.0, show_default=True, help="Share of users who send an erasure request."
)
@click.option(
    "--late-rate",
    type=float,
    default=0.0,
    show_default=True,
    help="Probability that an activity arrives after its day.",
)
@click.option("--seed", type=click.IntRange(min=0), required=True, help="Seed; the same seed gives the same bytes.")
@click.option("--start", type=DayType(), default="2024-01-01", show_default=True, help="First day.")
@click.option(
    "--out",
    type=FILE,
    required=True,
    help="Write to this file: CSV, JSON Lines or Parquet, by its name; .gz is allowed.",
)
def generate(
    users: int, days: int, delete_rate: float, erase_rate: float, late_rate: float, seed: int, start: date, out: Path
) -> None:
    """Write a synthetic activity log with retractions and erasures."""
    from dp.log.generate import generate as generate_log
    from dp.log.generate import write_log

    with progress_bar() as report:
        report("generating", None)
        table = generate_log(
            users, days, delete_rate=delete_rate, erase_rate=erase_rate, late_rate=late_rate, seed=seed, start=start
        )
        report("writing", None)
        write_log(table, out)
    click.echo(f"{table.num_rows:,} operations of {users:,} users over {days} days → {out}", err=True)


@click.command(cls=LogCommand)
@log_options
@segments_option
@click.option(
    "--out",
    type=FILE,
    default=None,
    help="Also write the checked log as Parquet with arrival numbers, which Spark reads.",
)
def validate(source: LogOptions, segments: tuple[str, ...], out: Path | None) -> None:
    """Check a log row by row and say what is in it."""
    from dp.log import write_canonical

    keep_apart(log=source.log, quarantine=source.quarantine, out=out)
    with progress_bar() as report, read_source(source, report, segments) as checked:
        if out:
            write_canonical(checked, out)
        period = "" if checked.first_day is None else f", {checked.first_day} to {checked.last_day}"
        click.echo(f"{checked.users:,} users{period}", err=True)
