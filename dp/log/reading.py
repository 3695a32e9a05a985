"""The edge: activity logs from files, checked row by row, into one table of operations."""

import csv
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import duckdb
import msgspec
import pyarrow as pa

Progress = Callable[[str, float | None], None]

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
COLUMNS = ("user", "day", "timestamp", "op", "at")  # what a file may have
USED = ("user", "day", "op", "at")  # what a row comes down to: day is whichever of day and timestamp there is
OPEN_ENDS = (b",\n", b",\r", b',""\n', b',""\r')
NOTHING = (None,) * len(USED)
CHUNK = 100_000  # rows handed from Python to DuckDB at once
SHOWN = 5  # bad rows spelt out in an error

# What a Parquet column may hold; everything else is refused.
INTEGERS = {
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
}
TIMESTAMPS = {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
MOMENTS = {"VARCHAR", "DATE", "TIMESTAMP WITH TIME ZONE", *TIMESTAMPS}
ALLOWED = {"user": {"VARCHAR", *INTEGERS}, "day": MOMENTS, "at": MOMENTS, "op": {"VARCHAR"}}

TIME = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
NO_CLOCK = "NULL::BIGINT"
OFFSET = r"(Z|[+-]\d{2}(:?\d{2})?)"
SPELLING = "expected YYYY-MM-DD or an ISO 8601 timestamp, 1900 to 2200"


class LogError(ValueError):
    """A log that cannot be used; the message has file, line and reason."""


@dataclass(frozen=True)
class Log:
    """A checked log in a DuckDB connection of its own. Use it as a context manager, or close it.

    Tables: `operations(user_id, day, at, seq, op)` with days as INT since 1970-01-01 (day is NULL in an erase), op
    +1 add, -1 retract, 0 erase, seq the order of arrival; `users(user_id, user)`.
    """

    connection: duckdb.DuckDBPyConnection
    rows_read: int
    rows_used: int
    rows_set_aside: int
    first_day: date
    """The earliest day in the log (an erase counts with its arrival)."""
    last_day: date
    """The last arrival in the log."""
    users: int

    def __enter__(self) -> Self:
        """The log itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.connection.close()

    def close(self) -> None:
        """Close the connection; the rows are gone from memory."""
        self.connection.close()


class Record(NamedTuple):
    """One row of a text file as it stands there."""

    line: int
    """The physical line on which the row starts, from 1."""
    raw: str
    values: tuple[str | None, ...]
    """The texts of user, day, op, at."""
    fault: str | None


# (line, raw text) of the rows with these numbers, counted from 0 in file order, ascending.
Locate = Callable[[list[int]], Iterator[tuple[int, str]]]


class _Reading(NamedTuple):
    """What every reader needs."""

    connection: duckdb.DuckDBPyConnection
    path: Path
    columns: Mapping[str, str]
    timezone: str
    progress: Progress


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

    `columns` maps our names (user, day or timestamp, op, at) to the file's. Times with an offset are converted to
    `timezone`; times without one are wall-clock times there. A missing op is '+', a missing at is the day. Bad rows
    raise (quarantine = None, nothing is written) or go to the CSV file `quarantine` (line, reason, raw text), which
    is then written in any case. rows_read = rows_used + rows_set_aside; blank lines are not rows; columns that are
    not ours are not looked at. `progress` is called with a stage and the fraction done, None where it is not known.

    Order of arrival (seq): by row; where `at` carries times of day, by that instant first.

    Raises:
        LogError: a file that cannot be read as a log, bad rows without `quarantine`, or no usable row.
        ValueError: an unknown time zone, input format or key of `columns`; a quarantine file that is the input.
    """
    path = Path(path)
    kind = _format(path, input_format)
    unknown = [name for name in columns or {} if name not in COLUMNS]
    if unknown:
        raise ValueError(f"columns = {dict(columns or {})}: {unknown} not among ours, which are {', '.join(COLUMNS)}")
    if quarantine is not None:
        quarantine = Path(quarantine)
        if quarantine.resolve() == path.resolve() or (quarantine.exists() and quarantine.samefile(path)):
            raise ValueError(f"quarantine = {quarantine} is the input file: choose another name")
    connection = duckdb.connect()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        _check_timezone(connection, timezone)
        reading = _Reading(connection, path, columns or {}, timezone, progress or _silent)
        with _plain_errors(path):
            locate = {"csv": _stage_csv, "jsonl": _stage_jsonl, "parquet": _stage_parquet}[kind](reading)
            unit = "row" if kind == "parquet" else "line"
            rows_read, set_aside = _set_aside(reading, locate, unit, quarantine)
        return _finish(reading, rows_read, set_aside)
    except BaseException:
        connection.close()
        raise


def write_canonical(log: Log, path: str | Path) -> None:
    """Write the log as Parquet: user (string), day DATE, op string, at DATE, seq BIGINT, in the order of arrival.

    The rows stand in the order of seq, so a reader that goes by row (`read_log`) and one that goes by seq (Spark)
    agree.
    """
    log.connection.execute(
        "COPY (SELECT u.\"user\", DATE '1970-01-01' + o.day AS day, "
        "CASE o.op WHEN 1 THEN '+' WHEN -1 THEN '-' ELSE 'erase' END AS op, "
        "DATE '1970-01-01' + o.at AS at, o.seq FROM operations AS o JOIN users AS u USING (user_id) "
        f"ORDER BY o.seq) TO {_quoted(str(path))} (FORMAT parquet)"
    )


def log_of(log: Log, operations: pa.Table, users: pa.Table) -> Log:
    """A log of these operations and users in a connection of its own, over the period of `log`, which stays open."""
    connection = duckdb.connect()
    for relation, rows in (("operations", operations), ("users", users)):
        connection.register("moved", rows)
        connection.execute(f"CREATE TABLE {relation} AS SELECT * FROM moved")
        connection.unregister("moved")
    kept = operations.num_rows
    return replace(log, connection=connection, rows_read=kept, rows_used=kept, rows_set_aside=0, users=users.num_rows)


def arrived_fingerprint(log: Log, through: date) -> str:
    """Names the operations that had arrived by the end of the day `through`, in no order; 32 hexadecimal digits.

    Two logs with one name hold the same operations up to then, short of an md5 collision; ties between operations of
    one user-day on one day are not told apart.
    """
    ((count, first, second),) = log.connection.execute(
        "WITH named AS (SELECT concat_ws('|', u.\"user\", o.day, o.at, o.op) AS operation "
        "FROM operations AS o JOIN users AS u USING (user_id) WHERE o.at <= ?) "
        "SELECT COUNT(*), SUM(md5_number_lower(operation)), SUM(md5_number_upper(operation)) FROM named",
        [(through - date(1970, 1, 1)).days],
    ).fetchall()
    return hashlib.sha256(f"{count} {first} {second}".encode()).hexdigest()[:32]


def fingerprint(path: str | Path) -> str:
    """The SHA-256 of the file's bytes, in hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# From rows to operations


def _checked(types: Mapping[str, str], timezone: str) -> str:
    """The SELECT over raw(user, day, op, at, fault) that parses and judges every row; `types` of the columns."""
    day, at = _Moment('"day"', types["day"], timezone), _Moment('"at"', types["at"], timezone)
    # Times of day matter for the order of arrival only, hence only where `at` can carry them.
    clock, timed = NO_CLOCK, "false"
    if at.clock != NO_CLOCK:
        # Never the clock of the day column: where no `at` is given rows arrive as they stand, and whether they do must
        # not depend on the rows of other users.
        clock = f"CASE WHEN {at.given} THEN {at.clock} END"
        timed = f"{at.given} AND {at.clock} IS NOT NULL"
    return f"""
        SELECT "user", op, day, COALESCE(arrival, day) AS arrival, clock, timed, CASE
            WHEN fault IS NOT NULL THEN fault
            WHEN "user" IS NULL OR regexp_full_match("user", '\\s*') THEN 'empty user'
            WHEN contains("user", chr(0)) THEN 'NUL byte in the user'
            WHEN op IS NULL THEN 'unknown op ' || {_shown("op_text")} || ', expected +, - or erase'
            WHEN day IS NULL AND day_given THEN 'unparseable day ' || {_shown("day_text")} || ', {SPELLING}'
            WHEN arrival IS NULL AND at_given THEN 'unparseable at ' || {_shown("at_text")} || ', {SPELLING}'
            WHEN op <> 0 AND day IS NULL THEN 'no day'
            WHEN op = 0 AND day IS NULL AND arrival IS NULL THEN 'an erase needs an at: the day it arrived'
            WHEN op = 0 AND day <> arrival THEN 'an erase takes no day besides its at'
            WHEN arrival < day THEN 'at ' || arrival || ' is before day ' || day
        END AS fault
        FROM (
            SELECT "user", op AS op_text, "day" AS day_text, "at" AS at_text, fault,
                CASE WHEN op IS NULL OR op IN ('', '+') THEN 1 WHEN op = '-' THEN -1 WHEN op = 'erase' THEN 0
                END::TINYINT AS op,
                {day.date} AS day, {day.given} AS day_given, {at.date} AS arrival, {at.given} AS at_given,
                {clock} AS clock, {timed} AS timed
            FROM raw
        )"""


class _Moment:
    """SQL for a day or a time in a column: is it given, its calendar day, its instant in µs (NULL: a pure date)."""

    def __init__(self, name: str, type_name: str, timezone: str) -> None:
        zone = _quoted(timezone)
        self.given = f"({name} IS NOT NULL)"
        if type_name == "DATE":
            day, self.clock = name, NO_CLOCK
        elif type_name == "VARCHAR":
            self.given = f"({name} IS NOT NULL AND {name} <> '')"
            pure = f"length({name}) = 10"
            timed = f"regexp_full_match({name}, '\\d{{4}}-\\d\\d-\\d\\d[ T]{TIME}{OFFSET}?')"
            offset = f"regexp_matches(substr({name}, 17), '[Z+-]')"
            instant, wall = f"TRY_CAST({name} AS TIMESTAMPTZ)", f"TRY_CAST({name} AS TIMESTAMP)"
            # A date is ISO exactly if it prints as itself: DuckDB's own cast also takes 2024/1/5.
            day = f"""CASE WHEN {pure} AND TRY_CAST({name} AS DATE)::VARCHAR = {name} THEN TRY_CAST({name} AS DATE)
                WHEN {pure} OR NOT {timed} THEN NULL
                WHEN {offset} THEN ({instant} AT TIME ZONE {zone})::DATE ELSE {wall}::DATE END"""
            self.clock = f"""CASE WHEN {pure} OR NOT {timed} THEN NULL
                WHEN {offset} THEN epoch_us({instant}) ELSE epoch_us({wall} AT TIME ZONE {zone}) END"""
        elif type_name == "TIMESTAMP WITH TIME ZONE":
            day, self.clock = f"({name} AT TIME ZONE {zone})::DATE", f"epoch_us({name})"
        else:
            day, self.clock = f"{name}::DATE", f"epoch_us({name}::TIMESTAMP AT TIME ZONE {zone})"
        self.date = f"CASE WHEN ({day}) BETWEEN DATE '1900-01-01' AND DATE '2200-12-31' THEN ({day}) END"


def _set_aside(reading: _Reading, locate: Locate, unit: str, quarantine: Path | None) -> tuple[int, int]:
    """Rows read and rows set aside; raises if there are bad rows and no quarantine."""
    connection, path = reading.connection, reading.path
    rows, bad = connection.execute("SELECT COUNT(*), COUNT(fault) FROM staged").fetchall()[0]
    if quarantine is None and not bad:
        return rows, 0
    limit = SHOWN if quarantine is None else bad
    faults = connection.execute(
        f"SELECT rowid, fault FROM staged WHERE fault IS NOT NULL ORDER BY rowid LIMIT {limit}"
    ).fetchall()
    if bad:
        reading.progress("locating bad rows", None)
    located = (
        (line, fault, raw) for (_, fault), (line, raw) in zip(faults, locate([row for row, _ in faults]), strict=True)
    )
    if quarantine is None:
        shown = "\n".join(f"  {path}, {unit} {line}: {_printable(fault)}" for line, fault, _ in located)
        more = f"\n  and {bad - SHOWN} more" if bad > SHOWN else ""
        raise LogError(
            f"{path}: {bad} of {rows} rows are bad, so nothing was used\n{shown}{more}\n"
            "To go on without them: --on-error quarantine FILE"
        )
    # Complete or absent: a half-written list of bad rows would not add up.
    partial = quarantine.with_name(quarantine.name + ".partial")
    with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow((unit, "reason", "raw"))
        writer.writerows(located)
    partial.replace(quarantine)
    return rows, bad


def _finish(reading: _Reading, rows_read: int, rows_set_aside: int) -> Log:
    connection = reading.connection
    if rows_read == rows_set_aside:
        raise LogError(f"{reading.path} has no usable row: {rows_read} read, {rows_set_aside} set aside")
    reading.progress("indexing users", None)
    connection.execute(
        'CREATE TABLE users AS SELECT CAST(row_number() OVER () AS INTEGER) AS user_id, "user" '
        'FROM (SELECT DISTINCT "user" FROM staged WHERE fault IS NULL)'
    )
    (timed,) = connection.execute("SELECT bool_or(timed AND fault IS NULL) FROM staged").fetchall()[0]
    instant = f"COALESCE(clock, epoch_us(arrival::TIMESTAMP AT TIME ZONE {_quoted(reading.timezone)}))"
    seq = f"row_number() OVER (ORDER BY {instant}, s.rowid)" if timed else "s.rowid"
    connection.execute(
        "CREATE TABLE operations AS SELECT user_id, "
        "CASE WHEN op <> 0 THEN (day - DATE '1970-01-01')::INTEGER END AS day, "
        f"(arrival - DATE '1970-01-01')::INTEGER AS at, {seq} AS seq, op "
        'FROM staged AS s JOIN users USING ("user") WHERE fault IS NULL'
    )
    first_day, last_day = connection.execute(
        "SELECT MIN(COALESCE(day, arrival)), MAX(arrival) FROM staged WHERE fault IS NULL"
    ).fetchall()[0]
    (users,) = connection.execute("SELECT COUNT(*) FROM users").fetchall()[0]
    connection.execute("DROP TABLE staged")
    return Log(
        connection=connection,
        rows_read=rows_read,
        rows_used=rows_read - rows_set_aside,
        rows_set_aside=rows_set_aside,
        first_day=first_day,
        last_day=last_day,
        users=users,
    )


def _stage_records(reading: _Reading, records: Iterator[Record], stage: Callable[[], float | None]) -> None:
    """Create `staged` from rows that Python parsed, a chunk at a time."""
    names = (*USED, "fault")
    schema = pa.schema([(name, pa.string()) for name in names])
    select = _checked(dict.fromkeys(names, "VARCHAR"), reading.timezone)
    reading.connection.register("raw", schema.empty_table())
    reading.connection.execute(f"CREATE TABLE staged AS {select}")
    while chunk := list(islice(records, CHUNK)):
        columns = zip(*((*record.values, record.fault) for record in chunk), strict=True)
        reading.connection.register("raw", pa.table(list(map(list, columns)), schema=schema))
        reading.connection.execute(f"INSERT INTO staged {select}")
        reading.progress("reading", stage())
    reading.connection.unregister("raw")


def _text_locator(records: Callable[[], Iterator[Record]]) -> Locate:
    """Find rows by reading the file a second time."""

    def locate(numbers: list[int]) -> Iterator[tuple[int, str]]:
        wanted = iter(numbers)
        number = next(wanted, None)
        for position, record in enumerate(records()):
            if number is None:
                return
            if position == number:
                yield record.line, record.raw
                number = next(wanted, None)

    return locate


# CSV


def _stage_csv(reading: _Reading) -> Locate:
    path = reading.path
    with _text(path) as (lines, _):
        header = next(_csv_rows(lines), None)
    if header is None:
        raise LogError(f"{path} is empty: a header with the column names is needed")
    line, raw, names, fault = header
    if fault or "\0" in raw or not is_utf8(raw):
        raise LogError(
            f"{path}, line {line}: the header is not a row of names in UTF-8 text ({_printable(raw[:60])!r})"
        )
    chosen = _choose(path, names, reading.columns)

    def records() -> Iterator[Record]:
        with _text(path) as (lines, _):
            yield from _csv_records(lines, names, chosen)

    dialect = _dialect(path)
    reading.progress("reading", None)
    if line != 1 or "\n" in raw or "\r" in raw or dialect.doubtful or not _fast_csv(reading, names, chosen, dialect):
        with _text(path) as (lines, done):
            _stage_records(reading, _csv_records(lines, names, chosen), done)
    return _text_locator(records)


class _Dialect(NamedTuple):
    """What decides whether DuckDB and the csv module read a file alike."""

    doubtful: bool
    """A blank beside a quote: DuckDB drops it, the csv module keeps it or objects."""
    commas: int
    open_ended: bool
    """Some line ends in an empty field: DuckDB forgives one too many."""


def _dialect(path: Path) -> _Dialect:
    """Look at every byte; this also finds a damaged gzip file."""
    doubtful, commas, open_ended, last = False, 0, False, b""
    with _bytes(path) as (stream, _):
        while chunk := stream.read(1 << 22):
            commas += chunk.count(b",")
            seam = last + chunk
            open_ended = open_ended or any(end in seam for end in OPEN_ENDS)
            if not doubtful and b'"' in seam:
                doubtful = any(pair in seam for pair in (b'" ', b' "', b'"\t', b'\t"'))
            last = seam[-3:]
    return _Dialect(doubtful, commas, open_ended or last.endswith((b",", b',""')))


def _fast_csv(reading: _Reading, names: list[str], chosen: Mapping[str, str], dialect: _Dialect) -> bool:
    """Stage the file by DuckDB's parallel reader; False, and nothing staged, if a row may be malformed."""
    types = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(names)))
    positions = {ours: f"c{names.index(theirs)}" for ours, theirs in chosen.items()}
    compression = "gzip" if _gzipped(reading.path) else "none"
    try:
        reading.connection.execute(
            f"CREATE TABLE staged AS WITH raw AS (SELECT {_raw_columns(positions)} "
            f"FROM read_csv({_quoted(_glob_escaped(reading.path))}, auto_detect = false, header = false, "
            "skip = 1, delim = ',', quote = '\"', escape = '\"', strict_mode = true, null_padding = false, "
            f"compression = '{compression}', columns = {{{types}}})) "
            + _checked(dict.fromkeys(COLUMNS, "VARCHAR"), reading.timezone)
        )
    except duckdb.InvalidInputException:
        reading.connection.execute("DROP TABLE IF EXISTS staged")
        return False
    (rows,) = reading.connection.execute("SELECT COUNT(*) FROM staged").fetchall()[0]
    if dialect.open_ended and dialect.commas != (rows + 1) * (len(names) - 1):
        reading.connection.execute("DROP TABLE staged")
        return False
    return True


