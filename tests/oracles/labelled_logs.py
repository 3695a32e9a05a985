"""Logs with segments in memory, from lists of what was written, and streams of them."""

from collections.abc import Sequence
from dataclasses import replace

import duckdb
from hypothesis import strategies as st

from dp.log import Log
from tests.oracles.logs import day, log_of
from tests.oracles.presence import Operation
from tests.oracles.questions import Label, Written

COLUMNS = ("platform", "country")
PLATFORMS = (None, "ios", "android", "palm")
COUNTRIES = (None, "GB", "DE")
# From 1970-01-19, a Monday, on: weeks end on days 24, 31, …, months on days 30 and 58.
DAYS = range(18, 60)


def labelled_log_of(
    rows: Sequence[Written], connection: duckdb.DuckDBPyConnection, columns: Sequence[str] = COLUMNS
) -> Log:
    """A log in memory, as read_log would make it from a file with these rows and segment columns."""
    log = log_of([Operation(*row[:4]) for row in rows], connection)
    labels = sorted({row.label for row in rows}, key=str)
    connection.execute(
        "CREATE OR REPLACE TABLE operations AS SELECT o.*, l.label FROM operations AS o "
        "JOIN (SELECT unnest(?::BIGINT[]) AS seq, unnest(?::INTEGER[]) AS label) AS l ON l.seq = o.seq",
        [list(range(len(rows))), [labels.index(row.label) for row in rows]],
    )
    values = [[label[place] for label in labels] for place in range(len(columns))]
    listed = "".join(f', unnest(?::VARCHAR[]) AS "{column}"' for column in columns)
    connection.execute(
        f"CREATE OR REPLACE TABLE labels AS SELECT unnest(?::INTEGER[]) AS label{listed}",
        [list(range(len(labels))), *values],
    )
    return replace(log, first_day=day(DAYS[0]), last_day=day(DAYS[-1]), segments=tuple(columns))


@st.composite
def written(draw: st.DrawFn, users: str = "ab", size: int = 24) -> list[Written]:
    """Adds, retractions with labels, with parts of them and without, erasures, re-adds, late and tied arrivals."""
    # Most things happen on a few days and under a few labels, so that what is written there meets.
    days = draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=6, unique=True))
    labels = draw(st.lists(st.tuples(st.sampled_from(PLATFORMS), st.sampled_from(COUNTRIES)), min_size=1, max_size=4))
    rows = []
    for _ in range(draw(st.integers(1, size))):
        op = draw(st.sampled_from(("+", "+", "+", "+", "-", "-", "erase")))
        about, label = draw(st.sampled_from(days)), draw(st.sampled_from(labels))
        if op == "-":
            label = draw(st.sampled_from((label, (None, None), (label[0], None), (None, label[1]))))
        at = about + draw(st.sampled_from((0, 0, 0, 0, 1, 2, 7)))
        rows.append(Written(draw(st.sampled_from(users)), None if op == "erase" else about, op, at, label))
    return rows


def dense(label_of: dict[int, Label], users: str = "ab") -> list[Written]:
    """Users who are active every day, under labels that change as the table says."""
    labels: list[Label] = []
    for about in DAYS:
        labels.append(label_of.get(about, labels[-1] if labels else (None, None)))
    by_day = list(zip(DAYS, labels, strict=True))
    return [Written(user, about, "+", about, label) for about, label in by_day for user in users]
