"""Bringing users up to a day: which days each was present on, and how often that changed; no database in here.

A user is one record: the pseudonym, the latest days as bits, and the flips spent in every window that has a W_BOUND.
The day that is folded is bit 0, the day before it bit 1, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.service.counted_questions import CountedQuestion, remembering
from workbench.service.labelled_days import LabelRules
from workbench.service.labels import NO_LABELS, LabelCodes
from workbench.service.operations import ADD, ERASE, RETRACT
from workbench.service.packing import NAME, Names, Records, put_names

WORD = 64

Users = npt.NDArray[np.void]


@dataclass(frozen=True)
class Count:
    """Users present at one tick in one window; NOT PRIVATE.

    Attributes:
        truth: all of them.
        bounded: with every user frozen after the flip bound, where there is one.
    """

    truth: int
    bounded: int

    def __add__(self, other: Count) -> Count:
        return Count(self.truth + other.truth, self.bounded + other.bounded)


@dataclass(frozen=True)
class RecordLayout:
    """What a user's record holds.

    Attributes:
        days: how many days are remembered, the folded one included.
        windows: those whose flips are counted, in ascending order.
        codes: what is remembered of segments, day by day.
        slots: whether it matters in which order a user-day was first added to under its labels.
        questions: names of those whose flips are counted by segment, in their order.
    """

    days: int
    windows: tuple[int, ...]
    codes: LabelCodes = NO_LABELS
    slots: bool = False
    questions: tuple[str, ...] = ()

    @classmethod
    def needed(
        cls, bounds: Mapping[int, int | None], fresh_days: int, asked: Sequence[CountedQuestion] = ()
    ) -> RecordLayout:
        """What windows need, of which those without a bound freeze nobody, questions, and fresh releases of so many
        past days."""
        breakdowns = [one.question.breakdown for one in asked if one.by_activity]
        return cls(
            max(max(bounds) + fresh_days, *(one.reach for one in asked), 1),
            tuple(sorted(window for window in bounds if bounds[window] is not None)),
            LabelCodes.of(one for one in breakdowns if one is not None),
            any(one is not None and one.kind == "any" for one in breakdowns),
            tuple(remembering(asked)),
        )

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> RecordLayout:
        """What `dataclasses.asdict` wrote, after JSON; older ones know nothing of questions."""
        codes = LabelCodes.from_plain(plain["codes"]) if "codes" in plain else NO_LABELS
        questions = tuple(plain.get("questions", ()))
        return cls(plain["days"], tuple(plain["windows"]), codes, plain.get("slots", False), questions)

    @property
    def words(self) -> int:
        """How many words of 64 bits the days take."""
        return -(-self.days // WORD)

    @cached_property
    def label_rules(self) -> LabelRules | None:
        """What is kept of labels; None where nothing is."""
        return LabelRules(self.codes, self.days, self.slots) if self.codes.columns else None

    @property
    def dtype(self) -> np.dtype[np.void]:
        """One user."""
        return np.dtype([*NAME, ("days", "<u8", (self.words,)), ("spent", "<u4", (len(self.windows),))])

    def take(self, users: Users, other: RecordLayout) -> Users:
        """Users of another layout in this one: days that it does not remember and windows that it does not have go."""
        if self.dtype == other.dtype and self.windows == other.windows:
            return users
        mine = np.zeros(len(users), self.dtype)
        put_names(mine, users)
        words = min(self.words, other.words)
        mine["days"][:, :words] = users["days"][:, :words]
        for index, window in enumerate(self.windows):
            if window in other.windows:
                mine["spent"][:, index] = users["spent"][:, other.windows.index(window)]
        return mine


def by_name(named: Names) -> npt.NDArray[np.intp]:
    """The stable order by pseudonym. The first half decides, except for once in about 10⁵ stores of 10⁷ users."""
    order = np.argsort(named["high"], kind="stable")
    high, low = named["high"][order], named["low"][order]
    tied = high[1:] == high[:-1]
    return np.lexsort((named["low"], named["high"])) if (low[1:] != low[:-1])[tied].any() else order


def first_of_each(named: Names) -> npt.NDArray[np.bool_]:
    """Which of sorted pseudonyms are the first of their kind."""
    high, low = named["high"], named["low"]
    new = np.ones(len(named), bool)
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    return new


@dataclass(frozen=True)
class Folded:
    """Users once operations have counted, and where they come from.

    Attributes:
        users: sorted by pseudonym.
        old: the place of each that was known before.
        due: the operations, in the order of users.
        owners: the place of the user of each operation.
    """

    users: Users
    old: npt.NDArray[np.intp]
    due: Records
    owners: npt.NDArray[np.intp]


def fold(users: Users, due: Records, layout: RecordLayout, tick: int, shift: int) -> Folded:
    """Users as they stand once the operations that are due have counted.

    Args:
        users: as they stood `shift` days before, sorted by pseudonym.
        due: in the order in which they count: by tick, then by arrival.
        layout: of users.
        tick: the day that is folded.
    """
    due = due[by_name(due)]
    starts = np.flatnonzero(first_of_each(due))
    lengths = np.diff(starts, append=len(due))
    folded, old, new = _merged(users, due[starts], layout)
    folded["days"][old] = shifted(users["days"], shift)
    folded["spent"][old] = users["spent"]
    if len(due):
        place = np.arange(len(due))
        erased = np.maximum.reduceat(np.where(due["op"] == ERASE, place, -1), starts)
        folded["days"][new[erased >= 0]] = 0
        age = tick - due["day"].astype(np.int64)
        counts = (place > np.repeat(erased, lengths)) & (age >= 0) & (age < layout.days)
        # Where an index comes twice the last assignment stands: the last write of a user about a day wins.
        written = np.zeros((len(starts), layout.words * WORD), np.int8)
        written[np.repeat(np.arange(len(starts)), lengths)[counts], age[counts]] = due["op"][counts]
        folded["days"][new] = (folded["days"][new] & ~_bits(written == RETRACT)) | _bits(written == ADD)
    folded["days"] &= words_of(0, layout.days, layout.words)
    return Folded(folded, old, due, np.repeat(new, lengths))


def count(users: Users, layout: RecordLayout, bounds: Mapping[int, int | None]) -> dict[int, Count]:
    """Window → users present in it; whoever came or left since the last time has spent one more flip, in `users`."""
    counts = {}
    for window, bound in bounds.items():
        present = within(users, layout, 0, window)
        truth = bounded = int(np.count_nonzero(present))
        if bound is not None:
            spent = users["spent"][:, layout.windows.index(window)]
            spent += (spent % 2 == 1) != present
            # Frozen after w flips: absent for even w, present for odd.
            bounded = int(np.count_nonzero(np.minimum(spent, bound) % 2))
        counts[window] = Count(truth, bounded)
    return counts


def within(users: Users, layout: RecordLayout, age: int, window: int) -> npt.NDArray[np.bool_]:
    """Who was present on one of the `window` days that end `age` days before the folded one."""
    wanted: npt.NDArray[np.uint64] = users["days"] & words_of(age, age + window, layout.words)
    found: npt.NDArray[np.bool_] = np.any(wanted, axis=1)
    return found


def shifted(days: npt.NDArray[np.uint64], by: int) -> npt.NDArray[np.uint64]:
    """(n, words) days as they are `by` days later."""
    older = np.zeros_like(days)
    words, bits = divmod(by, WORD)
    for word in range(words, days.shape[1]):
        older[:, word] = days[:, word - words] << np.uint64(bits)
        if bits and word > words:
            older[:, word] |= days[:, word - words - 1] >> np.uint64(WORD - bits)
    return older


def words_of(start: int, stop: int, words: int) -> npt.NDArray[np.uint64]:
    """The words in which the bits from `start` to before `stop` are set."""
    bits = (1 << stop) - (1 << start)
    return np.array([bits >> WORD * word & (1 << WORD) - 1 for word in range(words)], np.uint64)


def _merged(
    users: Users, named: Names, layout: RecordLayout
) -> tuple[Users, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Blank records of all of both, sorted, and where each of the one and of the other is among them."""
    names = np.zeros(len(users) + len(named), NAME)
    put_names(names[: len(users)], users)
    put_names(names[len(users) :], named)
    order = by_name(names)
    names = names[order]
    new = first_of_each(names)
    place = np.empty(len(names), np.intp)
    place[order] = np.cumsum(new) - 1
    merged = np.zeros(np.count_nonzero(new), layout.dtype)
    put_names(merged, names[new])
    return merged, place[: len(users)], place[len(users) :]


def _bits(days: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    return np.packbits(days, axis=1, bitorder="little").view("<u8")
