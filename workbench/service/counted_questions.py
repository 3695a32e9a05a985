"""What a day answers to the questions of a service: flows, calendar cells and segments; no database in here.

What answers mean is said in `dp.questions`; a test holds them to those of a whole log (`dp.presence.questions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from dp.arrays import Integers
from dp.names import FLOWS
from dp.presence.daily import EPOCH
from dp.presence.numpy_cells import beside_an_equal
from dp.presence.numpy_runs import sorted_unique
from dp.presence.numpy_segments import too_late
from dp.presence.questions import REACH
from dp.questions import Question
from workbench.service.labelled_days import Labelled, LabelRules

FLIPS = np.dtype([("user", "<u4"), ("question", "<u2"), ("segment", "<u4"), ("flips", "<u4")])
"""How often the presence of a user, by its place, has changed in a segment; an odd number says that it lasts."""

Flips = npt.NDArray[np.void]


@dataclass(frozen=True)
class CountedQuestion:
    """A question that days answer.

    Attributes:
        bound: after how many flips users are frozen; None where nobody is.
    """

    question: Question
    bound: int | None = None

    @property
    def remembers(self) -> bool:
        """Whether the answer depends on what was counted before."""
        return self.question.cell.kind == "flows" or self.bound is not None

    @property
    def by_activity(self) -> bool:
        """Whether segments are said by operations, so that a user may be in several."""
        return self.question.breakdown is not None and self.question.breakdown.kind != "fixed"

    @property
    def reach(self) -> int:
        """Days of the longest cell."""
        return self.question.cell.window or REACH[self.question.cell.kind]

    def length(self, tick: int) -> int:
        """How many days end with a tick that the cell then counts; 0 if it is not published then."""
        cell, day = self.question.cell, EPOCH + timedelta(days=tick)
        if cell.window is not None:
            return cell.window
        if cell.last_day(day) != day:
            return 0
        return 7 if cell.kind == "week" else day.day


@dataclass(frozen=True)
class Present:
    """Who is present where, each user and segment once, in the order of these.

    Attributes:
        users: places; shape (pairs,).
        segments: places; shape (pairs,).
    """

    users: Integers
    segments: Integers

    @classmethod
    def of(cls, users: Integers, segments: Integers) -> Present:
        """Each pair once."""
        keys = sorted_unique(users.astype(np.int64) << 32 | segments)
        return cls(keys >> 32, keys & 2**32 - 1)


def present_in(asked: CountedQuestion, rows: Labelled, rules: LabelRules, tick: int) -> Present:
    """Who is present in which segment at a tick, of a question by activity.

    Args:
        rows: in the order of user, age and label.
    """
    breakdown = asked.question.breakdown
    assert breakdown is not None
    ages = tick - rows["day"].astype(np.int64)
    rows = rows[ages < asked.length(tick)]
    segments = rules.codes.segments(breakdown, rows["label"])
    active = rows["last"] > 0
    if breakdown.kind == "any":
        active &= admitted(rows, segments, breakdown.most)
    rows, segments = rows[active], segments[active]
    users = rows["user"].astype(np.int64)
    if breakdown.kind == "last":
        latest = np.lexsort((-rows["last"].astype(np.int64), -rows["day"].astype(np.int64), users))
        chosen = latest[np.diff(users[latest], prepend=-1) != 0]
        users, segments = users[chosen], segments[chosen]
    return Present.of(users, segments)


def admitted(rows: Labelled, segments: Integers, most: int) -> npt.NDArray[np.bool_]:
    """Which rows are in one of the first segments to which their user-day was added, as many as may count."""
    days = rows["day"].astype(np.int64)
    user_days = rows["user"].astype(np.int64) << 32 | days - days.min(initial=0)
    # Most user-days have one row, so they go first.
    several = beside_an_equal(user_days)
    user_days, theirs = np.cumsum(np.diff(user_days[several], prepend=-1) != 0) - 1, segments[several]
    late = too_late(user_days, theirs, rows["first"][several].astype(np.int64), most)
    found = np.ones(len(rows), bool)
    if len(late):
        keys = user_days << 32 | theirs
        found[several] = ~np.isin(keys, keys[late])
    return found


@dataclass(frozen=True)
class TickAnswer:
    """What a tick answers to a question, and the flips so far of those who were ever present.

    Attributes:
        counts: of each series in the order of `Question.series`; shape (series,).
        flips: of this question, in the order of user and segment.
    """

    counts: Integers
    flips: Flips


def answer(asked: CountedQuestion, present: Present, before: Flips, place: int) -> TickAnswer:
    """What a tick answers, given who is present.

    Args:
        before: flips of this question up to the tick before, in the order of user and segment.
        place: of the question among those that remember.
    """
    question = asked.question
    segments = 1 if question.breakdown is None else question.breakdown.size
    if not asked.remembers:
        return TickAnswer(np.bincount(present.segments, minlength=segments), np.zeros(0, FLIPS))
    old = before["user"].astype(np.int64) << 32 | before["segment"]
    here = present.users << 32 | present.segments
    keys = sorted_unique(np.concatenate([old, here]))
    flips = np.zeros(len(keys), np.int64)
    flips[np.searchsorted(keys, old)] = before["flips"]
    was = flips % 2 == 1
    is_here = np.zeros(len(keys), bool)
    is_here[np.searchsorted(keys, here)] = True
    starts, ends = is_here & ~was, was & ~is_here
    if asked.bound is not None:
        if asked.by_activity:
            starts &= _within_shared(keys >> 32, flips, starts, asked.bound)
        else:
            starts, ends = starts & (flips < asked.bound), ends & (flips < asked.bound)
    of = keys & 2**32 - 1
    if question.cell.kind == "flows":
        moves = (starts & (flips == 0), starts & (flips > 0), ends)
        counts = np.concatenate([np.bincount(of[move], minlength=segments) for move in moves])
        assert len(moves) == len(FLOWS)
    flips += starts | ends
    if question.cell.kind != "flows":
        counts = np.bincount(of[flips % 2 == 1], minlength=segments)
    known = flips > 0
    after = np.zeros(np.count_nonzero(known), FLIPS)
    after["user"], after["segment"], after["flips"] = keys[known] >> 32, of[known], flips[known]
    after["question"] = place
    return TickAnswer(counts, after)


def _within_shared(
    users: Integers, flips: Integers, starts: npt.NDArray[np.bool_], bound: int
) -> npt.NDArray[np.bool_]:
    """Which starts count if the bound covers a start and its end, those of a user in the order of segments."""
    places = np.cumsum(np.diff(users, prepend=-1) != 0) - 1
    runs = np.bincount(places, weights=(flips + 1) // 2, minlength=1).astype(np.int64)
    begun = np.cumsum(starts)
    firsts = np.flatnonzero(np.diff(users, prepend=-1))
    before = (begun - starts)[firsts][places] if len(users) else begun
    within: npt.NDArray[np.bool_] = 2 * (runs[places] + begun - before) <= bound
    return within


def remembering(questions: Sequence[CountedQuestion]) -> dict[str, int]:
    """Name of each question that remembers → its place among them."""
    return {one.question.name: place for place, one in enumerate(one for one in questions if one.remembers)}
