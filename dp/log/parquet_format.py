"""Parquet, read by DuckDB."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb

from dp.log.checks import checked_rows, raw_columns
from dp.log.columns import choose_columns
from dp.log.files import is_gzipped
from dp.log.log import LogError
from dp.log.moments import MOMENT_TYPES
from dp.log.sql import identifier, quoted_path
from dp.log.staging import CHUNK, Format, Locate, Source

INTEGERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
}
_DAYS = "text, dates or timestamps"
ALLOWED = {
    "user": ({"VARCHAR", *INTEGERS}, "text or whole numbers (cast it first: floats merge ids above 2^53)"),
    "day": (MOMENT_TYPES, _DAYS),
    "at": (MOMENT_TYPES, _DAYS),
    "op": ({"VARCHAR"}, "text"),
}
"""The types that a column may have, and how a message names them."""


def stage(source: Source) -> Locate:
    """Stage every row.

    Raises:
        LogError: the file is gzipped or not Parquet, or has not the columns of a log with types to read.
    """
    connection, path = source.connection, source.path
    if is_gzipped(path):
        raise LogError(f"{path} is gzipped: Parquet is compressed inside, unpack it first")
    table = f"read_parquet({quoted_path(path)}, file_row_number = true)"
    source.progress("reading", None)
    try:
        described = connection.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {table}").fetchall()
        types = {row[0]: row[1] for row in described}
        chosen = choose_columns(path, list(types), source.columns)
        _check_types(path, chosen, types)
        expressions = {field: identifier(name) for field, name in chosen.items()}
        at_type = types[chosen["at"]] if "at" in chosen else "VARCHAR"
        connection.execute(
            f"CREATE TABLE staged AS WITH raw AS (SELECT {raw_columns(expressions)} FROM {table}) "
            + checked_rows(types[chosen["day"]], at_type, source.timezone)
        )
    except (duckdb.InvalidInputException, duckdb.IOException) as error:
        raise LogError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    used = ", ".join(f"{name} := {name}" for name in dict.fromkeys(expressions.values()))

    def locate(numbers: list[int]) -> Iterator[tuple[int, str]]:
        for start in range(0, len(numbers), CHUNK):
            rows = ", ".join(map(str, numbers[start : start + CHUNK]))
            for number, raw in connection.execute(
                f"SELECT number, to_json(used) FROM (SELECT file_row_number AS number, "
                f"struct_pack({used}) AS used FROM {table}) WHERE number IN ({rows}) ORDER BY number"
            ).fetchall():
                yield number + 1, raw

    return locate


def _check_types(path: Path, chosen: Mapping[str, str], types: Mapping[str, str]) -> None:
    for field, name in chosen.items():
        allowed, words = ALLOWED[field]
        if types[name] not in allowed:
            raise LogError(f"{path}: column {name!r} ({field}) holds {types[name]}, expected {words}")


PARQUET = Format("parquet", (".parquet",), "row", stage)
