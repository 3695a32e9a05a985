"""What a file format is, how a log is read, and how rows of text get into the table `staged`."""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from dp.arrays import Integers
from dp.log.bad_rows import BadRows, bad_rows
from dp.log.checks import USER_FAULT, Types, checked_query, segment_faults, staged
from dp.log.columns import FIELDS, segment_fields
from dp.log.files import LogFile
from dp.log.lines import SMALL_BLOCK
from dp.log.moments import Calendar, as_times
from dp.log.sql import identifier
from dp.progress import Progress

MOST_STAGED = 1 << 20
"""Rows that wait in `staged` for their users to be numbered; as texts, users take most of the memory."""
SAMPLE = 10_000
"""Rows that tell whether it pays to look for equal ones."""
_MOMENT = ("op", "day", "at")


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
        segments: the segment columns, by our names.
        compressed: whether the rows are kept compressed, and read in small parts.
        most_staged: rows that wait in `staged` for their users to be numbered; by default `MOST_STAGED` where memory
            is to be saved, else all of them, which is faster.
    """

    connection: duckdb.DuckDBPyConnection
    columns: Mapping[str, str]
    calendar: Calendar
    delimiter: str | None
    bad_rows: BadRows
    progress: Progress
    segments: tuple[str, ...] = ()
    compressed: bool = False
    most_staged: int | None = None

    @property
    def rows_at_once(self) -> int:
        """Rows that wait in `staged`."""
        return self.most_staged or (MOST_STAGED if self.compressed else sys.maxsize)

    @property
    def block(self) -> int | None:
        """Bytes of text that are read at once; None: as usual."""
        return SMALL_BLOCK if self.compressed else None

    @property
    def fields(self) -> dict[str, str]:
        """The fields of a row of text: those of `FIELDS` and those of segments, and what each is called."""
        return {**dict(zip(FIELDS, FIELDS, strict=True)), **self.segment_names}

    @property
    def segment_names(self) -> dict[str, str]:
        """The fields of segments, and what each is called."""
        return dict(zip(segment_fields(self.segments), self.segments, strict=True))


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
"""The texts of the fields in a row, and what is wrong with it."""


def bad(fault: str, width: int) -> Values:
    """A row of so many fields that cannot be used."""
    return (*(None,) * width, fault)


def table_of(rows: Iterable[Values], fields: Iterable[str]) -> pa.Table:
    """The rows as columns."""
    names = [*fields, "fault"]
    columns: list[list[str | None]] = [[] for _ in names]
    for row in rows:  # not kept as tuples, which the garbage collector would look through again and again
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return pa.table([pa.array(column, pa.string()) for column in columns], names=names)


@dataclass(frozen=True)
class Batch:
    """Some rows of a text file, one after the other.

    Attributes:
        rows: number, which counts the rows of the batch from 0, a column of text for each of `Reading.fields`, and
            fault.
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
    """The tables of a log, and `staged`."""
    execute = reading.connection.execute
    if reading.compressed:
        execute("ATTACH ':memory:' AS compressed (COMPRESS)")
        execute("USE compressed")
    execute('CREATE TABLE users (user_id INTEGER, "user" VARCHAR)')
    label = ", label INTEGER" if reading.segments else ""
    execute(f'CREATE TABLE operations (user_id INTEGER, "day" INTEGER, "at" INTEGER, seq BIGINT, op TINYINT{label})')
    if reading.segments:
        columns = ", ".join(f"{identifier(name)} VARCHAR" for name in reading.segments)
        execute(f"CREATE TABLE labels (label INTEGER, {columns})")
    create_staged(reading)


def create_staged(reading: Reading) -> None:
    """An empty table `staged`, whose rowid counts the rows that may be used in the order of the log."""
    more = "".join(f", {field} VARCHAR" for field in segment_fields(reading.segments))
    reading.connection.execute(
        f'CREATE OR REPLACE TABLE staged ("user" VARCHAR, op TINYINT, day DATE, arrival DATE, clock BIGINT{more})'
    )


