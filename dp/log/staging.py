"""What a file format is, how a log is read, and how rows of text get into the table `staged`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from dp.arrays import Integers
from dp.log.bad_rows import BadRows, bad_rows
from dp.log.checks import STAGED, USER_FAULT, Types, checked_query
from dp.log.columns import FIELDS
from dp.log.files import LogFile
from dp.log.moments import Calendar
from dp.progress import Progress

RAW = pa.schema([("number", pa.int64()), *((name, pa.string()) for name in (*FIELDS, "fault"))])
"""Columns of a batch of rows of text."""

MOST_STAGED = 1 << 20
"""Rows that wait in `staged` for their users to be numbered; as texts, users take most of the memory."""
SAMPLE = 10_000
"""Rows that tell whether it pays to look for equal ones."""
_MOMENT = ("op", "day", "at")
_SOUND = f"fault IS NULL AND moment_fault IS NULL AND {USER_FAULT} IS NULL"


@dataclass(frozen=True)
class Reading:
    """How a log is read.

    Attributes:
        connection: has the table `staged` for the rows that may be used.
        columns: from our names to the log's, where they differ.
        calendar: how moments are written, and where days begin.
        delimiter: between the fields of a CSV row; None: as the file says, or a comma.
        bad_rows: gets the others.
        progress: told how far the reading is.
        compressed: whether the rows are kept compressed.
    """

    connection: duckdb.DuckDBPyConnection
    columns: Mapping[str, str]
    calendar: Calendar
    delimiter: str | None
    bad_rows: BadRows
    progress: Progress
    compressed: bool


@dataclass(frozen=True)
class Format:
    """A file format; `dp.log.formats.FORMATS` lists all of them.

    Attributes:
        name: as users choose it.
        suffixes: of file names, in lower case with the dot; those of packed files may follow.
        unit: what a place in the file is called, line or row.
        stage: adds the rows of a file to `staged` in their order, hands the others to the bad rows, and returns how
            many there were; raises LogError for a file that is not of this format.
    """

    name: str
    suffixes: tuple[str, ...]
    unit: str
    stage: Callable[[Reading, LogFile], int]


Values = tuple[str | None, ...]
"""The texts of `FIELDS` in a row, and what is wrong with it."""


def bad(fault: str) -> Values:
    """A row that cannot be used."""
    return (*(None,) * len(FIELDS), fault)


def table_of(rows: Iterable[Values]) -> pa.Table:
    """The rows as columns."""
    columns: list[list[str | None]] = [[] for _ in range(len(FIELDS) + 1)]
    for row in rows:  # not kept as tuples, which the garbage collector would look through again and again
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return pa.table([pa.array(column, pa.string()) for column in columns], names=[*FIELDS, "fault"])


@dataclass(frozen=True)
class Batch:
    """Some rows of a text file, one after the other.

    Attributes:
        rows: the columns of `RAW`; number counts the rows of the batch from 0.
        places: where each row stands in the file, from 1, shape (rows,).
        raw: from the numbers of some rows, shape (rows,), to their texts as they stand there.
    """

    rows: pa.Table
    places: Integers
    raw: Callable[[Integers], pa.Array]


def integers(values: Integers) -> pa.Array:
    """The same for Arrow.

    From a buffer: pyarrow looks at anything else with the help of pandas, which takes half a second to import.
    """
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def create_tables(reading: Reading) -> None:
    """The tables of a log, and `staged`, whose rowid counts the rows that may be used in the order of the log."""
    if reading.compressed:
        reading.connection.execute("ATTACH ':memory:' AS compressed (COMPRESS)")
        reading.connection.execute("USE compressed")
    reading.connection.execute('CREATE TABLE users (user_id INTEGER, "user" VARCHAR)')
    reading.connection.execute(
        'CREATE TABLE operations (user_id INTEGER, "day" INTEGER, "at" INTEGER, seq BIGINT, op TINYINT)'
    )
    _create_staged(reading)


def _create_staged(reading: Reading) -> None:
    reading.connection.execute(
        'CREATE OR REPLACE TABLE staged ("user" VARCHAR, op TINYINT, day DATE, arrival DATE, clock BIGINT)'
    )


def number_users(reading: Reading, *, least: int) -> None:
    """Move the rows of `staged` to `operations`, where seq is their place in the log, if there are at least so many.

    Where a row says at what time it arrived, `operations` gets a column `clock`.
    """
    execute = reading.connection.execute
    staged, timed, users, before = execute(
        "SELECT COUNT(*), COUNT(clock) > 0, (SELECT COUNT(*) FROM users), (SELECT COUNT(*) FROM operations) FROM staged"
    ).fetchall()[0]
    if staged < least:
        return
    execute(
        f'INSERT INTO users SELECT {users} + row_number() OVER (), "user" '
        'FROM (SELECT DISTINCT "user" FROM staged ANTI JOIN users USING ("user"))'
    )
    if timed:
        execute("ALTER TABLE operations ADD COLUMN IF NOT EXISTS clock BIGINT")
    execute(
        "INSERT INTO operations BY NAME SELECT user_id, "
        "CASE WHEN op <> 0 THEN (day - DATE '1970-01-01')::INTEGER END AS day, "
        f"(arrival - DATE '1970-01-01')::INTEGER AS at, {before} + position AS seq, op{', clock' if timed else ''} "
        'FROM (SELECT *, rowid AS position FROM staged) JOIN users USING ("user")'
    )
    _create_staged(reading)
    if reading.compressed:
        execute("CHECKPOINT compressed")


def stage_batches(reading: Reading, file: LogFile, batches: Iterable[Batch]) -> int:
    """Check rows of text, a batch at a time; returns how many there were."""
    connection, rows, kept, before = reading.connection, 0, 0, reading.bad_rows.count
    for batch in batches:
        connection.register("judged", _judged(reading, batch.rows))
        rows += batch.rows.num_rows
        (used,) = connection.execute(f"INSERT INTO staged SELECT {STAGED} FROM judged WHERE {_SOUND}").fetchall()[0]
        kept += used
        if rows - kept > reading.bad_rows.count - before:
            found = connection.sql(
                f"SELECT number, COALESCE(fault, {USER_FAULT}, moment_fault) AS fault FROM judged "
                f"WHERE NOT ({_SOUND}) ORDER BY number"
            ).to_arrow_table()
            numbers = found["number"].to_numpy()
            reading.bad_rows.add(file, bad_rows(batch.places[numbers], found["fault"], batch.raw(numbers)))
        connection.unregister("judged")
        number_users(reading, least=MOST_STAGED)
    return rows


def _judged(reading: Reading, rows: pa.Table) -> pa.Table:
    """The number, user and fault of each row, and what its op, day and at say together.

    Where many rows say the same there, it is judged once. Where few do, to find them would take longer.
    """
    sample = rows.slice(0, SAMPLE)
    if 2 * len(_combinations(sample).dictionary) > len(sample):
        found = _said(reading, rows)
    else:
        encoded = _combinations(rows)
        example = np.empty(len(encoded.dictionary), np.int64)
        example[np.from_dlpack(encoded.indices)] = np.arange(len(rows))
        found = _said(reading, rows.select(_MOMENT).take(integers(example))).take(encoded.indices)
    for name in ("number", "user", "fault"):
        found = found.append_column(name, rows[name])
    return found


def _combinations(rows: pa.Table) -> pa.DictionaryArray:
    """A number for each row; rows with one number have the same op, day and at."""
    codes = np.zeros(len(rows), np.int64)
    for field in _MOMENT:
        encoded = rows[field].combine_chunks().dictionary_encode("encode")
        codes = codes * len(encoded.dictionary) + np.from_dlpack(encoded.indices).astype(np.int64)
    return integers(codes).dictionary_encode()


def _said(reading: Reading, rows: pa.Table) -> pa.Table:
    """What op, day and at say, row by row."""
    connection = reading.connection
    # To plan the query of a text takes longest, and many logs have no column for it.
    types = Types(at="DATE" if rows["at"].null_count == len(rows) else "VARCHAR")
    raw = (
        f'(SELECT NULL::BIGINT AS number, \'-\' AS "user", op, "day", "at"::{types.at} AS "at", '
        "NULL::VARCHAR AS fault FROM moments)"
    )
    connection.register("moments", rows)
    query = checked_query(connection, raw, types, reading.calendar)
    # By way of a table, because a relation of DuckDB's plans a query twice.
    connection.execute(
        f"CREATE TEMP TABLE said AS SELECT op, day, arrival, clock, fault AS moment_fault FROM ({query})"
    )
    found = connection.sql("FROM said").to_arrow_table()
    connection.execute("DROP TABLE said")
    connection.unregister("moments")
    return found
