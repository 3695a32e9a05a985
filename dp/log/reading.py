"""Read a log from a file: stage its rows, set the bad ones aside, and make operations of the others."""

from collections.abc import Mapping
from pathlib import Path

import duckdb

from dp.log.bad_rows import set_aside
from dp.log.columns import validate_columns
from dp.log.files import errors_as_log_errors
from dp.log.formats import format_of
from dp.log.log import Log
from dp.log.operations import log_from_staged
from dp.log.staging import Progress, Source, silent


def read_log(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    timezone: str = "UTC",
    quarantine: str | Path | None = None,
    input_format: str = "auto",
    progress: Progress | None = None,
) -> Log:
    """Read and check a log in CSV, JSON Lines or Parquet; the two text formats may be gzipped.

    A missing op is '+', a missing at is the day. Blank lines are not rows, and columns without a meaning here are
    ignored. The order of arrival (seq) is by row; where `at` carries times of day, by that instant first.

    Args:
        path: of the file.
        columns: from our names (user, day or timestamp, op, at) to the file's, where they differ.
        timezone: IANA name; times with an offset are converted to it, times without one are wall-clock times there.
        quarantine: a CSV file for bad rows (line, reason, raw text), written even if there are none. None: bad rows
            are an error.
        input_format: csv, jsonl or parquet; auto goes by the suffix of the file.
        progress: called with a stage and the fraction done, None where it is not known.

    Returns:
        The log; rows_read = rows_used + rows_set_aside. Close it.

    Raises:
        LogError: a file that cannot be read as a log, bad rows without `quarantine`, or no usable row.
        ValueError: an unknown time zone, input format or key of `columns`; a quarantine file that is the input.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "log.csv"
        ...     _ = path.write_text("CustomerID,InvoiceDate\\n17850,2010-12-01T08:26:00\\n17850,2010-12-02T09:01:00\\n")
        ...     with read_log(path, columns={"user": "CustomerID", "timestamp": "InvoiceDate"}) as log:
        ...         print(log.users, log.rows_used, log.last_day)
        1 2 2010-12-02
    """
    path = Path(path)
    chosen = format_of(path, input_format)
    validate_columns(columns or {})
    if quarantine is not None:
        quarantine = Path(quarantine)
        if quarantine.resolve() == path.resolve() or (quarantine.exists() and quarantine.samefile(path)):
            raise ValueError(f"quarantine = {quarantine} is the input file: choose another name")
    connection = duckdb.connect()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        _check_timezone(connection, timezone)
        source = Source(connection, path, columns or {}, timezone, progress or silent)
        with errors_as_log_errors(path):
            locate = chosen.stage(source)
            rows_read, rows_set_aside = set_aside(source, locate, chosen.unit, quarantine)
        return log_from_staged(source, rows_read, rows_set_aside)
    except BaseException:
        connection.close()
        raise


def _check_timezone(connection: duckdb.DuckDBPyConnection, timezone: str) -> None:
    known = connection.execute("SELECT COUNT(*) FROM pg_timezone_names() WHERE name = ?", [timezone]).fetchall()
    if known == [(0,)]:
        raise ValueError(f"timezone = {timezone!r} is unknown: give an IANA name such as Europe/Berlin or UTC")
