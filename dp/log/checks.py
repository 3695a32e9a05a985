"""The SQL that parses and checks every row, whatever the format of its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import duckdb

from dp.log.columns import FIELDS
from dp.log.moments import Calendar, instant, moment, near, wall_time, within_range
from dp.log.sql import quoted

STAGED = '"user", op, day, arrival, clock'
"""The columns of a row that may be used."""

USER_FAULT = """CASE
        WHEN "user" IS NULL OR ("user" < '!' AND regexp_full_match("user", '\\s*')) THEN 'empty user'
        WHEN contains("user", chr(0)) THEN 'NUL byte in the user' END"""
"""SQL: what is wrong with the user of a row, or NULL. Blanks and what counts as such sort before '!'."""


def carried(fields: Sequence[str]) -> str:
    """SQL: what follows the columns of a row to carry those of segments along."""
    return "".join(f', "{field}"' for field in fields)


def staged(fields: Sequence[str]) -> str:
    """SQL: the columns of a row that may be used; a segment that is not said is NULL."""
    return STAGED + "".join(f", NULLIF(\"{field}\", '')" for field in fields)


def segment_faults(texts: Mapping[str, str]) -> list[str]:
    """SQL for each segment of a row: what is wrong with it, or NULL.

    Args:
        texts: from the SQL of each to what it is called.
    """
    return [
        f"CASE WHEN contains({text}, chr(0)) THEN {quoted(f'NUL byte in the {name}')} END"
        for text, name in texts.items()
    ]


class Types(NamedTuple):
    """The types of the columns that hold moments, as `dp.log.moments.moment` takes them."""

    day: str = "VARCHAR"
    at: str = "VARCHAR"


def raw_columns(expressions: Mapping[str, str], segments: Mapping[str, str]) -> str:
    """The select list of the relation `raw`: a column for each of `FIELDS`, NULL where the file has none, and `fault`.

    Args:
        expressions: from each field that the file has to the SQL of its column; those of user and segments are text.
        segments: from the fields of segments to what they are called.
    """
    parts = [f'{expressions.get(field, "NULL::VARCHAR")} AS "{field}"' for field in (*FIELDS, *segments)]
    faults = segment_faults({expressions[field]: name for field, name in segments.items()})
    return ", ".join([*parts, f"COALESCE({', '.join(['NULL::VARCHAR', *faults])}) AS fault"])


def checked_query(
    connection: duckdb.DuckDBPyConnection, raw: str, types: Types, calendar: Calendar, segments: Sequence[str] = ()
) -> str:
    """The query of `checked_rows`, made short: a zone has hundreds of offsets, and a log meets few of them."""
    if not calendar.zone.starts:
        return checked_rows(raw, types, calendar, segments)
    stamps = [moment(f'"{field}"', kind, calendar.date_format).stamp for field, kind in types._asdict().items()]
    first, last = connection.execute(
        f"SELECT MIN(LEAST(one, other)), MAX(GREATEST(one, other)) FROM (SELECT ({stamps[0]})::BIGINT AS one, "
        f"({stamps[1]})::BIGINT AS other FROM {raw})"
    ).fetchall()[0]
    zone = calendar.zone.between(first or 0, last or 0)
    return checked_rows(raw, types, replace(calendar, zone=zone), segments)


def checked_rows(raw: str, types: Types, calendar: Calendar, segments: Sequence[str] = ()) -> str:
    """The query that parses and checks every row.

    Args:
        raw: a relation with the columns number, user, day, op, at and fault.
        types: of the columns day and at.
        calendar: how moments are written, and where days begin.
        segments: fields of segments, which `raw` has too and which go along.

    Returns:
        SQL whose columns are number, user, op (1, -1, 0), day, arrival, clock (when the row arrived in µs, NULL if it
        does not say at what time), the texts op_text, day_text and at_text as they were, and fault: what is wrong with
        the row, or NULL.
    """
    day, at = moment('"day"', types.day, calendar.date_format), moment('"at"', types.at, calendar.date_format)
    zone, expected = calendar.zone, "', " + calendar.expected.replace("'", "''") + "'"
    # Times of day matter for the order of arrival only, hence only where `at` carries them. Never the clock of the day
    # column: where no `at` is given rows arrive as they stand, and whether they do must not depend on the rows of
    # other users.
    return f"""
    WITH parsed AS (
        SELECT number, "user", op AS op_text, "day" AS day_text, "at" AS at_text, fault,
            CASE WHEN op IS NULL OR op IN ('', '+') THEN 1 WHEN op = '-' THEN -1 WHEN op = 'erase' THEN 0
            END::TINYINT AS op,
            {day.given} AS day_given, {at.given} AS at_given, {day.date} AS day_date, {at.date} AS at_date,
            ({day.stamp})::BIGINT AS day_stamp, ({at.stamp})::BIGINT AS at_stamp,
            ({day.offset})::BIGINT AS day_offset, ({at.offset})::BIGINT AS at_offset{carried(segments)}
        FROM {raw}
    ), bounded AS (
        SELECT * EXCLUDE (day_stamp, at_stamp), {near("day_stamp")} AS day_stamp, {near("at_stamp")} AS at_stamp
        FROM parsed
    ), timed AS (
        SELECT *, day_stamp - day_offset AS day_instant, at_stamp - at_offset AS at_instant,
            CASE WHEN day_offset IS NULL THEN day_stamp END AS day_wall,
            CASE WHEN at_offset IS NULL THEN at_stamp END AS at_wall
        FROM bounded
    ), dated AS (
        SELECT *, COALESCE(at_instant, {instant(zone, "at_wall")}) AS clock,
            COALESCE(day_date, make_timestamp(COALESCE(day_wall, {wall_time(zone, "day_instant")}))::DATE) AS any_day,
            COALESCE(at_date, make_timestamp(COALESCE(at_wall, {wall_time(zone, "at_instant")}))::DATE) AS any_arrival
        FROM timed
    ), ranged AS (
        SELECT *, {within_range("any_day")} AS day, {within_range("any_arrival")} AS arrival FROM dated
    )
    SELECT number, "user", op, day, COALESCE(arrival, day) AS arrival, clock,
        op_text, day_text, at_text{carried(segments)}, COALESCE(fault, {USER_FAULT}, CASE
        WHEN op IS NULL THEN 'unknown op ' || {_excerpt("op_text")} || ', expected +, - or erase'
        WHEN day IS NULL AND day_given THEN 'unparseable day ' || {_excerpt("day_text")} || {expected}
        WHEN arrival IS NULL AND at_given THEN 'unparseable at ' || {_excerpt("at_text")} || {expected}
        WHEN op <> 0 AND day IS NULL THEN 'no day'
        WHEN op = 0 AND day IS NULL AND arrival IS NULL THEN 'an erase needs an at: the day it arrived'
        WHEN op = 0 AND day <> arrival THEN 'an erase takes no day besides its at'
        WHEN arrival < day THEN 'at ' || arrival || ' is before day ' || day
        END) AS fault
    FROM ranged"""


def _excerpt(column: str) -> str:
    """SQL: a value in quotes, cut to a length that suits a message."""
    return f"'''' || left({column}::VARCHAR, 40) || ''''"
