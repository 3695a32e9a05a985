"""Read a log from its files: stage the rows that may be used, set the others aside, and make operations of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import duckdb

from dp.log.bad_rows import BadRows
from dp.log.columns import validate_columns
from dp.log.csv_format import validate_delimiter
from dp.log.files import LogFile
from dp.log.formats import format_of
from dp.log.inputs import log_files
from dp.log.log import Log
from dp.log.moments import Calendar, validate_date_format
from dp.log.operations import log_from_staged
from dp.log.presets import applied
from dp.log.staging import Reading, create_tables
from dp.progress import Progress, silent
from dp.zones import zone_named


def read_log(
    path: str | Path | Iterable[str | Path],
    *,
    columns: Mapping[str, str] | None = None,
    timezone: str = "UTC",
    date_format: str | None = None,
    quarantine: str | Path | None = None,
    input_format: str = "auto",
    delimiter: str | None = None,
    hive: bool = False,
    like: str | None = None,
    segments: Sequence[str] = (),
    progress: Progress | None = None,
    compressed: bool = False,
) -> Log:
    """Read and check a log in CSV, JSON Lines or Parquet; the two text formats may be packed with gzip or zstd.

    A missing op is '+', a missing at is the day. Blank lines are not rows, and columns without a meaning here are
    ignored. The order of arrival (seq) is by row; where `at` carries times of day, by that instant first. What is
    read, how, and what is refused: docs/logs.md.

    Args:
        path: of a file, a pattern such as `logs/*.csv`, a folder, or several of these; `-` is standard input.
        columns: from our names (user, day or timestamp, op, at, and those of `segments`) to the log's, where they
            differ. In JSON and Parquet a name with dots is a path into an object: properties.distinct_id.
        timezone: IANA name; times with an offset are converted to it, times without one are wall-clock times there.
        date_format: how days and times are written: iso, iso-utc (times without an offset are in UTC), epoch-s,
            epoch-ms, epoch-us, or a pattern of strptime. None: as `like` says, or iso.
        quarantine: a CSV file for bad rows (line, reason, raw text), written even if there are none. None: bad rows
            are an error.
        input_format: csv, jsonl or parquet; auto goes by the suffix of the file.
        delimiter: between the fields of CSV. None: what a first line such as `sep=;` says, a tab in .tsv, or a comma.
        hive: whether folders such as day=2024-01-31 in the path are columns.
        like: reads the exports of a tool: snowplow, segment, posthog, mixpanel, amplitude or ga4. `columns` and
            `date_format` go first.
        segments: columns such as platform and country, by which users are told apart: they are kept as text, and what
            is empty or missing there is absent.
        progress: called with a stage and the fraction done, None where it is not known.
        compressed: whether the rows are kept compressed, for half of the memory and a third more time.

    Returns:
        The log, which may have no rows; rows_read = rows_used + rows_set_aside. Close it.

    Raises:
        LogError: a file that cannot be read as a log, or bad rows without `quarantine`.
        ValueError: an unknown time zone, format or key of `columns`; a segment column that is called like another
            column; a quarantine file that is the input or a folder.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "log.csv"
        ...     _ = path.write_text("CustomerID,InvoiceDate\\n17850,2010-12-01T08:26:00\\n17850,2010-12-02T09:01:00\\n")
        ...     with read_log(path, columns={"user": "CustomerID", "timestamp": "InvoiceDate"}) as log:
        ...         print(log.users, log.rows_used, log.last_day)
        1 2 2010-12-02
    """
    how = read_as(columns=columns, timezone=timezone, date_format=date_format, like=like, hive=hive)
    columns, date_format = applied(like, columns, date_format)
    delimiter = "\t" if delimiter in ("tab", "\\t") else delimiter
    validate_columns(columns, segments)
    validate_date_format(date_format)
    validate_delimiter(delimiter)
    calendar = Calendar(zone_named(timezone), date_format)
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    files = log_files(paths, hive=hive)
    chosen = format_of(files, input_format)
    aside = None if quarantine is None else Path(quarantine)
    if aside is not None:
        _keep_apart(aside, files)
    name = str(files[0]) if len(files) == 1 else f"{len(files)} files"
    connection = duckdb.connect()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        with suppress(duckdb.InvalidInputException):
            # In a notebook without widgets there is no progress bar, and none to turn off.
            connection.execute("SET enable_progress_bar = false")
        with BadRows(aside, chosen.unit, name_files=len(files) > 1) as bad_rows:
            told = progress or silent
            reading = Reading(
                connection, columns, calendar, delimiter, bad_rows, told, tuple(segments), compressed=compressed
            )
            create_tables(reading)
            reading.progress("reading", None)
            rows = sum(chosen.stage(reading, file) for file in files)
            bad_rows.refuse(name, rows)
        return replace(log_from_staged(reading, rows), paths=tuple(map(str, paths)), read_as=how)
    except BaseException:
        connection.close()
        raise


def read_as(
    *,
    columns: Mapping[str, str] | None,
    timezone: str,
    date_format: str | None,
    like: str | None,
    hive: bool,
) -> str:
    """What makes two series out of one log: the options of `read_log` that choose what is counted; "" for the usual.

    Segment columns are not among them: the questions that need them name them.
    """
    chosen = {"columns": dict(columns or {}), "date_format": date_format, "like": like, "hive": hive}
    told = {name: value for name, value in chosen.items() if value} | ({} if timezone == "UTC" else {"in": timezone})
    return json.dumps(told, sort_keys=True) if told else ""


def _keep_apart(quarantine: Path, files: list[LogFile]) -> None:
    if quarantine.is_dir():
        raise ValueError(f"quarantine = {quarantine} is a folder: name a file")
    for file in files:
        same = quarantine.exists() and file.path.exists() and quarantine.samefile(file.path)
        if same or quarantine.resolve() == file.path.resolve():
            raise ValueError(f"quarantine = {quarantine} is the input file: choose another name")
