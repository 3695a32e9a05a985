"""Answers of a service, day by day, against the slow replay of everything that arrived, and against broken twins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import Phase, example, find, given
from hypothesis import strategies as st

from dp.questions import Question, rolling
from tests.examples import examples
from tests.oracles import questions as oracle
from tests.oracles.labelled_logs import COLUMNS, dense, written
from tests.oracles.question_cases import BREAKDOWNS, CELLS
from tests.oracles.question_twins import TWINS
from tests.oracles.questions import Label, Written
from workbench.service.counted_questions import CountedQuestion
from workbench.service.folding import RecordLayout
from workbench.service.labels import LabelCodes
from workbench.service.operations import OPS
from workbench.service.packing import NEVER, RECORD, Records
from workbench.service.roster import Packed, Roster

BOUNDS = (None, 2, 3, 4, 6)
BY_ACTIVITY = tuple(one for one in BREAKDOWNS if one is None or one.kind != "fixed")
QUESTIONS = tuple(Question(cell, breakdown) for breakdown in BY_ACTIVITY for cell in CELLS)
CODES = LabelCodes.of(breakdown for breakdown in BY_ACTIVITY if breakdown is not None)
USERS = "abcd"


def records_of(rows: Sequence[Written], codes: LabelCodes = CODES) -> Records:
    """Operations as they lie in a batch; a user's pseudonym is the letter, so that parts and order are plain."""
    records = np.zeros(len(rows), RECORD)
    for place, row in enumerate(rows):
        said = {column: value for column, value in zip(COLUMNS, row.label, strict=True) if value is not None}
        label = 0 if row.op == "erase" else codes.code_of(said)
        about = NEVER if row.day is None else row.day
        records[place] = (ord(row.user) << 56, 0, place, about, OPS[row.op], label)
    return records


def unlisted_alike(rows: Sequence[Written]) -> list[Written]:
    """What a store knows of rows: values that no breakdown lists are one."""
    listed = dict(zip(CODES.columns, CODES.listed, strict=True))

    def known(label: Label) -> Label:
        return tuple(
            value if value is None or value in listed[column] else "unlisted"
            for column, value in zip(COLUMNS, label, strict=True)
        )

    return [row._replace(label=known(row.label)) for row in rows]


def answered(
    rows: Sequence[Written], asked: Sequence[CountedQuestion], first: int, last: int, *, parts: int = 1, warm: int = 60
) -> dict[str, list[list[int]]]:
    """Answers when every day is folded on the one before, and users lie in parts meanwhile.

    Args:
        warm: so many days before the first tick are folded, too.
    """
    layout = RecordLayout.needed({30: None}, 0, asked)
    roster, tick = Roster.empty(layout), first - warm
    counts: dict[str, list[list[int]]] = {one.question.name: [] for one in asked}
    while tick <= last:
        due = [row for row in rows if row.at == tick]
        roster = roster.folded(records_of(due), layout, tick, 1)
        if tick == first:
            roster = roster.counted_anew()
        if tick >= first:
            found, roster = roster.answered(asked, layout, tick)
            for name, values in found.items():
                counts[name].append(values.tolist())
        roster = stored(roster.remembered(), layout, parts)
        tick += 1
    lengths = {one.question.name: len(one.question.series) for one in asked}
    return {
        name: [list(one) for one in zip(*values, strict=True)] or [[]] * lengths[name]
        for name, values in counts.items()
    }


def stored(roster: Roster, layout: RecordLayout, parts: int) -> Roster:
    """The roster as it comes back from a store in which its users lie in so many parts."""
    users = roster.users["high"] >> np.uint64(56)
    part_of = np.sort((users % np.uint64(parts)).astype(np.int64)) if parts > 1 else np.zeros(len(users), np.int64)
    packed = [part.packed() for _, part in roster.parts(part_of)]
    return Roster.unpacked([Packed(*map(bytes, one)) for one in packed], layout)


def right(
    rows: Sequence[Written], asked: Sequence[CountedQuestion], first: int, last: int
) -> dict[str, list[list[int]]]:
    return {
        one.question.name: oracle.answer(rows, one.question, first, last, columns=COLUMNS, w_bound=one.bound)
        for one in asked
    }


@given(
    rows=written(users=USERS), first=st.integers(14, 50), length=st.integers(0, 45), w_bound=st.sampled_from(BOUNDS),
    parts=st.sampled_from((1, 2, 4)),
)  # fmt: skip
@example(rows=dense({18: ("ios", "GB"), 30: ("android", "GB"), 31: ("palm", None)}), first=18, length=41, w_bound=None,
         parts=1)  # fmt: skip
@pytest.mark.slow
@examples(40)
def test_days_one_by_one_answer_what_the_replay_of_all_answers(
    rows: list[Written], first: int, length: int, w_bound: int | None, parts: int
) -> None:
    rows, asked = unlisted_alike(rows), [CountedQuestion(question, w_bound) for question in QUESTIONS]
    counts = answered(rows, asked, first, first + length, parts=parts)
    replayed = right(rows, asked, first, first + length)
    for one in asked:
        assert counts[one.question.name] == replayed[one.question.name], one.question.name


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.slow
def test_a_broken_twin_is_told_apart(monkeypatch: pytest.MonkeyPatch, twin: str) -> None:
    name, broken, question, w_bound = TWINS[twin]
    monkeypatch.setattr(oracle, name, broken, raising=False)
    # Of totals only those depend on labels that are counted beside a breakdown.
    asked = [CountedQuestion(question, w_bound), CountedQuestion(Question(rolling("dau", 1), BY_ACTIVITY[1]))]

    def told_apart(rows: list[Written]) -> bool:
        rows = unlisted_alike(rows)
        return answered(rows, asked, 18, 60, warm=20) != right(rows, asked, 18, 60)

    # None where no stream tells it from what is right.
    assert find(written(), told_apart, settings=examples(500, phases=[Phase.generate]))
