"""Parquet, read by DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import duckdb
import pyarrow as pa
import pyarrow.parquet

from dp.log.bad_rows import bad_rows
from dp.log.checks import Types, checked_query, raw_columns, staged
from dp.log.columns import choose_columns, segment_fields
from dp.log.files import LogFile, is_packed
from dp.log.log import LogError
from dp.log.moments import FLOATS, INTEGERS, MOMENT_TYPES
from dp.log.sql import identifier, quoted, quoted_path
from dp.log.staging import Reading, number_users
from dp.log.suggestions import looks_like

FETCHED = 10_000
"""Bad rows that are in memory at once."""
_DAYS = "text, dates or timestamps"
_SEGMENTS = "text, numbers or booleans"
_IDS = "text or whole numbers (cast it first: floats merge ids above 2^53)"


def stage(reading: Reading, file: LogFile) -> int:
    """Stage every row.

    Raises:
        LogError: the file is packed or not Parquet, or has not the columns of a log with types to read.
    """
    if file.is_stream:
        raise LogError(f"{file} cannot be Parquet, which is not read from front to back: give a file")
    reading.progress("reading", None)
    try:
        if is_packed(file):
            raise LogError(f"{file} is gzipped or zstd-compressed: Parquet is compressed inside, unpack it first")
        return _stage(reading, file)
    except OSError as error:
        raise LogError(f"{file} cannot be read: {error.strerror or str(error).splitlines()[0]}") from None
    except duckdb.InterruptException:
        raise
    except (duckdb.Error, pa.ArrowException) as error:
        raise LogError(f"{file} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _stage(reading: Reading, file: LogFile) -> int:
    connection = reading.connection
    table = f"read_parquet({quoted_path(file.path)}, hive_partitioning = false)"
    (rows,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchall()[0]
    names, expressions = _chosen(reading, file, table)
    listed = ", ".join(f'{expression} AS "{field}"' for field, expression in expressions.items())
    types = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE SELECT {listed} FROM {table}").fetchall()}
    # What writes a column without a value may know no type for it.
    for field in [field for field, kind in types.items() if kind == '"NULL"']:
        expressions[field], types[field] = "NULL::VARCHAR", "VARCHAR"
    _check_types(reading, file, names, types, lambda field: _example(connection, expressions[field], table))
    for field in ("user", *segment_fields(reading.segments)):
        expressions[field] = _as_text(expressions[field], types[field])
    kinds = Types(types["day"], types.get("at", "VARCHAR"))

    segments = reading.segment_names

    def checked(number: str) -> str:
        raw = f"(SELECT {number} AS number, {raw_columns(expressions, segments)} FROM {table})"
        return f"({checked_query(connection, raw, kinds, reading.calendar, list(segments))})"

    (used,) = connection.execute(
        f"INSERT INTO staged SELECT {staged(list(segments))} FROM {checked('NULL::BIGINT')} WHERE fault IS NULL"
    ).fetchall()[0]
    if rows > used:
        reading.progress("locating bad rows", None)
        values = {"user": '"user"', "day": "day_text", "op": "op_text", "at": "at_text"}
        values |= {field: f'"{field}"' for field in segments}
        shown = ", ".join(f"{quoted(name)}, {values[field]}" for field, name in names.items())
        found = connection.sql(
            f"SELECT number, fault, json_object({shown})::VARCHAR FROM {checked('row_number() OVER ()')} "
            "WHERE fault IS NOT NULL ORDER BY number"
        )
        for batch in found.to_arrow_reader(FETCHED):
            reading.bad_rows.add(file, bad_rows(*batch.columns))
    number_users(reading, least=reading.rows_at_once)
    return int(rows)


def _chosen(reading: Reading, file: LogFile, table: str) -> tuple[dict[str, str], dict[str, str]]:
    """From each field that the file has to its name there, and to SQL for it."""
    schema = pa.parquet.read_schema(file.path)
    # DuckDB compares names without their case and renames what is left of two equal ones; positions are unmistakable.
    given = [name for name, *_ in reading.connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()]
    nested = [
        inside
        for name, column in zip(given, schema, strict=True)
        if pa.types.is_struct(column.type)
        for inside in _inside(column.name, identifier(name), column.type)
    ]
    found, inside = [*schema.names, *file.constants], [path for path, _ in nested]
    names = choose_columns(file, found, reading.columns, inside, reading.segments)
    top = dict(zip(schema.names, map(identifier, given), strict=True))
    constants = {name: "NULL::VARCHAR" if value is None else quoted(value) for name, value in file.constants.items()}
    known = {**dict(nested), **constants, **top}
    return names, {field: known[name] for field, name in names.items()}


def _inside(path: str, expression: str, kind: pa.StructType) -> Iterator[tuple[str, str]]:
    """Dotted names of what a column contains, and SQL for each."""
    for position, part in enumerate(kind, start=1):
        inner = f"struct_extract_at({expression}, {position})"
        yield f"{path}.{part.name}", inner
        if pa.types.is_struct(part.type):
            yield from _inside(f"{path}.{part.name}", inner, part.type)


def _example(connection: duckdb.DuckDBPyConnection, expression: str, table: str) -> str:
    """A value of a column as text; empty if it has none."""
    query = f"SELECT ({expression})::VARCHAR FROM {table} WHERE {expression} IS NOT NULL LIMIT 1"
    return next((value for (value,) in connection.execute(query).fetchall()), "")


def _check_types(
    reading: Reading,
    file: LogFile,
    names: Mapping[str, str],
    types: Mapping[str, str],
    example: Callable[[str], str],
) -> None:
    numbers = reading.calendar.takes_numbers
    moments = MOMENT_TYPES | (INTEGERS | FLOATS if numbers else set())
    days = f"{_DAYS} or numbers" if numbers else f"{_DAYS}; numbers need a --date-format such as epoch-ms"
    for field, name in names.items():
        kind = types[field]
        if field == "user":
            whole = kind.startswith("DECIMAL") and kind.endswith(",0)")
            allowed, words = kind in {"VARCHAR", "UUID", "BLOB", *INTEGERS} or whole, _IDS
        elif field == "op":
            allowed, words = kind == "VARCHAR", "text"
        elif field in reading.segment_names:
            plain = kind in {"VARCHAR", "BOOLEAN", "UUID", *INTEGERS, *FLOATS}
            allowed, words = plain or kind.startswith(("DECIMAL", "ENUM")), _SEGMENTS
        else:
            allowed, words = kind in moments or (numbers and kind.startswith("DECIMAL")), days
        if not allowed:
            suggested = looks_like(example(field)) if field in ("day", "at") else ()
            raise LogError(
                "\n".join(
                    [f"{file}: column {name!r} ({reading.fields[field]}) holds {kind}, expected {words}", *suggested]
                )
            )


def _as_text(expression: str, kind: str) -> str:
    """Ids that are bytes are written in hexadecimal."""
    return f"lower(hex({expression}))" if kind == "BLOB" else f"({expression})::VARCHAR"
