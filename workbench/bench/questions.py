"""What segments cost: three windows without them, beside all questions of a dashboard with them, in processor time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import duckdb
import numpy as np
import pyarrow as pa

from dp.log import Log
from dp.names import METRICS
from dp.presence import NumpyEngine, count_questions
from dp.presence.daily import day_number
from dp.questions import Breakdown, Cell, Question, rolling
from experiments.engine.population import START
from workbench.bench.data import DELETE_SHARE, ERASE_SHARE
from workbench.rows import TableRow

REPEATS = 3


def bench_questions(events: int, users: int, days: int, segments: int, seed: int) -> list[TableRow]:
    """One row: counting alone, of a log in memory, the fastest of some repeats; reading is not part of it.

    Every event has one of the segments; every other retraction says which, the rest take back the whole day. The
    questions are DAU, WAU and MAU in total, by the segments of each user-day (any:2) and by the last one, the flows of
    MAU, and weeks.

    The row has the sizes, `windows_cpu_seconds` (three windows, without segments), `questions`, `series`,
    `questions_cpu_seconds` and `ratio`.

    Raises:
        ValueError: fewer than 3 segments.
    """
    if segments < 3:
        raise ValueError(f"segments = {segments}: must be at least 3")
    questions = _questions(segments)
    last = START + timedelta(days=days - 1)
    with _log(events, users, days, segments, seed) as log, duckdb.connect() as plain:
        rows = log.connection.sql("SELECT user_id, day, o.at, seq, op FROM operations AS o").to_arrow_table()
        plain.register("rows", rows)
        plain.execute("CREATE TABLE operations AS FROM rows")
        windows = _fastest(lambda: NumpyEngine(plain).daily_flips([*METRICS.values()], START, last))
        answers = _fastest(lambda: count_questions(log, questions, START, last))
    return [
        {
            "events": events,
            "users": users,
            "days": days,
            "segments": segments,
            "windows_cpu_seconds": round(windows, 3),
            "questions": len(questions),
            "series": sum(len(question.series) for question in questions),
            "questions_cpu_seconds": round(answers, 3),
            "ratio": round(answers / windows, 2),
        }
    ]


def _questions(segments: int) -> list[Question]:
    listed = (tuple(f"v{segment}" for segment in range(segments - 1)),)
    windows = [rolling(*one) for one in METRICS.items()]
    totals: list[Cell] = [*windows, Cell("flows", "mau", METRICS["mau"]), Cell("week", "week")]
    breakdowns = (Breakdown("any", "any", ("v",), listed, most=2), Breakdown("last", "last", ("v",), listed))
    return [
        *(Question(cell) for cell in totals),
        *(Question(window, breakdown) for breakdown in breakdowns for window in windows),
    ]


def _log(events: int, users: int, days: int, segments: int, seed: int) -> Log:
    """Rows in order of arrival, in the shares of `workbench.bench.data`."""
    rng = np.random.default_rng(seed)
    taken_back = int(events * DELETE_SHARE)
    added = events - taken_back
    user, day, segment = (rng.integers(0, below, added) for below in (users, days, segments))
    which = rng.integers(0, added, taken_back)
    at = np.concatenate([day, np.minimum(day[which] + rng.geometric(0.2, taken_back), days - 1)])
    label = np.concatenate([segment, np.where(rng.random(taken_back) < 0.5, segment[which], segments)])
    op = np.where(np.arange(events) < added, 1, -1)
    op[rng.random(events) < ERASE_SHARE] = 0
    order = np.argsort(at, kind="stable")
    origin = day_number(START)
    columns = {
        "user_id": np.concatenate([user, user[which]])[order].astype(np.int32),
        "day": (np.concatenate([day, day[which]])[order] + origin).astype(np.int32),
        "at": (at[order] + origin).astype(np.int32),
        "seq": np.arange(events),
        "op": op[order].astype(np.int8),
        "label": label[order].astype(np.int32),
    }
    connection = duckdb.connect()
    connection.register("rows", pa.table(columns))
    connection.execute("CREATE TABLE operations AS SELECT * REPLACE (CASE WHEN op <> 0 THEN day END AS day) FROM rows")
    connection.execute(
        "CREATE TABLE labels AS SELECT range::INTEGER AS label, CASE WHEN range < ? THEN 'v' || range END AS v "
        "FROM range(?)",
        [segments, segments + 1],
    )
    last = START + timedelta(days=days - 1)
    return Log(connection, events, events, 0, START, last, users, segments=("v",))


def _fastest(work: Callable[[], object]) -> float:
    """The least processor time in seconds of some repeats."""
    found = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)
