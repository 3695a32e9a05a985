"""The command `compact`: rows of erased users leave a log, and its streams go on."""

from __future__ import annotations

import secrets
from datetime import date
from pathlib import Path

import click

from experiments.engine.progress import progress_bar
from workbench.cli.budget import ledger_option
from workbench.cli.options import FILE, DayType, LogCommand, LogOptions, log_options, read_source
from workbench.cli.output import keep_apart

KEY_BYTES = 32

tombstones_option = click.option(
    "--tombstones",
    type=FILE,
    default=None,
    help="What 'dpdau compact' left of erased users when it made this log; without it, such a log is refused.",
)


@click.command(cls=LogCommand)
@log_options
@click.option("--through", type=DayType(), required=True, help="Users who are erased as of this day leave the log.")
@click.option(
    "--stream",
    "streams",
    multiple=True,
    required=True,
    help="A stream that is to go on from the smaller log; may be repeated. Others are refused then.",
)
@ledger_option
@click.option("--earlier", type=FILE, default=None, help="The tombstones of this log, if it was made by 'compact'.")
@click.option("--tombstones", type=FILE, required=True, help="Write to this new file what is left of erased users.")
@click.option("--out", type=FILE, required=True, help="Write the smaller log to this new file, as Parquet.")
def compact(
    source: LogOptions,
    through: date,
    streams: tuple[str, ...],
    ledger_path: Path,
    earlier: Path | None,
    tombstones: Path,
    out: Path,
) -> None:
    """Remove the rows of erased users from a log for good, in such a way that its streams can be continued.

    Of an erased user, the number of flips stays under a keyed pseudonym, so that W_BOUND holds if the user comes back.
    Published days and their charge stay what they are. From then on the streams go on from the smaller log alone:
    'dpdau release OUT --tombstones FILE --stream NAME ...'. Keep the file of tombstones as secret as the log.
    """
    from dp.ledger import open_ledger
    from dp.log import write_canonical
    from dp.presence.tombstone_file import read_compaction, write_compaction
    from dp.release.compacting import adopt, compacted

    keep_apart(log=source.log, quarantine=source.quarantine, ledger=ledger_path, tombstones=tombstones, out=out)
    for path in (tombstones, out):
        if path.exists():
            raise click.UsageError(f"{path} exists; give the name of a new file")
    before = None if earlier is None else read_compaction(earlier)
    key = secrets.token_bytes(KEY_BYTES) if before is None else before.key
    with progress_bar() as report, read_source(source, report) as log, open_ledger(ledger_path) as ledger:
        report("compacting", None)
        small, compaction = compacted(log, through, ledger, streams, key, before)
        with small:
            # First the files, then the ledger: if anything fails before the end, the old log still is the right one.
            try:
                write_canonical(small, out)
                write_compaction(compaction, tombstones)
                adopt(ledger, streams, (log, before), (small, compaction))
            except BaseException:
                out.unlink(missing_ok=True)
                tombstones.unlink(missing_ok=True)
                raise
            gone, rows = log.users - small.users, log.rows_used - small.rows_used
    click.echo(
        f"{rows:,} rows left the log, and {gone:,} users; {', '.join(streams)} go on from {out} with "
        f"--tombstones {tombstones}",
        err=True,
    )
