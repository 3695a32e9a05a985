"""Answers to questions against the slow replay, and against broken twins of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import Phase, example, find, given
from hypothesis import strategies as st

from dp.log import Attributes, Log
from dp.presence import DuckDBEngine, NumpyEngine, compact
from dp.presence.numpy_cells import BatchSizes
from dp.presence.questions import count_questions
from dp.presence.tombstones import Tombstones
from dp.questions import Breakdown, Question, rolling
from tests.examples import examples
from tests.laws import each
from tests.oracles import questions as oracle
from tests.oracles.labelled_logs import COLUMNS, dense, labelled_log_of, written
from tests.oracles.logs import day, log_of
from tests.oracles.presence import Operation
from tests.oracles.question_cases import BREAKDOWNS, CELLS
from tests.oracles.question_twins import TWINS
from tests.oracles.questions import Written

BOUNDS = (None, 1, 2, 3, 4)
QUESTIONS = [Question(cell, breakdown) for breakdown in BREAKDOWNS for cell in CELLS]
ATTRIBUTES = {"a": {"plan": "paid", "city": "x"}, "b": {"plan": "free", "city": "y"}, "c": {"plan": "gold"}}
TABLE = Attributes(
    pa.table(
        {
            "user": list(ATTRIBUTES),
            "plan": [of.get("plan") for of in ATTRIBUTES.values()],
            "city": [of.get("city") for of in ATTRIBUTES.values()],
        }
    )
)
SMALL = BatchSizes(rows=5, piece=3, word=8)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def found(
    log: Log, questions: Sequence[Question], first: int, last: int, w_bound: int | None, sizes: BatchSizes | None = None
) -> dict[str, list[list[int]]]:
    counts = count_questions(log, questions, day(first), day(last), w_bound=w_bound, attributes=TABLE, sizes=sizes)
    for question in questions:
        assert counts[question.name].shape == (len(question.series), len(question.cell.days(day(first), day(last))))
    return {name: values.tolist() for name, values in counts.items()}


def right(
    rows: Sequence[Written], questions: Sequence[Question], first: int, last: int, w_bound: int | None
) -> dict[str, list[list[int]]]:
    return {
        question.name: oracle.answer(
            rows, question, first, last, columns=COLUMNS, attributes=ATTRIBUTES, w_bound=w_bound
        )
        for question in questions
    }


@given(
    rows=written(users="abz"),
    first=st.integers(14, 50),
    length=st.integers(0, 45),
    w_bound=st.sampled_from(BOUNDS),
    sizes=st.sampled_from((None, SMALL)),
)
@example(rows=dense({18: ("ios", "GB"), 30: ("android", "GB"), 31: ("palm", None)}), first=18, length=41, w_bound=None,
         sizes=None)  # fmt: skip
@pytest.mark.slow
@examples(40)
def test_all_questions_in_one_pass_equal_the_replay(
    connection: duckdb.DuckDBPyConnection,
    rows: list[Written],
    first: int,
    length: int,
    w_bound: int | None,
    sizes: BatchSizes | None,
) -> None:
    log = labelled_log_of(rows, connection)
    counts = found(log, QUESTIONS, first, first + length, w_bound, sizes)
    replayed = right(rows, QUESTIONS, first, first + length, w_bound)
    for question in QUESTIONS:
        assert counts[question.name] == replayed[question.name], question.name


@given(
    rows=written(users="abz"),
    first=st.integers(14, 50),
    length=st.integers(0, 45),
    w_bound=st.sampled_from((None, 2)),
    asked=st.lists(st.sampled_from(QUESTIONS), min_size=1, max_size=3, unique=True),
)
@example(rows=dense({18: ("ios", "GB"), 30: ("android", "GB"), 31: ("palm", None)}), first=18, length=41, w_bound=None,
         asked=[Question(rolling("mau", 30), BREAKDOWNS[-2])])  # fmt: skip
@pytest.mark.slow
@examples(25)
def test_an_answer_does_not_depend_on_what_else_is_asked(
    connection: duckdb.DuckDBPyConnection,
    rows: list[Written],
    first: int,
    length: int,
    w_bound: int | None,
    asked: list[Question],
) -> None:
    """Windows are counted in another way where nobody asks for flows, and where nobody is frozen."""
    log = labelled_log_of(rows, connection)
    alone, beside = (found(log, questions, first, first + length, w_bound) for questions in (asked, QUESTIONS))
    assert alone == {name: beside[name] for name in alone}


# Broken twins: the law must tell each of them from what is right.


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.slow
def test_a_broken_twin_is_told_apart(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, twin: str
) -> None:
    name, broken, question, w_bound = TWINS[twin]
    monkeypatch.setattr(oracle, name, broken, raising=False)

    def told_apart(rows: list[Written]) -> bool:
        counts = found(labelled_log_of(rows, connection), [question], 18, 60, w_bound)
        return counts != right(rows, [question], 18, 60, w_bound)

    # None where no stream tells it from what is right.
    assert find(written(), told_apart, settings=examples(500, phases=[Phase.generate]))


# What is refused, and logs that have nothing to count.


@each(
    ("questions", "options", "message"),
    [
        ([], {}, r"questions = \(none\)"),
        ([Question(CELLS[0])] * 2, {}, "questions = dau, dau: give one or more of different names"),
        ([Question(CELLS[0], BREAKDOWNS[1])], {"attributes": None}, "attributes have no column 'plan'.*have none"),
        ([Question(CELLS[0], Breakdown("x", "fixed", ("x",), (("y",),)))], {}, "no column 'x'.*have plan, city"),
        ([Question(CELLS[0], Breakdown("x", "last", ("x",), (("y",),)))], {}, "no segment column 'x'.*segments = "),
        ([Question(CELLS[0])], {"tombstones": Tombstones(day(3), {})}, "tombstones = those of 1970-01-04"),
        ([Question(CELLS[0])], {"w_bound": 0}, "w_bound = 0"),
        ([Question(CELLS[0])], {"last": day(0)}, "first = 1970-01-19 is after last = 1970-01-01"),
        ([Question(rolling("x", 40_000))], {}, "window = 40000"),
    ],
)
def test_a_wrong_question_is_refused(
    connection: duckdb.DuckDBPyConnection, questions: list[Question], options: dict[str, Any], message: str
) -> None:
    log = labelled_log_of([Written("a", 18, "+", 18, ("ios", None))], connection)
    with pytest.raises(ValueError, match=message):
        count_questions(log, questions, **{"first": day(18), "last": day(20), "attributes": TABLE, **options})


def test_a_log_without_rows_and_ticks_without_a_cell_have_counts_of_the_right_shape(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    for rows in ([], [Written("a", 18, "+", 18, ("ios", "GB"))]):
        counts = found(labelled_log_of(rows, connection), QUESTIONS, 18, 20, None)
        assert counts["month"] == [[]]
        assert counts["week/platform"] == [[], [], []]
        assert counts["wau"] == [[len(rows)] * 3]


def test_a_log_without_segments_answers_totals_and_what_is_fixed(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [Operation("a", 18, "+", 18), Operation("b", 19, "+", 19), Operation("a", 18, "-", 19)]
    log = log_of(rows, connection)
    asked = [Question(cell, breakdown) for breakdown in BREAKDOWNS[:3] for cell in CELLS]
    assert found(log, asked, 18, 40, 2) == right([Written(*row, (None, None)) for row in rows], asked, 18, 40, 2)


# Engines and compactions of logs with segments.


@given(rows=written(), window=st.sampled_from((1, 7, 30)), w_bound=st.sampled_from(BOUNDS))
@examples(6)
def test_the_engine_counts_totals_of_a_log_with_segments(
    connection: duckdb.DuckDBPyConnection, rows: list[Written], window: int, w_bound: int | None
) -> None:
    question = Question(rolling("some", window))
    engine = NumpyEngine(labelled_log_of(rows, connection).connection)
    counts = engine.daily_flips([window], day(18), day(60), w_bound)[window].counts.values
    assert [counts.tolist()] == right(rows, [question], 18, 60, w_bound)["some"]


def test_engines_that_run_the_text_refuse_segments(connection: duckdb.DuckDBPyConnection) -> None:
    log = labelled_log_of([Written("a", 18, "+", 18, ("ios", None))], connection)
    with pytest.raises(ValueError, match="which only the engine numpy counts"):
        DuckDBEngine(log.connection).daily_flips([1], day(18), day(19))


@given(rows=written(), through=st.integers(18, 60), w_bound=st.sampled_from((2, 3)))
@pytest.mark.slow
@examples(15)
def test_a_compaction_carries_segments_along(rows: list[Written], through: int, w_bound: int) -> None:
    key, first, last = b"sixteen bytes or more", day(18), day(70)
    with labelled_log_of(rows, duckdb.connect()) as log:
        full = NumpyEngine(log.connection).daily_flips([1, 30], first, last, w_bound)
        small, left = compact(log, day(through), {first: [1, 30]}, key)
        asked = [Question(cell, breakdown) for breakdown in BREAKDOWNS for cell in CELLS if cell.kind == "rolling"]
        answers = found(log, asked, 18, 70, None)
    with small:
        assert small.segments == COLUMNS
        kept = NumpyEngine(small.connection, left, key).daily_flips([1, 30], first, last, w_bound)
        fewer = found(small, asked, 18, 70, None)
    since = through - 18 + 1
    for window in (1, 30):
        assert kept[window].counts.values[since:].tolist() == full[window].counts.values[since:].tolist()
    for name, series in answers.items():
        assert [values[since:] for values in fewer[name]] == [values[since:] for values in series], name
