"""Labels: what an operation says of segments, as one number.

Of every column an operation may say nothing, a value that is listed in a breakdown, or another one. Values that are not
listed are one to the store: it never holds their text, and they make the segment `other` alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.arrays import Integers
from dp.questions import Breakdown

UNSAID, UNLISTED = 0, 1
MOST_LABELS = 2**26
"""So that a user of 2^16 at once, one of 2^12 days and a label make a number of 63 bits."""

Codes = npt.NDArray[Any]
"""Labels as whole numbers, of any type and shape."""


@dataclass(frozen=True)
class LabelCodes:
    """What operations can say of segments.

    Attributes:
        columns: their names.
        listed: of each column the values that some breakdown tells apart.
    """

    columns: tuple[str, ...] = ()
    listed: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, breakdowns: Iterable[Breakdown]) -> LabelCodes:
        """What breakdowns need.

        Raises:
            ValueError: they tell too many labels apart.
        """
        values: dict[str, dict[str, None]] = {}
        for one in breakdowns:
            for column, listed in zip(one.columns, one.listed, strict=True):
                values.setdefault(column, {}).update(dict.fromkeys(listed))
        found = cls(tuple(values), tuple(map(tuple, values.values())))
        if len(found) > MOST_LABELS:
            raise ValueError(
                f"{' × '.join(found.columns)} make {len(found)} labels of an activity; at most {MOST_LABELS} are told "
                "apart, so list fewer values"
            )
        return found

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> LabelCodes:
        """What `dataclasses.asdict` wrote, after JSON."""
        return cls(tuple(plain["columns"]), tuple(map(tuple, plain["listed"])))

    def __len__(self) -> int:
        """How many labels there are."""
        return prod(self._sizes)

    @cached_property
    def _sizes(self) -> list[int]:
        return [len(values) + 2 for values in self.listed]

    @cached_property
    def _steps(self) -> dict[str, int]:
        """Column → how far apart labels lie that differ by one in it."""
        return {column: prod(self._sizes[:place]) for place, column in enumerate(self.columns)}

    def code_of(self, segments: Mapping[str, str]) -> int:
        """The label of what is said.

        Raises:
            KeyError: a column is unknown.
        """
        numbers, steps = self._numbers, self._steps
        return sum(numbers[column].get(value, UNLISTED) * steps[column] for column, value in segments.items())

    @cached_property
    def _numbers(self) -> dict[str, dict[str, int]]:
        return {
            column: {value: number for number, value in enumerate(values, 2)}
            for column, values in zip(self.columns, self.listed, strict=True)
        }

    def said(self, codes: Codes, column: str) -> Integers:
        """What labels say of a column: 0 nothing, 1 a value that is not listed, 2 the first one listed, and so on."""
        size = self._sizes[self.columns.index(column)]
        found: Integers = codes.astype(np.int64) // self._steps[column] % size
        return found

    def projections(self, codes: Codes) -> Integers:
        """Which columns labels speak of, as bits."""
        bits = np.zeros(len(codes), np.int64)
        for place, column in enumerate(self.columns):
            bits |= (self.said(codes, column) != UNSAID).astype(np.int64) << place
        return bits

    def projected(self, codes: Codes, columns: int) -> Integers:
        """What labels say of some columns, given as bits, as labels that say nothing else."""
        found = np.zeros(len(codes), np.int64)
        for place, (column, step) in enumerate(self._steps.items()):
            if columns >> place & 1:
                found += self.said(codes, column) * step
        return found

    def segments(self, breakdown: Breakdown, codes: Codes) -> Integers:
        """The place of each label's segment among those of a breakdown, of which `other` is the last."""
        place, known = np.zeros(len(codes), np.int64), np.ones(len(codes), bool)
        for column, listed in zip(breakdown.columns, breakdown.listed, strict=True):
            numbers = {value: number for number, value in enumerate(listed)}
            own = self.listed[self.columns.index(column)]
            found = np.array([-1, -1, *(numbers.get(value, -1) for value in own)])[self.said(codes, column)]
            place, known = place * len(listed) + found, known & (found >= 0)
        return np.where(known, place, breakdown.size - 1)

    def translated(self, codes: Codes, other: LabelCodes) -> Codes:
        """Labels of other codes in these: what is not told apart here becomes a value that is not listed, or goes."""
        if self == other:
            return codes
        found = np.zeros(len(codes), np.int64)
        for column, step in self._steps.items():
            if column in other.columns:
                theirs = other.listed[other.columns.index(column)]
                numbers = [self._numbers[column].get(value, UNLISTED) for value in theirs]
                found += np.array([UNSAID, UNLISTED, *numbers])[other.said(codes, column)] * step
        return found


NO_LABELS = LabelCodes()
