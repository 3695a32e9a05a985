"""Answers to questions: cells of time by breakdowns, all in one pass over a log.

What they mean is replayed slowly in `tests/oracles/questions.py`; the tests hold these answers to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute

from dp.arrays import Integers
from dp.log import Attributes, Log
from dp.presence.daily import NO_BOUND, Horizon
from dp.presence.labels import Labels, read_labels, segment_places
from dp.presence.numpy_cells import BatchSizes, labelled_days
from dp.presence.question_counter import QuestionCounter
from dp.presence.tombstones import Tombstones
from dp.progress import Progress, silent
from dp.questions import Breakdown, Question

REACH = {"week": 7, "month": 31}
"""Days of the longest cell of each kind of the calendar."""


def count_questions(
    log: Log,
    questions: Sequence[Question],
    first: date,
    last: date,
    *,
    w_bound: int | None = None,
    attributes: Attributes | None = None,
    tombstones: Tombstones | None = None,
    sizes: BatchSizes | None = None,
    progress: Progress = silent,
) -> dict[str, Integers]:
    """The counts of every question at its days among the ticks `first` .. `last`.

    Args:
        log: has the columns of every breakdown of kind any or last among its segments.
        questions: one or more, of different names.
        w_bound: each user is frozen after so many flips. Without a breakdown, or by a fixed one, that is as in
            `Engine.daily_flips`. Of kind any and last, a user's runs in all segments are numbered together, in the
            order of start and segment, and a run counts if the bound covers its start and its end.
        attributes: of the users; needed by breakdowns of kind fixed.
        tombstones: refused, because they do not know in which segments erased users had been.
        sizes: how much is in memory at once.
        progress: called with a stage and the fraction done.

    Returns:
        The name of each question -> its counts, shape (series, days), series in the order of `Question.series` and
        days in that of `Cell.days`.

    Raises:
        ValueError: a question twice or none, a breakdown whose columns are missing, tombstones; or see `Horizon`.
    """
    _validate(log, questions, attributes, tombstones)
    reach = max(question.cell.window or REACH[question.cell.kind] for question in questions)
    horizon = Horizon((reach,), first, last, w_bound)
    bound = NO_BOUND if w_bound is None else w_bound
    with log.connection.cursor() as cursor:
        labels = read_labels(cursor)
        counters = {
            breakdown: QuestionCounter.of(
                breakdown,
                [question.cell for question in questions if question.breakdown == breakdown],
                horizon,
                _segment_of(breakdown, cursor, labels, attributes),
            )
            for breakdown in dict.fromkeys(question.breakdown for question in questions)
        }
        for part in labelled_days(cursor, horizon, labels, sizes, progress):
            for counter in counters.values():
                counter.add(part, bound)
    return {question.name: counters[question.breakdown].answer(question.cell) for question in questions}


def _validate(
    log: Log, questions: Sequence[Question], attributes: Attributes | None, tombstones: Tombstones | None
) -> None:
    names = [question.name for question in questions]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"questions = {', '.join(names) or '(none)'}: give one or more of different names")
    if tombstones is not None:
        raise ValueError(
            f"tombstones = those of {tombstones.through}: they do not say in which segments erased users had been, nor "
            "who was there before, so questions are answered from a log that was never compacted"
        )
    known = () if attributes is None else attributes.columns
    for breakdown in filter(None, (question.breakdown for question in questions)):
        fixed = breakdown.kind == "fixed"
        missing = [column for column in breakdown.columns if column not in (known if fixed else log.segments)]
        if missing and fixed:
            raise ValueError(
                f"attributes have no column {', '.join(map(repr, missing))} for the fixed breakdown "
                f"{breakdown.name!r}; they have {', '.join(known) or 'none'}"
            )
        if missing:
            raise ValueError(
                f"log has no segment column {', '.join(map(repr, missing))} for the breakdown {breakdown.name!r}: read "
                f"it with segments = {list(breakdown.columns)}"
            )


def _segment_of(
    breakdown: Breakdown | None, cursor: duckdb.DuckDBPyConnection, labels: Labels, attributes: Attributes | None
) -> Integers:
    """The place of a segment among those of the breakdown: of each user id where it is fixed, else of each label."""
    if breakdown is None:
        return np.zeros(1, dtype=np.int64)
    if breakdown.kind != "fixed" or attributes is None:
        return labels.segments(breakdown)
    known = cursor.sql('SELECT user_id, "user" FROM users').to_arrow_table()
    table = {name: attributes.table[name].combine_chunks() for name in ("user", *breakdown.columns)}
    rows = pa.compute.index_in(known["user"].combine_chunks().cast(pa.string()), table["user"])
    ids = known["user_id"].to_numpy()
    places = np.full(int(ids.max(initial=-1)) + 1, breakdown.size - 1)
    places[ids] = segment_places(breakdown, {column: table[column].take(rows) for column in breakdown.columns})
    return places
