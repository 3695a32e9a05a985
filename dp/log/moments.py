"""How days and times are written: SQL that reads a column of them."""

from dataclasses import dataclass

from dp.log.sql import quoted

TIMESTAMP_TYPES = {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}
MOMENT_TYPES = {"VARCHAR", "DATE", "TIMESTAMP WITH TIME ZONE", *TIMESTAMP_TYPES}
"""The types of column that `moment` can read."""
SPELLING = "expected YYYY-MM-DD or an ISO 8601 timestamp, 1900 to 2200"
NO_CLOCK = "NULL::BIGINT"

_TIME = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
_OFFSET = r"(Z|[+-]\d{2}(:?\d{2})?)"


@dataclass(frozen=True)
class Moment:
    """SQL expressions about a day or a time in a column.

    Attributes:
        given: whether the row has one.
        date: its calendar day; NULL if it cannot be read or lies outside 1900 to 2200.
        clock: its instant in µs since 1970; NULL for a date without a time of day.
    """

    given: str
    date: str
    clock: str


def moment(name: str, type_name: str, timezone: str) -> Moment:
    """How to read the column `name`, quoted as an identifier, of one of `MOMENT_TYPES`.

    Times with an offset are converted to `timezone`; times without one are wall-clock times there.
    """
    zone = quoted(timezone)
    given = f"({name} IS NOT NULL)"
    if type_name == "DATE":
        return Moment(given, _within_range(name), NO_CLOCK)
    if type_name == "VARCHAR":
        return _moment_in_text(name, zone)
    if type_name == "TIMESTAMP WITH TIME ZONE":
        return Moment(given, _within_range(f"({name} AT TIME ZONE {zone})::DATE"), f"epoch_us({name})")
    return Moment(given, _within_range(f"{name}::DATE"), f"epoch_us({name}::TIMESTAMP AT TIME ZONE {zone})")


def _moment_in_text(name: str, zone: str) -> Moment:
    pure = f"length({name}) = 10"
    timed = f"regexp_full_match({name}, '\\d{{4}}-\\d\\d-\\d\\d[ T]{_TIME}{_OFFSET}?')"
    offset = f"regexp_matches(substr({name}, 17), '[Z+-]')"
    instant, wall = f"TRY_CAST({name} AS TIMESTAMPTZ)", f"TRY_CAST({name} AS TIMESTAMP)"
    # A date is ISO exactly if it prints as itself: DuckDB's own cast also takes 2024/1/5.
    day = f"""CASE WHEN {pure} AND TRY_CAST({name} AS DATE)::VARCHAR = {name} THEN TRY_CAST({name} AS DATE)
        WHEN {pure} OR NOT {timed} THEN NULL
        WHEN {offset} THEN ({instant} AT TIME ZONE {zone})::DATE ELSE {wall}::DATE END"""
    clock = f"""CASE WHEN {pure} OR NOT {timed} THEN NULL
        WHEN {offset} THEN epoch_us({instant}) ELSE epoch_us({wall} AT TIME ZONE {zone}) END"""
    return Moment(f"({name} IS NOT NULL AND {name} <> '')", _within_range(day), clock)


def _within_range(day: str) -> str:
    return f"CASE WHEN ({day}) BETWEEN DATE '1900-01-01' AND DATE '2200-12-31' THEN ({day}) END"
