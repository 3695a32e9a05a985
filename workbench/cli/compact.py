"""The command `compact`: rows of erased users leave a log, and its streams go on."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import click

from dp.database_url import Place
from dp.private_files import sync
from experiments.engine.progress import progress_bar
from workbench.cli.budget import ledger_option
from workbench.cli.options import FILE, DayType, LogCommand, LogOptions, log_options, read_source, segments_option
from workbench.cli.output import keep_apart

KEY_BYTES = 32

tombstones_option = click.option(
    "--tombstones",
    type=FILE,
    default=None,
    help="What 'dpdau compact' left of erased users when it made this log, so that W_BOUND still holds for those who "
    "come back. Without it, a stream is not continued from such a log.",
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
@segments_option
@click.option("--out", type=FILE, required=True, help="Write the smaller log to this new file, as Parquet.")
def compact(
    source: LogOptions,
    through: date,
    streams: tuple[str, ...],
    ledger_path: Place,
    earlier: Path | None,
    tombstones: Path,
    segments: tuple[str, ...],
    out: Path,
) -> None:
    """Remove the rows of erased users from a log for good, in such a way that its streams can be continued.

    Of an erased user, the number of flips stays under a keyed pseudonym, so that W_BOUND holds if the user comes back.
    Published days and their charge stay what they are. From then on the streams go on from the smaller log alone:
    'dpdau release OUT --tombstones FILE --stream NAME ...'. Name all streams of the log at once, whatever their first
    days and bounds; each must have published the days up to --through. Other columns leave the log, unless they are
    named by --segment. Keep the file of tombstones as secret as the log.
    """
    from dp.ledger import has_ledger, open_ledger
    from dp.log import write_canonical
    from dp.presence.tombstone_file import read_compaction, write_compaction
    from dp.release.compacting import adopt, compacted

    keep_apart(log=source.log, quarantine=source.quarantine, ledger=ledger_path, tombstones=tombstones, out=out)
    for path in (tombstones, out):
        if path.exists():
            raise click.UsageError(f"{path} exists; give the name of a new file")
    if not has_ledger(ledger_path):
        raise click.UsageError(f"there is no ledger at {ledger_path}")
    before = None if earlier is None else read_compaction(earlier)
    key = secrets.token_bytes(KEY_BYTES) if before is None else before.key
    with progress_bar() as report, read_source(source, report, segments) as log, open_ledger(ledger_path) as ledger:
        report("compacting", None)
        small, compaction = compacted(log, through, ledger, streams, key, before)
        with small, _new_files(tombstones, out) as (partial_tombstones, partial_log):
            write_canonical(small, partial_log)
            write_compaction(compaction, partial_tombstones)
            # Verified before anything takes its place; once the ledger knows the smaller log, the files stay.
            with ledger.transaction():
                adopt(ledger, streams, (log, before), (small, compaction))
                _put_in_place({partial_tombstones: tombstones, partial_log: out})
            gone, rows = log.users - small.users, log.rows_used - small.rows_used
    more = " ".join(f"--stream {stream}" for stream in streams)
    click.echo(
        f"{rows:,} rows left the log, and {gone:,} users. From now on: dpdau release {out} --tombstones {tombstones} "
        f"{more}{' (one at a time)' if len(streams) > 1 else ''}, with the options that the stream has",
        err=True,
    )


@contextmanager
def _new_files(*paths: Path) -> Iterator[list[Path]]:
    """Names in the same folders that nobody else writes to; what is left under them at the end is removed."""
    partial = [path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial") for path in paths]
    try:
        yield partial
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


def _put_in_place(names: Mapping[Path, Path]) -> None:
    """Give files their names, on disk for good; FileExistsError, and none has its name, if one is taken."""
    made: list[Path] = []
    try:
        for partial, path in names.items():
            sync(partial)
            os.link(partial, path)
            made.append(path)
            sync(path.parent)
    except BaseException:
        for path in made:
            path.unlink()
        raise
