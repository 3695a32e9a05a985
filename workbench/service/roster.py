"""Users as a store knows them at the end of a day, with their labelled days and their flips by segment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dp.arrays import Integers
from workbench.service.counted_questions import FLIPS, CountedQuestion, Flips, Present, answer, present_in, remembering
from workbench.service.folding import RecordLayout, Users, by_name, fold, within
from workbench.service.labelled_days import LABELLED, Labelled, days_of, fold_labels, merged, unlabelled
from workbench.service.packing import Records

Kept = npt.NDArray[np.bool_]


class Packed(NamedTuple):
    """A roster as bytes, as it lies in a store."""

    users: bytes
    labels: bytes
    flips: bytes


@dataclass(frozen=True)
class Roster:
    """Users, sorted by pseudonym, and what is known of each.

    Attributes:
        users: days and flips by window.
        labels: in the order of user, day from the latest, and label; users by their places.
        flips: of questions that remember, by segment, in the order of question, user and segment.
    """

    users: Users
    labels: Labelled
    flips: Flips

    @classmethod
    def empty(cls, layout: RecordLayout) -> Roster:
        """Nobody."""
        return cls(np.zeros(0, layout.dtype), np.zeros(0, LABELLED), np.zeros(0, FLIPS))

    @classmethod
    def unpacked(cls, found: Sequence[Packed], layout: RecordLayout) -> Roster:
        """Rosters that lie one after the other, in a layout, as one."""
        rosters = [
            cls(*(np.frombuffer(*pair) for pair in zip(one, (layout.dtype, LABELLED, FLIPS), strict=True)))
            for one in found
        ]
        return cls._joined(rosters) if rosters else cls.empty(layout)

    @classmethod
    def _joined(cls, rosters: Sequence[Roster]) -> Roster:
        starts = [0, *accumulate(len(one.users) for one in rosters)]
        moved = [
            one.renumbered(np.arange(start, stop)) for one, (start, stop) in zip(rosters, pairwise(starts), strict=True)
        ]
        whole = cls(*(np.concatenate([getattr(one, field) for one in moved]) for field in ("users", "labels", "flips")))
        order = np.argsort(whole.flips["question"], kind="stable")
        return replace(whole, flips=whole.flips[order])

    def packed(self) -> Packed:
        """As bytes."""
        return Packed(self.users.tobytes(), self.labels.tobytes(), self.flips.tobytes())

    def renumbered(self, places: npt.NDArray[np.intp]) -> Roster:
        """The same users at other places, given for each."""
        labels, flips = self.labels.copy(), self.flips.copy()
        labels["user"], flips["user"] = places[self.labels["user"]], places[self.flips["user"]]
        return Roster(self.users, labels, flips)

    def some(self, kept: Kept) -> Roster:
        """Some of the users, in their order."""
        if kept.all():
            return self
        places = np.cumsum(kept) - 1
        labels, flips = self.labels[kept[self.labels["user"]]], self.flips[kept[self.flips["user"]]]
        return replace(Roster(self.users, labels, flips).renumbered(places), users=self.users[kept])

    def between(self, start: int, stop: int) -> Roster:
        """The users from one place to before another."""
        low, high = np.searchsorted(self.labels["user"], [start, stop])
        flips = self.flips[(self.flips["user"] >= start) & (self.flips["user"] < stop)]
        labels, flips = self.labels[low:high].copy(), flips.copy()
        labels["user"] -= np.uint32(start)
        flips["user"] -= np.uint32(start)
        return Roster(self.users[start:stop], labels, flips)

    def sorted(self) -> Roster:
        """The same in the order of pseudonyms, which may have changed."""
        order = by_name(self.users)
        places = np.empty(len(order), np.intp)
        places[order] = np.arange(len(order))
        moved = self.renumbered(places)
        labels = moved.labels[np.argsort(moved.labels["user"], kind="stable")]
        flips = moved.flips[np.lexsort((moved.flips["segment"], moved.flips["user"], moved.flips["question"]))]
        return Roster(self.users[order], labels, flips)

    def remembered(self) -> Roster:
        """Users of whom something has to be known: a day, a flip, or under which labels a day was reported."""
        kept = np.zeros(len(self.users), bool)
        kept[self.users["days"].any(axis=1) | self.users["spent"].any(axis=1)] = True
        kept[self.labels["user"]] = True
        kept[self.flips["user"]] = True
        return self.some(kept)

    def absent(self, leaves: npt.NDArray[np.bool_], *, slots: bool) -> Roster:
        """The same, but some are present on no day; what they have spent stays.

        Args:
            slots: whether it stays under which labels their days were reported.
        """
        if not leaves.any():
            return self
        users, labels = self.users.copy(), self.labels.copy()
        users["days"][leaves] = 0
        gone = leaves[labels["user"]]
        labels["last"][gone] = 0
        return Roster(users, labels if slots else labels[~gone], self.flips)

    def taken(self, layout: RecordLayout, other: RecordLayout, tick: int) -> Roster:
        """The same in a layout, from another one; `tick` is the day at which they stand.

        Flips by segment go where the questions differ, which is where they are counted anew.
        """
        if layout == other:
            return self
        flips = self.flips if layout.questions == other.questions else np.zeros(0, FLIPS)
        rules, labels = layout.label_rules, np.zeros(0, LABELLED)
        if rules is not None and other.label_rules is None:
            labels = unlabelled(self.users["days"], tick)
        elif rules is not None:
            labels = self.labels.copy()
            labels["label"] = layout.codes.translated(labels["label"], other.codes)
        if rules is not None:
            labels = merged(labels[tick - labels["day"].astype(np.int64) < layout.days], rules, tick)
        return Roster(layout.take(self.users, other), labels, flips)

    def folded(self, due: Records, layout: RecordLayout, tick: int, shift: int) -> Roster:
        """The same once operations have counted; see `folding.fold`."""
        found = fold(self.users, due, layout, tick, shift)
        moved = self.renumbered(found.old)
        if layout.label_rules is None:
            return replace(moved, users=found.users)
        labels = fold_labels(moved.labels, found.due, found.owners.astype(np.int64), layout.label_rules, tick)
        found.users["days"] = days_of(labels, tick, found.users["days"])
        return Roster(found.users, labels, moved.flips)

    def counted_anew(self) -> Roster:
        """The same, with no flip spent."""
        self.users["spent"] = 0
        return replace(self, flips=np.zeros(0, FLIPS))

    def answered(
        self, asked: Sequence[CountedQuestion], layout: RecordLayout, tick: int
    ) -> tuple[dict[str, Integers], Roster]:
        """What the day answers to questions that are published on it, and the users with the flips that it brought."""
        places, answers = remembering(asked), dict[str, Integers]()
        flips = [self.flips[self.flips["question"] == place] for place in places.values()]
        for one in asked:
            if not (length := one.length(tick)):
                continue
            name = one.question.name
            place = places.get(name)
            before = np.zeros(0, FLIPS) if place is None else flips[place]
            found = answer(one, self._present(one, layout, tick, length), before, place or 0)
            answers[name] = found.counts
            if place is not None:
                flips[place] = found.flips
        return answers, replace(self, flips=np.concatenate([np.zeros(0, FLIPS), *flips]))

    def _present(self, asked: CountedQuestion, layout: RecordLayout, tick: int, length: int) -> Present:
        if asked.by_activity:
            assert layout.label_rules is not None
            return present_in(asked, self.labels, layout.label_rules, tick)
        users = np.flatnonzero(within(self.users, layout, 0, length)).astype(np.int64)
        return Present(users, np.zeros(len(users), np.int64))

    def parts(self, part_of: Integers) -> Iterator[tuple[int, Roster]]:
        """The users by the part in which they are to lie, given for each, ascending."""
        starts = np.flatnonzero(np.diff(part_of, prepend=-1)).tolist()
        for start, stop in pairwise([*starts, len(part_of)]):
            yield int(part_of[start]), self.between(start, stop)


def added(one: Mapping[str, Integers], other: Mapping[str, Integers]) -> dict[str, Integers]:
    """Answers about some users and about others together."""
    return {name: counts + one[name] if name in one else counts for name, counts in other.items()}
