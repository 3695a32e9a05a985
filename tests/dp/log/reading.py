"""What the tests of reading share: files, and the rows that a log has."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dp.log import Log, read_log

DAY = "2024-05-01"
Row = tuple[str, str | None, str, str]


def rows_of(log: Log) -> list[Row]:
    """(user, day, op, at) in the order of arrival."""
    found = log.connection.execute(
        "SELECT u.\"user\", CAST(DATE '1970-01-01' + o.day AS VARCHAR), o.op, "
        "CAST(DATE '1970-01-01' + o.at AS VARCHAR) FROM operations AS o JOIN users AS u USING (user_id) "
        "ORDER BY o.seq"
    ).fetchall()
    return [(user, day, {1: "+", -1: "-", 0: "erase"}[op], at) for user, day, op, at in found]


def read(path: Any, **options: Any) -> list[Row]:
    """The rows of a log, whose sums add up."""
    with read_log(path, **options) as log:
        assert log.rows_read == log.rows_used + log.rows_set_aside
        rows = rows_of(log)
        assert len(rows) == log.rows_used
        assert (log.first_day is None) == (not rows)
        return rows


def active(*rows: str) -> list[Row]:
    """The rows of users who are active on days: 'ann 2024-05-01'."""
    pairs = [row.rsplit(" ", 1) for row in rows]
    return [(user, day, "+", day) for user, day in pairs]


def write(folder: Path, content: str | bytes, name: str = "log.csv") -> Path:
    """A file with this content."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
    return path


def parquet(folder: Path, columns: Mapping[str, Any] | pa.Table, name: str = "log.parquet") -> Path:
    """A Parquet file with these columns."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(dict(columns)), path)
    return path


def listed(quarantine: Path) -> list[list[str]]:
    """The rows of a list of bad rows, its header first."""
    with quarantine.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))
