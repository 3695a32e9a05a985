"""What a file format is, and what the text formats share: rows from a file into the table `staged`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from dp.log.checks import checked_rows
from dp.log.columns import FIELDS
from dp.log.files import is_utf8, open_text

CHUNK = 100_000
"""Rows handed from Python to DuckDB at once."""

Progress = Callable[[str, float | None], None]
"""Called with a stage and the fraction done, None where it is not known."""


def silent(stage: str, fraction: float | None) -> None:
    """No progress display."""


Locate = Callable[[list[int]], Iterator[tuple[int, str]]]
"""From ascending row numbers, counted from 0 in the order of the file, to each row's place in it and its raw text."""


@dataclass(frozen=True)
class Source:
    """A file to read, and the connection that its rows go to.

    Attributes:
        connection: where `staged` is made.
        path: of the file.
        columns: from our names to the file's, where they differ.
        timezone: where wall-clock times are read and days begin.
        progress: told how far the reading is.
    """

    connection: duckdb.DuckDBPyConnection
    path: Path
    columns: Mapping[str, str]
    timezone: str
    progress: Progress


@dataclass(frozen=True)
class Format:
    """A file format; `dp.log.formats.FORMATS` lists all of them.

    Attributes:
        name: as users choose it.
        suffixes: of file names, in lower case with the dot; .gz may follow.
        unit: what a place in the file is called, line or row.
        stage: creates the table `staged` by `checked_rows`, whose rowid counts the rows in the order of the file, and
            returns how to find a row in the file again; raises LogError for a file that is not of this format.
    """

    name: str
    suffixes: tuple[str, ...]
    unit: str
    stage: Callable[[Source], Locate]


class Record(NamedTuple):
    """One row of a text file as it stands there."""

    line: int
    """The physical line on which the row starts, from 1."""
    raw: str
    values: tuple[str | None, ...]
    """The texts of `FIELDS`."""
    fault: str | None


Parse = Callable[[Iterator[str]], Iterator[Record]]
"""From the lines of a file to its rows."""


def record(line: int, raw: str, values: tuple[str | None, ...]) -> Record:
    """A row, faulty if one of its values is not text in UTF-8."""
    if not raw.isascii():
        for name, value in zip(FIELDS, values, strict=True):
            if value is not None and not is_utf8(value):
                return faulty(line, raw, f"the {name} is not UTF-8")
    return Record(line, raw, values, None)


def faulty(line: int, raw: str, fault: str) -> Record:
    """A row that cannot be used."""
    return Record(line, raw, (None,) * len(FIELDS), fault)


def stage_text(source: Source, parse: Parse) -> None:
    """Create `staged` from rows that Python parses, a chunk at a time."""
    names = (*FIELDS, "fault")
    schema = pa.schema([(name, pa.string()) for name in names])
    select = checked_rows("VARCHAR", "VARCHAR", source.timezone)
    source.connection.register("raw", schema.empty_table())
    source.connection.execute(f"CREATE TABLE staged AS {select}")
    with open_text(source.path) as (lines, fraction):
        records = parse(lines)
        while chunk := list(islice(records, CHUNK)):
            columns = zip(*((*row.values, row.fault) for row in chunk), strict=True)
            source.connection.register("raw", pa.table(list(map(list, columns)), schema=schema))
            source.connection.execute(f"INSERT INTO staged {select}")
            source.progress("reading", fraction())
    source.connection.unregister("raw")


def text_locator(path: Path, parse: Parse) -> Locate:
    """Find rows by reading the file a second time."""

    def locate(numbers: list[int]) -> Iterator[tuple[int, str]]:
        wanted = iter(numbers)
        number = next(wanted, None)
        with open_text(path) as (lines, _):
            for position, row in enumerate(parse(lines)):
                if number is None:
                    return
                if position == number:
                    yield row.line, row.raw
                    number = next(wanted, None)

    return locate