def number_users(reading: Reading, *, least: int) -> None:
    """Move the rows of `staged` to `operations`, where seq is their place in the log, if there are at least so many.

    Where a row says at what time it arrived, `operations` gets a column `clock`.
    """
    execute = reading.connection.execute
    # DuckDB knows this number, and must look through the rows for the others.
    if execute("SELECT COUNT(*) FROM staged").fetchall()[0][0] < least:
        return
    timed, users, before = execute(
        "SELECT COUNT(clock) > 0, (SELECT COUNT(*) FROM users), (SELECT COUNT(*) FROM operations) FROM staged"
    ).fetchall()[0]
    execute(
        f'INSERT INTO users SELECT {users} + row_number() OVER (), "user" '
        'FROM (SELECT DISTINCT "user" FROM staged ANTI JOIN users USING ("user"))'
    )
    label, labelled = _number_labels(reading)
    if timed:
        execute("ALTER TABLE operations ADD COLUMN IF NOT EXISTS clock BIGINT")
    execute(
        "INSERT INTO operations BY NAME SELECT user_id, "
        "CASE WHEN op <> 0 THEN (day - DATE '1970-01-01')::INTEGER END AS day, "
        f"(arrival - DATE '1970-01-01')::INTEGER AS at, {before} + position AS seq, op"
        f"{label}{', clock' if timed else ''} "
        f'FROM (SELECT *, rowid AS position FROM staged) AS s JOIN users USING ("user"){labelled}'
    )
    create_staged(reading)
    if reading.compressed:
        execute("CHECKPOINT compressed")


def _number_labels(reading: Reading) -> tuple[str, str]:
    """Add to `labels` what rows of `staged` say in the segment columns; a column and a join that find it again."""
    if not (named := reading.segment_names):
        return "", ""
    # An erasure has no label.
    same = "s.op <> 0 AND " + " AND ".join(
        f"s.{field} IS NOT DISTINCT FROM l.{identifier(name)}" for field, name in named.items()
    )
    fields = ", ".join(f"s.{field}" for field in named)
    number = f"(SELECT COUNT(*) FROM labels) + row_number() OVER (ORDER BY {', '.join(named)}) - 1"
    reading.connection.execute(
        f"INSERT INTO labels SELECT {number}, * FROM (SELECT DISTINCT {fields} FROM staged AS s WHERE s.op <> 0 "
        f"AND NOT EXISTS (SELECT 1 FROM labels AS l WHERE {same}))"
    )
    return ", label", f" LEFT JOIN labels AS l ON {same}"


def stage_batches(reading: Reading, file: LogFile, batches: Iterable[Batch]) -> int:
    """Check rows of text, a batch at a time; returns how many there were."""
    connection, rows, kept, before = reading.connection, 0, 0, reading.bad_rows.count
    texts = {f'"{field}"': name for field, name in reading.segment_names.items()}
    faults = ["fault", USER_FAULT, "moment_fault", *segment_faults(texts)]
    columns = staged(segment_fields(reading.segments))
    sound = " AND ".join(f"{fault} IS NULL" for fault in faults)
    for batch in batches:
        connection.register("judged", _judged(reading, batch.rows))
        rows += batch.rows.num_rows
        (used,) = connection.execute(f"INSERT INTO staged SELECT {columns} FROM judged WHERE {sound}").fetchall()[0]
        kept += used
        if rows - kept > reading.bad_rows.count - before:
            found = connection.sql(
                f"SELECT number, COALESCE({', '.join(faults)}) AS fault FROM judged WHERE NOT ({sound}) ORDER BY number"
            ).to_arrow_table()
            numbers = found["number"].to_numpy()
            reading.bad_rows.add(file, bad_rows(batch.places[numbers], found["fault"], batch.raw(numbers)))
        connection.unregister("judged")
        number_users(reading, least=reading.rows_at_once)
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
    for name in ("number", "user", "fault", *segment_fields(reading.segments)):
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
    # To plan the query of a text takes longest, and many logs have no column for it.
    types = Types(at="DATE" if rows["at"].null_count == len(rows) else "VARCHAR")
    timed = {field: as_times(rows[field].combine_chunks(), reading.calendar.date_format) for field in ("day", "at")}
    quick = {field: found for field, found in timed.items() if found is not None}
    if quick:
        table = rows
        for field, (times, _) in quick.items():
            table = table.set_column(table.column_names.index(field), field, times)
        said = _asked(reading, table, types._replace(**{field: kind for field, (_, kind) in quick.items()}))
        if said["moment_fault"].null_count == len(rows):
            return said
        # What is wrong is said of the texts as they stand.
    return _asked(reading, rows, types)


def _asked(reading: Reading, rows: pa.Table, types: Types) -> pa.Table:
    """The same by one query, where day and at are of these types."""
    connection = reading.connection
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
