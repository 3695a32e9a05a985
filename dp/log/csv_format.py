"""CSV: by DuckDB's parallel reader where it is sure to agree with the standard library, which decides otherwise."""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import duckdb

from dp.log.checks import checked_rows, raw_columns
from dp.log.columns import FIELDS, choose_columns
from dp.log.csv_rows import Row, rows_of
from dp.log.files import is_gzipped, is_utf8, open_bytes, open_text, printable
from dp.log.log import LogError
from dp.log.sql import quoted_path
from dp.log.staging import Format, Locate, Record, Source, faulty, record, stage_text, text_locator

OPEN_ENDS = (b",\n", b",\r", b',""\n', b',""\r')


def stage(source: Source) -> Locate:
    """Stage every row below the header that is not blank.

    Raises:
        LogError: the file has no header, or one that is not that of a log.
    """
    header = _header(source.path)
    chosen = choose_columns(source.path, header.fields, source.columns)
    parse = partial(_records, header.fields, chosen)
    one_line = header.line == 1 and "\n" not in header.raw and "\r" not in header.raw
    scan = _scan(source.path)
    source.progress("reading", None)
    if not (one_line and not scan.ambiguous and _stage_fast(source, header.fields, chosen, scan)):
        stage_text(source, parse)
    return text_locator(source.path, parse)


def _header(path: Path) -> Row:
    with open_text(path) as (lines, _):
        header = next(rows_of(lines), None)
    if header is None:
        raise LogError(f"{path} is empty: a header with the column names is needed")
    if header.fault or "\0" in header.raw or not is_utf8(header.raw):
        raise LogError(
            f"{path}, line {header.line}: the header is not a row of names in UTF-8 text "
            f"({printable(header.raw[:60])!r})"
        )
    return header


def _records(names: list[str], chosen: Mapping[str, str], lines: Iterator[str]) -> Iterator[Record]:
    """The rows below the header."""
    positions = [names.index(chosen[field]) if field in chosen else None for field in FIELDS]
    for line, raw, fields, fault in islice(rows_of(lines), 1, None):
        if fault is None and len(fields) != len(names):
            fault = f"{len(fields)} fields where the header has {len(names)}"
        if fault is None:
            yield record(line, raw, tuple(None if i is None else fields[i] for i in positions))
        else:
            yield faulty(line, raw, fault)


class _Scan(NamedTuple):
    """What decides whether DuckDB and the csv module read a file alike."""

    ambiguous: bool
    """A blank beside a quote: DuckDB drops it, the csv module keeps it or objects."""
    commas: int
    open_ended: bool
    """Some line ends in an empty field: DuckDB accepts one too many."""


def _scan(path: Path) -> _Scan:
    """Look at every byte; this also finds a damaged gzip file."""
    ambiguous, commas, open_ended, last = False, 0, False, b""
    with open_bytes(path) as (stream, _):
        while chunk := stream.read(1 << 22):
            commas += chunk.count(b",")
            seam = last + chunk
            open_ended = open_ended or any(end in seam for end in OPEN_ENDS)
            if not ambiguous and b'"' in seam:
                ambiguous = any(pair in seam for pair in (b'" ', b' "', b'"\t', b'\t"'))
            last = seam[-3:]
    return _Scan(ambiguous, commas, open_ended or last.endswith((b",", b',""')))


def _stage_fast(source: Source, names: list[str], chosen: Mapping[str, str], scan: _Scan) -> bool:
    """Stage the file by DuckDB's parallel reader; False, and nothing staged, if a row may be malformed."""
    types = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(names)))
    positions = {field: f"c{names.index(name)}" for field, name in chosen.items()}
    compression = "gzip" if is_gzipped(source.path) else "none"
    try:
        source.connection.execute(
            f"CREATE TABLE staged AS WITH raw AS (SELECT {raw_columns(positions)} "
            f"FROM read_csv({quoted_path(source.path)}, auto_detect = false, header = false, "
            "skip = 1, delim = ',', quote = '\"', escape = '\"', strict_mode = true, null_padding = false, "
            f"compression = '{compression}', columns = {{{types}}})) "
            + checked_rows("VARCHAR", "VARCHAR", source.timezone)
        )
    except duckdb.InvalidInputException:
        source.connection.execute("DROP TABLE IF EXISTS staged")
        return False
    (rows,) = source.connection.execute("SELECT COUNT(*) FROM staged").fetchall()[0]
    if scan.open_ended and scan.commas != (rows + 1) * (len(names) - 1):
        source.connection.execute("DROP TABLE staged")
        return False
    return True


CSV = Format("csv", (".csv",), "line", stage)
