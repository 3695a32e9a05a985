"""A row of a table, as commands, pages and benchmarks pass it on: columns by name; and how programs read many."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

TableRow = dict[str, Any]


ROWS_AT_ONCE = 2**16
"""Rows that are in memory together while many are written."""


def csv_text(rows: Sequence[TableRow], columns: Sequence[str] = ()) -> str:
    """Rows as CSV with a header. `columns` names those of a table that may have no rows."""
    return "".join(csv_pieces(rows, columns))


def csv_pieces(rows: Iterable[TableRow], columns: Sequence[str] = ()) -> Iterator[str]:
    """What `csv_text` returns, piece by piece."""
    parts = _parts(rows)
    first = next(parts, [])
    text = io.StringIO()
    names = list(first[0]) if first else list(columns)
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    for part in itertools.chain([first], parts):
        if all(list(row) == names for row in part):
            # Nothing is to be looked up, which takes half of the time.
            writer.writer.writerows(map(dict.values, part))
        else:
            writer.writerows(part)
        yield text.getvalue()
        text.seek(0)
        text.truncate()


def json_pieces(rows: Iterable[TableRow]) -> Iterator[str]:
    """Rows as a list in JSON, one a line, piece by piece."""
    start = "[\n"
    for part in _parts(rows):
        yield start + ",\n".join(map(json.dumps, part))
        start = ",\n"
    yield "\n]\n" if start == ",\n" else "[\n\n]\n"


def parquet_bytes(rows: Iterable[TableRow], schema: pa.Schema | None = None) -> bytes:
    """Rows as one Parquet file. Columns get the types of `schema`, or those of their values."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parts = [pa.Table.from_pylist(part, schema=schema) for part in _parts(rows)] or [pa.Table.from_pylist([], schema)]
    # Where a whole part has no value, its column has no type.
    table = parts[0] if len(parts) == 1 else pa.concat_tables(parts, promote_options="permissive")
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def _parts(rows: Iterable[TableRow]) -> Iterator[list[TableRow]]:
    left = iter(rows)
    while part := list(itertools.islice(left, ROWS_AT_ONCE)):
        yield part
