"""How days and times are written: SQL that reads a column of them, and the zone that makes days of instants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pyarrow.compute

from dp.log.sql import quoted
from dp.zones import EPOCH, MICROSECOND, Zone

ISO = "iso"
UTC_CLOCKS = "iso-utc"
"""As iso, but a time without an offset is in UTC and not in the zone of the days."""
EPOCHS = {"epoch-s": 1_000_000, "epoch-ms": 1_000, "epoch-us": 1}
"""µs in one unit of each count from 1970."""
DATE_FORMATS = (ISO, UTC_CLOCKS, *EPOCHS)
"""The names of ways to write a moment; any other is a pattern of strptime."""

INTEGERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
}
FLOATS = {"FLOAT", "DOUBLE"}
_ZONED = {"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"}
_WALL = {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
MOMENT_TYPES = {"VARCHAR", "DATE", *_ZONED, *_WALL}
"""The types of column that are read whatever the date format; numbers need one."""

_FIRST, _LAST = ((datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND for year in (1899, 2202))
_TIME = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
_OFFSET = r" ?([Zz]|UTC|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
_TIMED = rf"\d{{4}}-\d\d-\d\d[ Tt]{_TIME}({_OFFSET})?"


@dataclass(frozen=True)
class Calendar:
    """How the moments of a log are written, and where its days begin.

    Attributes:
        zone: where wall-clock times are read and days begin.
        date_format: one of `DATE_FORMATS` or a pattern of strptime.
    """

    zone: Zone
    date_format: str = ISO

    @property
    def expected(self) -> str:
        """What a message about a bad moment expects."""
        if self.date_format in (ISO, UTC_CLOCKS):
            return "expected YYYY-MM-DD or an ISO 8601 timestamp, 1900 to 2200"
        return f"expected {self.date_format}, 1900 to 2200"

    @property
    def takes_numbers(self) -> bool:
        """Whether a moment may be a number."""
        return self.date_format not in (ISO, UTC_CLOCKS)


@dataclass(frozen=True)
class Moment:
    """SQL expressions about a moment in a column.

    Attributes:
        given: whether the row has one.
        date: its day, if it is one without a time of day; else NULL.
        stamp: its time in µs since 1970, on the clocks that `offset` tells; NULL if it has none or cannot be read. It
            may be any BIGINT: see `near`.
        offset: of those clocks from UTC in µs; NULL for the clocks of the zone.
    """

    given: str
    date: str
    stamp: str
    offset: str


def moment(name: str, type_name: str, date_format: str) -> Moment:
    """How to read the column `name`, quoted as an identifier, of one of `MOMENT_TYPES` or, with epochs, of numbers."""
    given, wall = f"({name} IS NOT NULL)", "0" if date_format == UTC_CLOCKS else "NULL"
    if type_name == "DATE":
        return Moment(given, name, "NULL", "NULL")
    if type_name in _ZONED:
        return Moment(given, "NULL", f"epoch_us({name}::TIMESTAMPTZ)", "0")
    if type_name in _WALL:
        return Moment(given, "NULL", f"epoch_us({name}::TIMESTAMP)", wall)
    text = name if type_name == "VARCHAR" else f"({name}::VARCHAR)"
    given = f"({name} IS NOT NULL AND {text} <> '')"
    if date_format in EPOCHS:
        return Moment(given, "NULL", _epoch(text, EPOCHS[date_format]), "0")
    if date_format in DATE_FORMATS:
        return _iso(text, given, wall)
    return _by_pattern(text, given, date_format)


_TIMES = ((pa.timestamp("us"), "TIMESTAMP", 16), (pa.timestamp("us", "UTC"), "TIMESTAMP WITH TIME ZONE", 20))
"""Without an offset and with one: the type in Arrow and in DuckDB, and how long a text with minutes is at least."""


def as_times(column: pa.Array, date_format: str) -> tuple[pa.Array, str] | None:
    """The same moments as times, and their type for `moment`; None unless all are times of day as Arrow reads them.

    Arrow reads ISO 8601 several times faster than `moment` does. What it reads, that reads too and alike; but Arrow
    also takes times without minutes, which are shorter, and years that no log is about.
    """
    if date_format not in (ISO, UTC_CLOCKS) or column.null_count == len(column):
        return None
    shortest = pa.compute.min(pa.compute.binary_length(column)).as_py()
    for kind, name, least in _TIMES:
        if shortest >= least:
            with suppress(pa.ArrowInvalid):
                return pa.compute.cast(column, kind), name
    return None


def wall_time(zone: Zone, instant: str) -> str:
    """SQL: `Zone.wall_time` of the column `instant`."""
    return f"({instant} + {_step(instant, zone.starts, zone.offsets)})"


def instant(zone: Zone, wall: str) -> str:
    """SQL: `Zone.instant` of the column `wall`."""
    return f"({wall} - {_step(wall, zone.wall_starts, zone.offsets)})"


def near(stamp: str) -> str:
    """SQL: the stamp, or NULL if it lies so far off that arithmetic with it might overflow."""
    return f"CASE WHEN {stamp} BETWEEN {_FIRST} AND {_LAST} THEN {stamp} END"


def within_range(day: str) -> str:
    """SQL: the day, or NULL outside the years that a log may be about."""
    return f"CASE WHEN {day} BETWEEN DATE '1900-01-01' AND DATE '2200-12-31' THEN {day} END"


def validate_date_format(date_format: str) -> None:
    """Raise ValueError unless it is one of `DATE_FORMATS` or a pattern that tells a whole day."""
    if date_format in DATE_FORMATS:
        return
    wrong = f"date_format = {date_format!r}"
    letters = set(re.findall(r"%-?(.)", date_format))
    if not letters:
        raise ValueError(f"{wrong}: give {', '.join(DATE_FORMATS)}, or a pattern of strptime such as '%m/%d/%Y %H:%M'")
    if "Z" in letters:
        raise ValueError(
            f"{wrong}: %Z, the name of a zone, is not read; %z is (+0100), and a literal Z or UTC at the end"
        )
    dated = "j" in letters or ("d" in letters and letters & set("mbB"))
    if not (letters & set("Yy") and dated):
        raise ValueError(f"{wrong}: a day needs %Y, %m and %d, or what stands for them")
    try:
        duckdb.execute("SELECT try_strptime('', ?)", [date_format])
    except duckdb.Error as error:
        raise ValueError(f"{wrong}: {str(error).splitlines()[0]}") from None


def _iso(name: str, given: str, wall: str) -> Moment:
    """ISO 8601 and what databases write for it: a blank for the T, UTC for the Z, small letters, 20240131."""
    # A date is ISO exactly if it prints as itself: DuckDB's own cast also takes 2024/1/5.
    date = f"""CASE
        WHEN length({name}) = 10 AND TRY_CAST({name} AS DATE)::VARCHAR = {name} THEN TRY_CAST({name} AS DATE)
        WHEN length({name}) = 8 AND regexp_full_match({name}, '\\d{{8}}')
        THEN TRY_CAST(concat_ws('-', left({name}, 4), substr({name}, 5, 2), right({name}, 2)) AS DATE) END"""
    # The session's zone is UTC, so a time without an offset is counted as if it were in UTC. What DuckDB does not read
    # as it stands it reads without blanks and small letters.
    plain = f"left({name}, 10) || ' ' || replace(replace(upper(substr({name}, 12)), ' ', ''), 'UTC', 'Z')"
    stamp = f"""CASE WHEN length({name}) > 15 AND regexp_full_match({name}, '{_TIMED}')
        THEN epoch_us(COALESCE(TRY_CAST({name} AS TIMESTAMPTZ), TRY_CAST({plain} AS TIMESTAMPTZ))) END"""
    offset = f"""CASE WHEN {name} LIKE '%Z' THEN 0
        WHEN regexp_full_match(substr({name}, 17), '[0-9:.]*') THEN {wall} ELSE 0 END"""
    return Moment(given, date, stamp, offset)


def _epoch(name: str, unit: int) -> str:
    """µs since 1970 from a count of units, with or without a fraction."""
    digits = len(str(1_000_000 // unit)) - 1  # of a fraction that is a whole number of µs
    whole = f"TRY_CAST(split_part({name}, '.', 1) AS BIGINT) * {unit}"
    padded = f"rpad(left(split_part({name}, '.', 2), {6 - digits}), {6 - digits}, '0')"
    fraction = "0" if unit == 1 else f"COALESCE(TRY_CAST({padded} AS BIGINT), 0)"
    return f"""CASE WHEN regexp_full_match({name}, '-?\\d{{1,{12 + digits}}}(\\.\\d*)?')
        THEN {whole} + CASE WHEN left({name}, 1) = '-' THEN -1 ELSE 1 END * {fraction} END"""


def _by_pattern(name: str, given: str, pattern: str) -> Moment:
    """By a pattern of strptime; without a time of day it is a date."""
    # DuckDB also takes words such as epoch and infinity, whatever the pattern.
    parsed = f"CASE WHEN regexp_matches({name}, '[0-9]') THEN try_strptime({name}, {quoted(pattern)}) END"
    letters = set(re.findall(r"%-?(.)", pattern))
    if not letters & set("HIMSfgnpcTX"):
        return Moment(given, f"({parsed})::DATE", "NULL", "NULL")
    in_utc = "z" in letters or re.search(r"(?<!%)(Z|UTC|GMT)\s*$", pattern)
    return Moment(given, "NULL", f"epoch_us({parsed})", "0" if in_utc else "NULL")


def _step(name: str, starts: Sequence[int], values: Sequence[int]) -> str:
    """SQL: the value of a step function; a tree of comparisons, because a join would not keep the order of rows."""
    if not starts:
        return f"({values[0]})"
    middle = len(starts) // 2
    below = _step(name, starts[:middle], values[: middle + 1])
    above = _step(name, starts[middle + 1 :], values[middle + 1 :])
    return f"CASE WHEN {name} < {starts[middle]} THEN {below} ELSE {above} END"
