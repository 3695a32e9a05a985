"""Broken twins of the replay of questions: a law that is worth something tells each of them from what is right."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence

from dp.questions import Breakdown, Cell, Question, rolling
from tests.oracles import questions as oracle
from tests.oracles.questions import Written

PLATFORM = ("ios", "android")


def freed_by_a_retraction(operations: Sequence[Written], about: int, tick: int) -> list[Written]:
    """Only additions that still stand take a place."""
    standing = {one.label for one in oracle.active_at(operations, tick) if one.day == about}
    return [one for one in ADDITIONS(operations, about, tick) if one.label in standing]


def freed_by_an_erasure(operations: Sequence[Written], about: int, tick: int) -> list[Written]:
    """An erasure makes room for other segments."""
    rows = [row for _, row in oracle.arrived(operations, tick)]
    erased = max((place for place, row in enumerate(rows) if row.op == "erase"), default=-1)
    return [row for row in rows[erased + 1 :] if row.op == "+" and row.day == about]


def by_arrival_only(seen: Sequence[oracle.Active], key: object) -> oracle.Active:
    """A late report of an old day counts as the last activity."""
    return max(seen, key=lambda one: one.place)


def by_day_only(seen: Sequence[oracle.Active], key: object) -> oracle.Active:
    """The first segment of a day stays the last one."""
    return max(seen, key=lambda one: (one.day, -one.place))


def revised(operations: Sequence[Written], tick: int) -> list[oracle.Active]:
    """What arrives in the week after still counts."""
    return ACTIVE_AT(operations, tick + 7)


def ending_after_the_bound(
    present: oracle.Presence, question: Question, w_bound: int | None
) -> dict[str | None, list[tuple[int, int, int]]]:
    """A run counts if the bound covers its start: a user may freeze while present in two places."""
    breakdown = question.breakdown
    assert breakdown is not None
    return KEPT_RUNS(present, Question(question.cell, dataclasses.replace(breakdown, kind="fixed")), w_bound)


def in_each_segment(
    present: oracle.Presence, question: Question, w_bound: int | None
) -> dict[str | None, list[tuple[int, int, int]]]:
    """Every segment has a bound of its own."""
    assert question.breakdown is not None
    alone = {
        segment: KEPT_RUNS([now & {segment} for now in present], question, w_bound)[segment]
        for segment in question.breakdown.segments
    }
    return {**alone}


ADDITIONS, ACTIVE_AT, KEPT_RUNS = oracle.additions, oracle.active_at, oracle.kept_runs
ANY, LAST = (Breakdown("platform", kind, ("platform",), (PLATFORM,)) for kind in ("any", "last"))
TWINS: dict[str, tuple[str, object, Question, int | None]] = {
    "a retraction frees a place": ("additions", freed_by_a_retraction, Question(rolling("wau", 7), ANY), None),
    "an erasure frees a place": ("additions", freed_by_an_erasure, Question(rolling("wau", 7), ANY), None),
    "last by arrival": ("max", by_arrival_only, Question(rolling("mau", 30), LAST), None),
    "last by day": ("max", by_day_only, Question(rolling("dau", 1), LAST), None),
    "a week is revised": ("active_at", revised, Question(Cell("week", "week")), None),
    "a run without its end": ("kept_runs", ending_after_the_bound, Question(rolling("wau", 7), ANY), 3),
    "a bound for each segment": ("kept_runs", in_each_segment, Question(Cell("flows", "wau", 7), LAST), 2),
    "- takes only the unlabelled": ("covers", operator.eq, Question(rolling("mau", 30)), None),
    "- takes the whole day": ("covers", lambda *labels: True, Question(rolling("mau", 30)), None),
}  # fmt: skip
"""What is wrong → the function to exchange, what for, and a question and a W_BOUND that tell."""
