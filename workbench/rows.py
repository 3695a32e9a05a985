"""A row of a table, as commands, pages and benchmarks pass it on: columns by name; and how programs read many."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

TableRow = dict[str, Any]


def csv_text(rows: Sequence[TableRow], columns: Sequence[str] = ()) -> str:
    """Rows as CSV with a header. `columns` names those of a table that may have no rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def parquet_bytes(rows: Sequence[TableRow], schema: pa.Schema | None = None) -> bytes:
    """Rows as one Parquet file. Columns get the types of `schema`, or those of their values."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer)
    return buffer.getvalue()