def _csv_records(lines: Iterator[str], names: list[str], chosen: Mapping[str, str]) -> Iterator[Record]:
    """The rows below the header."""
    positions = [names.index(chosen[ours]) if ours in chosen else None for ours in USED]
    for line, raw, fields, fault in islice(_csv_rows(lines), 1, None):
        if fault is None and len(fields) != len(names):
            fault = f"{len(fields)} fields where the header has {len(names)}"
        if fault is None:
            yield _record(line, raw, tuple(None if i is None else fields[i] for i in positions))
        else:
            yield Record(line, raw, NOTHING, fault)


def _csv_rows(lines: Iterator[str]) -> Iterator[tuple[int, str, list[str], str | None]]:
    """(line, raw text, fields, fault) of every row that is not blank, the header included.

    A row whose quotes do not work out costs its first line only: reading goes on with the next.
    """
    line = 1
    pending: Iterator[str] = lines
    while True:
        taken: list[str] = []
        reader = csv.reader(_noting(pending, taken), strict=True)
        fault = None
        fields: list[str] = []
        try:
            for fields in reader:
                if fields:
                    yield line, "".join(taken).rstrip("\r\n"), fields, None
                line += len(taken)
                taken.clear()
            return
        except csv.Error as error:
            fault = f"not a CSV row: {error}"
        yield line, taken[0].rstrip("\r\n"), [], fault
        line += 1
        pending = chain(taken[1:], pending)


