"""Daily counts that know how they were counted: what passes from the data column to the privacy column."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from dp.questions import Question, SeriesName

Freeze = int | tuple[int, ...] | None
"""After how many flips a user is left out of the counts: never, after one number, or after each of several in turn."""


@dataclass(frozen=True)
class Sample:
    """The users whom the sketch fixed-rate counts; salts are named by their fingerprints.

    Attributes:
        rate: their share.
        salt: in force at the first tick; a stream is not continued with another.
        rotations: ticks at which another salt comes into force, and with it another sample, ascending, as far as is
            known. They may be decided while a stream is running, so its later calls need not repeat those to come.
    """

    rate: float
    salt: str
    rotations: tuple[tuple[int, str], ...] = ()

    def before(self, tick: int) -> Sample:
        """The sample as it is known before a tick: without the rotations from there on."""
        return Sample(self.rate, self.salt, tuple(change for change in self.rotations if change[0] < tick))


@dataclass(frozen=True, eq=False)
class Counts:
    """Users present at every tick, and how they were counted.

    A guarantee is for counts of one kind: with the unit `user` it holds because users are frozen. A plan therefore
    refuses counts that were not counted as it says (`dp.release.own_counts`).

    Attributes:
        values: whole numbers of users, shape (T,); with several bounds (T, 2·bounds): for each in turn the users
            present and the users frozen so far.
        window: trailing days; None in a calendar cell.
        first: day of the first tick.
        freeze: the flips after which users are left out.
        sample: whose users are counted; None for all of them.
        part: the question, and which series of its answer; None for all users present in the window.

    Examples:
        >>> import numpy as np
        >>> counts = Counts(np.array([3, 4]), window=30, first=date(2026, 1, 1))
        >>> len(counts), counts.days[-1].isoformat(), counts.freeze
        (2, '2026-01-02', None)
    """

    values: NDArray[np.int64]
    window: int | None
    first: date
    freeze: Freeze = None
    sample: Sample | None = None
    part: tuple[Question, SeriesName] | None = None

    def __len__(self) -> int:
        """The number of ticks."""
        return len(self.values)

    @property
    def days(self) -> list[date]:
        """The calendar day of each tick, length T."""
        if self.part is not None:
            return list(itertools.islice(self.part[0].cell.days_from(self.first), len(self.values)))
        return [self.first + timedelta(days=tick) for tick in range(len(self.values))]

    def until(self, ticks: int) -> Counts:
        """The counts of the first ticks."""
        return replace(self, values=self.values[:ticks])
