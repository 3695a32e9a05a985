"""Under which labels users were active on which days: one row for each user, day and label; no database in here.

The last write wins for each label of a user-day. A retraction covers every label that says what it says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dp.arrays import Integers
from dp.presence.numpy_cells import beside_an_equal
from dp.presence.numpy_runs import positions_within
from workbench.service.labels import LabelCodes
from workbench.service.operations import ADD, ERASE, RETRACT
from workbench.service.packing import Records

LABELLED = np.dtype([("user", "<u4"), ("day", "<i4"), ("label", "<u4"), ("first", "<u4"), ("last", "<u4")])
"""A user by its place, a day, and a label; among those of the user-day in which order it was added to for the first and
for the last time, from 1. `last` is 0 where it was taken back."""

Labelled = npt.NDArray[np.void]


@dataclass(frozen=True)
class LabelRules:
    """What is kept of labels.

    Attributes:
        codes: what labels say.
        days: how many days are remembered, the folded one included.
        slots: whether it matters in which order a user-day was first added to under its labels, taken back or not.
    """

    codes: LabelCodes
    days: int
    slots: bool

    @property
    def _age_bits(self) -> int:
        return (self.days - 1).bit_length()

    @property
    def _label_bits(self) -> int:
        return (len(self.codes) - 1).bit_length()

    def keys(self, users: Integers, ages: Integers, labels: Integers) -> Integers:
        """User, age of the day and label in one number each."""
        return (users << self._age_bits | ages) << self._label_bits | labels

    def user_days(self, keys: Integers) -> Integers:
        """The same without the label."""
        return keys >> self._label_bits

    def unpacked(self, keys: Integers) -> tuple[Integers, Integers, Integers]:
        """User, age and label."""
        user_days = self.user_days(keys)
        ages = user_days & (1 << self._age_bits) - 1
        return user_days >> self._age_bits, ages, keys & (1 << self._label_bits) - 1


def fold_labels(rows: Labelled, due: Records, users: Integers, rules: LabelRules, tick: int) -> Labelled:
    """Rows as they stand once the operations that are due have counted, in the order of user, age and label.

    Args:
        rows: as they stood before.
        due: in the order in which they count.
        users: place of the user of each operation.
        tick: the day that is folded.
    """
    kept = tick - rows["day"].astype(np.int64) < rules.days
    rows = rows[kept]
    before = int(max(rows["first"].max(initial=0), rows["last"].max(initial=0)))
    places = before + 1 + np.arange(len(due))
    ages = tick - due["day"].astype(np.int64)
    counts = (ages >= 0) & (ages < rules.days)
    keys = rules.keys(users, np.where(counts, ages, 0), due["label"].astype(np.int64))
    added = counts & (due["op"] == ADD)
    old = rules.keys(rows["user"].astype(np.int64), tick - rows["day"].astype(np.int64), rows["label"].astype(np.int64))
    cells, first, last = _merged(
        np.concatenate([old, keys[added]]),
        np.concatenate([rows["first"], places[added]]).astype(np.int64),
        np.concatenate([rows["last"], places[added]]).astype(np.int64),
    )
    erased = due["op"] == ERASE
    owners, _, labels = rules.unpacked(cells)
    _take_back(last, owners, users[erased], places[erased])
    retracted = np.flatnonzero(counts & (due["op"] == RETRACT))
    said = rules.codes.projections(due["label"][retracted])
    for columns in np.unique(said).tolist():
        some = retracted[said == columns]
        covered = cells - labels + rules.codes.projected(labels, columns)
        _take_back(last, covered, keys[some], places[some])
    if not rules.slots:
        present = last > 0
        cells, first, last = cells[present], first[present], last[present]
    return _rows(cells, first, last, rules, tick)


def merged(rows: Labelled, rules: LabelRules, tick: int) -> Labelled:
    """Rows in their order, of which several may be of one label: they become one."""
    ages = tick - rows["day"].astype(np.int64)
    keys = rules.keys(rows["user"].astype(np.int64), ages, rows["label"].astype(np.int64))
    return _rows(*_merged(keys, rows["first"].astype(np.int64), rows["last"].astype(np.int64)), rules, tick)


def _merged(keys: Integers, first: Integers, last: Integers) -> tuple[Integers, Integers, Integers]:
    """Each key once, ascending, with the least first and the greatest last place of its kind."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    if not len(starts):
        return keys, first, last
    return keys[starts], np.minimum.reduceat(first[order], starts), np.maximum.reduceat(last[order], starts)


def _take_back(last: Integers, groups: Integers, taken: Integers, places: Integers) -> None:
    """Set to 0 what a later event of its group takes back.

    Args:
        last: place of the last addition of each row.
        groups: of each row.
        taken: group of each event, in the order of `places`, which ascend.
    """
    if not len(taken):
        return
    order = np.argsort(taken, kind="stable")
    ends = np.flatnonzero(np.diff(taken[order], append=-1))
    known, latest = taken[order][ends], places[order][ends]
    at = np.minimum(np.searchsorted(known, groups), len(known) - 1)
    last[(known[at] == groups) & (latest[at] > last)] = 0


def _rows(cells: Integers, first: Integers, last: Integers, rules: LabelRules, tick: int) -> Labelled:
    """Rows with places from 1 on within their user-days, so that they never grow large."""
    user_days = rules.user_days(cells)
    first, last = ranks(user_days, first), np.where(last > 0, ranks(user_days, last), 0)
    users, ages, labels = rules.unpacked(cells)
    rows = np.zeros(len(cells), LABELLED)
    rows["user"], rows["day"], rows["label"], rows["first"], rows["last"] = users, tick - ages, labels, first, last
    return rows


def ranks(groups: Integers, places: Integers) -> Integers:
    """The rank of each place within its group, from 1; groups ascend."""
    found = np.ones(len(groups), np.int64)
    several = beside_an_equal(groups)
    order = several[np.lexsort((places[several], groups[several]))]
    found[order] = positions_within(groups[order])
    return found


def days_of(rows: Labelled, tick: int, days: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The days of users as bits: a user is active on a day under any label.

    Args:
        days: of the same shape, (users, words).
    """
    found = np.zeros_like(days)
    active = rows[rows["last"] > 0]
    ages = (tick - active["day"].astype(np.int64)).astype(np.uint64)
    places = active["user"].astype(np.int64) * found.shape[1] + (ages >> np.uint64(6)).astype(np.int64)
    np.bitwise_or.at(found.reshape(-1), places, np.uint64(1) << (ages & np.uint64(63)))
    return found


def unlabelled(days: npt.NDArray[np.uint64], tick: int) -> Labelled:
    """Rows that say nothing of segments, of users of whom only days are known as bits, shape (users, words)."""
    bits = np.unpackbits(np.ascontiguousarray(days).view(np.uint8), axis=1, bitorder="little")
    users, ages = np.nonzero(bits)
    rows = np.zeros(len(users), LABELLED)
    rows["user"], rows["day"], rows["first"], rows["last"] = users, tick - ages, 1, 1
    return rows