def _noting(lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


# JSON Lines


def _stage_jsonl(reading: _Reading) -> Locate:
    path, seen = reading.path, set[str]()

    def records() -> Iterator[Record]:
        with _text(path) as (lines, _):
            yield from _json_records(lines, reading.columns, set())

    with _text(path) as (lines, done):
        _stage_records(reading, _json_records(lines, reading.columns, seen), done)
    if reading.connection.execute("SELECT COUNT(*) FROM staged").fetchall() == [(0,)]:
        raise LogError(f"{path} is empty")
    if seen:
        _choose(path, sorted(seen), reading.columns)
    return _text_locator(records)


def _json_records(lines: Iterator[str], columns: Mapping[str, str], seen: set[str]) -> Iterator[Record]:
    """One row per line that is not blank; the keys met are added to `seen`."""
    explicit = [ours for ours in ("day", "timestamp") if ours in columns] or ["day", "timestamp"]
    days = [columns.get(ours, ours) for ours in explicit]
    user, op, at = (columns.get(ours, ours) for ours in ("user", "op", "at"))
    decode = msgspec.json.Decoder().decode
    for line, raw in enumerate(lines, start=1):
        text = raw.rstrip("\r\n")
        if not text.strip():
            continue
        try:
            row = decode(text)
        except ValueError as error:
            yield Record(line, text, NOTHING, f"not JSON: {error}" if is_utf8(text) else "not UTF-8")
            continue
        if not isinstance(row, dict):
            yield Record(line, text, NOTHING, "not a JSON object")
            continue
        seen.update(row)
        day = next((row[name] for name in days if row.get(name) not in (None, "")), None)
        yield _json_record(line, text, (row.get(user), day, row.get(op), row.get(at)))


def _json_record(line: int, text: str, values: tuple[Any, ...]) -> Record:
    if type(values[0]) is int:
        values = (str(values[0]), *values[1:])
    for name, value in zip(USED, values, strict=True):
        if value is not None and type(value) is not str:
            wanted = "text or a whole number" if name == "user" else "text"
            return Record(line, text, NOTHING, f"{name} is {json.dumps(value)[:40]}, expected {wanted}")
    return _record(line, text, values)


# Parquet


def _stage_parquet(reading: _Reading) -> Locate:
    connection, path = reading.connection, reading.path
    if _gzipped(path):
        raise LogError(f"{path} is gzipped: Parquet is compressed inside, unpack it first")
    table = f"read_parquet({_quoted(_glob_escaped(path))}, file_row_number = true)"
    reading.progress("reading", None)
    try:
        described = connection.execute(f"DESCRIBE SELECT * EXCLUDE (file_row_number) FROM {table}").fetchall()
        found = {row[0]: row[1] for row in described}
        chosen = _choose(path, list(found), reading.columns)
        for ours, theirs in chosen.items():
            if found[theirs] not in ALLOWED[ours]:
                allowed = (
                    "text or whole numbers (cast it first: floats merge ids above 2^53)"
                    if ours == "user"
                    else "text"
                    if ours == "op"
                    else "text, dates or timestamps"
                )
                raise LogError(f"{path}: column {theirs!r} ({ours}) holds {found[theirs]}, expected {allowed}")
        types = {ours: found[chosen[ours]] if ours in chosen else "VARCHAR" for ours in USED}
        quoted = {ours: _identifier(theirs) for ours, theirs in chosen.items()}
        connection.execute(
            f"CREATE TABLE staged AS WITH raw AS (SELECT {_raw_columns(quoted)} FROM {table}) "
            + _checked(types, reading.timezone)
        )
    except (duckdb.InvalidInputException, duckdb.IOException) as error:
        raise LogError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None

    def locate(numbers: list[int]) -> Iterator[tuple[int, str]]:
        used = ", ".join(f"{name} := {name}" for name in dict.fromkeys(quoted.values()))
        for start in range(0, len(numbers), CHUNK):
            rows = ", ".join(map(str, numbers[start : start + CHUNK]))
            for number, raw in connection.execute(
                f"SELECT number, to_json(used) FROM (SELECT file_row_number AS number, "
                f"struct_pack({used}) AS used FROM {table}) WHERE number IN ({rows}) ORDER BY number"
            ).fetchall():
                yield number + 1, raw

    return locate


# Small helpers


def _choose(path: Path, found: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Our column names -> the file's, of the columns that are there; `timestamp` is called day from here on.

    Raises:
        LogError: a name twice, a name in `columns` that is not there, no user, or not exactly one of day and timestamp.
    """
    listed = f"columns found: {', '.join(map(_printable, found))}"
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise LogError(f"{path}: column {', '.join(map(repr, twice))} appears more than once; {listed}")
    for ours, theirs in columns.items():
        if theirs not in found:
            raise LogError(f"{path}: no column {theirs!r} for {ours}; {listed}")
    chosen = {ours: columns.get(ours, ours) for ours in COLUMNS if columns.get(ours, ours) in found}
    if "user" not in chosen:
        raise LogError(f"{path}: no column 'user' (another name: --columns user=NAME); {listed}")
    days = [ours for ours in ("day", "timestamp") if ours in columns] or [
        ours for ours in ("day", "timestamp") if ours in chosen
    ]
    if len(days) != 1:
        problem = "both a day and a timestamp column" if days else "no column 'day' or 'timestamp'"
        raise LogError(f"{path}: {problem} (choose one: --columns day=NAME or timestamp=NAME); {listed}")
    return {
        "user": chosen["user"],
        "day": chosen[days[0]],
        **{n: chosen[n] for n in ("op", "at") if n in chosen},
    }


def _raw_columns(expressions: Mapping[str, str]) -> str:
    """The select list of `raw`: our columns, NULL text where the file has none."""
    parts = [f'{expressions.get(ours, "NULL::VARCHAR")} AS "{ours}"' for ours in USED]
    parts[0] = f'({expressions["user"]})::VARCHAR AS "user"'
    return ", ".join([*parts, "NULL::VARCHAR AS fault"])


def _record(line: int, raw: str, values: tuple[str | None, ...]) -> Record:
    """A row, faulty if a value of it is not text in UTF-8."""
    if not raw.isascii():
        for name, value in zip(USED, values, strict=True):
            if value is not None and not is_utf8(value):
                return Record(line, raw, NOTHING, f"the {name} is not UTF-8")
    return Record(line, raw, values, None)


def _format(path: Path, input_format: str) -> str:
    if input_format in ("csv", "jsonl", "parquet"):
        return input_format
    if input_format != "auto":
        raise ValueError(f"input_format = {input_format!r}: must be auto, csv, jsonl or parquet")
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    kind = FORMATS.get(name.suffix.lower())
    if kind is None:
        raise LogError(f"{path}: cannot tell the format from the name; give --input-format csv, jsonl or parquet")
    return kind


def _check_timezone(connection: duckdb.DuckDBPyConnection, timezone: str) -> None:
    known = connection.execute("SELECT COUNT(*) FROM pg_timezone_names() WHERE name = ?", [timezone]).fetchall()
    if known == [(0,)]:
        raise ValueError(f"timezone = {timezone!r} is unknown: give an IANA name such as Europe/Berlin or UTC")


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system and gzip say about `path` into a LogError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LogError(f"{path} is a damaged or truncated gzip file: {error}") from None
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror or error}") from None


def _gzipped(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


@contextmanager
def _bytes(path: Path) -> Iterator[tuple[Any, Callable[[], float]]]:
    """The unpacked bytes of a file, and a function that says how much of it has been read."""
    size = max(path.stat().st_size, 1)
    with path.open("rb") as packed, ExitStack() as stack:
        gzipped = packed.read(2) == b"\x1f\x8b"
        packed.seek(0)
        stream = stack.enter_context(gzip.open(packed, "rb")) if gzipped else packed
        yield stream, lambda: packed.tell() / size


@contextmanager
def _text(path: Path) -> Iterator[tuple[Iterator[str], Callable[[], float]]]:
    """The lines of a file; bytes that are not UTF-8 survive as surrogates, line ends stay."""
    with (
        _bytes(path) as (stream, done),
        TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as lines,
    ):
        yield lines, done


def is_utf8(text: str) -> bool:
    """Whether a text can be written in UTF-8, that is, holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _glob_escaped(path: Path) -> str:
    """DuckDB takes *, ? and [ in a path as a pattern."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(path))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _shown(column: str) -> str:
    """SQL: a value in quotes, cut to a length fit for a message."""
    return f"'''' || left({column}::VARCHAR, 40) || ''''"


def _silent(stage: str, fraction: float | None) -> None:
    """No progress display."""
