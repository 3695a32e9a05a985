"""The SQL that parses and checks every row, whatever the format of its file."""

from collections.abc import Mapping

from dp.log.columns import FIELDS
from dp.log.moments import NO_CLOCK, SPELLING, moment


def raw_columns(expressions: Mapping[str, str]) -> str:
    """The select list of the relation `raw`: a column for each of `FIELDS`, NULL where the file has none, and `fault`.

    Args:
        expressions: from each field that the file has to the SQL of its column.
    """
    parts = [f'{expressions.get(field, "NULL::VARCHAR")} AS "{field}"' for field in FIELDS]
    parts[0] = f'({expressions["user"]})::VARCHAR AS "user"'
    return ", ".join([*parts, "NULL::VARCHAR AS fault"])


def checked_rows(day_type: str, at_type: str, timezone: str) -> str:
    """The SELECT over raw(user, day, op, at, fault) that parses and checks every row.

    Args:
        day_type: type of the column day, one of `dp.log.moments.MOMENT_TYPES`.
        at_type: type of the column at, one of the same.
        timezone: where wall-clock times are read and days begin.

    Returns:
        SQL whose columns are user, op (1, -1, 0), day, arrival, clock (µs, NULL for a pure date), timed (whether the
        row says at what time it arrived), and fault: what is wrong with the row, or NULL.
    """
    day, at = moment('"day"', day_type, timezone), moment('"at"', at_type, timezone)
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
            WHEN op IS NULL THEN 'unknown op ' || {_excerpt("op_text")} || ', expected +, - or erase'
            WHEN day IS NULL AND day_given THEN 'unparseable day ' || {_excerpt("day_text")} || ', {SPELLING}'
            WHEN arrival IS NULL AND at_given THEN 'unparseable at ' || {_excerpt("at_text")} || ', {SPELLING}'
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


def _excerpt(column: str) -> str:
    """SQL: a value in quotes, cut to a length that suits a message."""
    return f"'''' || left({column}::VARCHAR, 40) || ''''"
