"""The operations of a log that is loaded, in parts: all at once would take more memory than the log."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dp.log import Log
from dp.presence.daily import day_number
from dp.progress import Progress
from workbench.service import Operation, Service
from workbench.service.labels import LabelCodes
from workbench.service.loading import Loading
from workbench.service.packing import NAME, NEVER, Arriving, Names

ROWS_AT_ONCE = 50_000
ROWS_SORTED = 1_000_000


def pseudonyms(log: Log, loading: Loading) -> Names | None:
    """The pseudonym of each user of a log, by user_id; None if one of them is no user id."""
    with log.connection.cursor() as cursor:
        row = cursor.execute("SELECT COALESCE(MAX(user_id), 0) FROM users").fetchone()
        found = np.zeros((row[0] if row else 0) + 1, NAME)
        cursor.execute('SELECT user_id, "user" FROM users')
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            places, users = zip(*rows, strict=True)
            names = loading.names(users)
            if names is None:
                return None
            found[list(places)] = names
    return found


def all_plain(log: Log, users: Names, labels: npt.NDArray[np.uint32], service: Service, report: Progress) -> bool:
    """Whether no row of a log can be wrong."""
    today, total = day_number(service.today()), log.rows_used
    for number, columns in enumerate(columns_in_order(log, users, labels, 0)):
        report("checking", number * ROWS_AT_ONCE / total)
        if not service.loading.plain(columns, today):
            return False
    return True


def label_numbers(log: Log, codes: LabelCodes) -> npt.NDArray[np.uint32]:
    """What each label of a log is to the store, by its number there."""
    if not log.segments:
        return np.zeros(1, np.uint32)
    names = ", ".join(f'"{column}"' for column in log.segments)
    rows = log.connection.execute(f"SELECT {names} FROM labels ORDER BY label").fetchall()
    said = [
        {column: value for column, value in zip(log.segments, row, strict=True) if value is not None} for row in rows
    ]
    return np.array([codes.code_of(segments) for segments in said] or [0], np.uint32)


def columns_in_order(log: Log, users: Names, labels: npt.NDArray[np.uint32], skip: int) -> Iterator[Arriving]:
    """The operations of a log in the order of arrival, without the first `skip`.

    Args:
        users: pseudonym of each user, by user_id.
        labels: what each label is to the store, by its number in the log.
    """
    label = "o.label" if log.segments else "0"
    query = (
        f"SELECT o.user_id, o.day, o.op, o.at, {label} AS label FROM operations AS o WHERE o.at BETWEEN ? AND ? "
        "ORDER BY o.at, o.seq OFFSET ?"
    )
    for first, last, rows in _spans(log):
        with log.connection.cursor() as cursor:
            found = cursor.sql(query, params=[first, last, min(skip, rows)])
            for batch in found.to_arrow_reader(ROWS_AT_ONCE):
                user, day, op, at, said = (
                    column.fill_null(NEVER if name in ("day", "at") else 0).to_numpy(zero_copy_only=False)
                    for name, column in zip(batch.schema.names, batch.columns, strict=True)
                )
                named = np.where(op == 0, 0, labels[said]).astype(np.uint32)
                yield Arriving(users[user], day.astype(np.int64), op.astype(np.int8), at.astype(np.int64), named)
        skip = max(0, skip - rows)


def _spans(log: Log) -> list[tuple[int, int, int]]:
    """(first, last, rows) of spans of days of arrival, as long as one sort should take: all at once take more memory
    than the log."""
    spans: list[tuple[int, int, int]] = []
    for day, rows in log.connection.execute(
        'SELECT "at", COUNT(*) FROM operations GROUP BY ALL ORDER BY ALL'
    ).fetchall():
        if spans and spans[-1][2] + rows <= ROWS_SORTED:
            spans[-1] = (spans[-1][0], day, spans[-1][2] + rows)
        else:
            spans.append((day, day, rows))
    return spans


def operations_in_order(log: Log) -> Iterator[Operation]:
    """The operations of a log in the order of arrival."""
    with log.connection.cursor() as cursor:
        cursor.execute(
            'SELECT u."user", o.day, o.op, o.at FROM operations AS o JOIN users AS u USING (user_id) '
            "ORDER BY o.at, o.seq"
        )
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield from (Operation(*row) for row in rows)
