"""Attributes of users, from a table of users beside the log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from dp.log.bad_rows import BadRows
from dp.log.columns import UNLISTED, validate_columns
from dp.log.files import LogFile
from dp.log.formats import format_of
from dp.log.log import LogError
from dp.log.moments import Calendar
from dp.log.staging import Reading, create_staged
from dp.progress import silent
from dp.zones import zone_named

_ONE_DAY = {"day": "2000-01-01", "op": "+", "at": None}
"""A table of users is read as a log in which everybody is active on one day: by the same rules, with the same words."""


@dataclass(frozen=True, eq=False)
class Attributes:
    """What is known of users whatever they do, such as the country at sign-up.

    Attributes:
        table: a row for each user: `user` and a column of text for each attribute, null where it is not known.
    """

    table: pa.Table

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the attributes."""
        return tuple(name for name in self.table.column_names if name != "user")


def read_attributes(path: str | Path, columns: Sequence[str]) -> Attributes:
    """Read a table of users: a file in any format of a log, with a column `user` and those asked for.

    A user may stand in several rows that say the same. What is empty or missing in a row is not known of its user.

    Args:
        path: of one file.
        columns: the names of the attributes.

    Raises:
        LogError: a file that cannot be read, a column that is not there, a bad row, or a user of whom two rows say
            different things.
        ValueError: a column that is called like one of a log.
    """
    validate_columns({}, columns)
    file = LogFile(Path(path), {UNLISTED + name: value for name, value in _ONE_DAY.items()})
    form = format_of([file], "auto")
    with duckdb.connect() as connection:
        with BadRows(None, form.unit, name_files=False) as bad_rows:
            named = {name: UNLISTED + name for name in _ONE_DAY}
            reading = Reading(connection, named, Calendar(zone_named("UTC")), None, bad_rows, silent, tuple(columns))
            create_staged(reading)
            try:
                rows = form.stage(reading, file)
            except LogError as error:
                # No option gives its columns other names.
                raise LogError(re.sub(r" for a segment| \(another name: .*?\)", "", str(error))) from None
            bad_rows.refuse(str(file), rows, advice="")
        _refuse_contradictions(reading, file)
        fields = ", ".join(['"user"', *reading.segment_names])
        table = connection.sql(f"SELECT DISTINCT {fields} FROM staged").to_arrow_table()
    texts = [column.cast(pa.string()) for column in table.columns]
    return Attributes(pa.table(texts, names=["user", *columns]))


def _refuse_contradictions(reading: Reading, file: LogFile) -> None:
    """Raise LogError if two rows of one user differ. It names rows, because an error may be read by others."""
    differ = " OR ".join(f"s.{field} IS DISTINCT FROM f.{field}" for field in reading.segment_names)
    found = reading.connection.execute(
        'WITH firsts AS (SELECT "user", MIN(rowid) AS place FROM staged GROUP BY "user") '
        'SELECT f.rowid + 1, s.rowid + 1 FROM staged AS s JOIN firsts USING ("user") JOIN staged AS f '
        f"ON f.rowid = firsts.place WHERE {differ or 'false'} ORDER BY s.rowid LIMIT 1"
    ).fetchall()
    for first, second in found:
        raise LogError(
            f"{file}: row {first} and row {second} say different things of one user; an attribute has one value. "
            "Rows count from 1, without header and blank lines"
        )
