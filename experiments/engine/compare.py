"""Comparison of two tables: matches the rows that mean the same and measures how far apart their numbers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NEGLIGIBLE = 1e-12
"""An absolute difference that is always accepted: what rounding leaves of a zero."""


@dataclass(frozen=True)
class Difference:
    """How far apart a column of two tables is.

    Attributes:
        largest: absolute difference; infinite where values that are not numbers differ, or only one is a number.
        relative: largest of the differences over the larger of the two magnitudes.
        outside: rows that differ by more than the tolerance.
    """

    column: str
    largest: float
    relative: float
    outside: int


@dataclass(frozen=True)
class TableDifference:
    """What two tables have in common and where they differ.

    Attributes:
        identity: the columns by which rows are matched.
        rows: how many both tables have.
        only_first, only_second: rows and columns that the other table lacks, in words.
    """

    identity: tuple[str, ...]
    rows: int
    differences: tuple[Difference, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    @property
    def within(self) -> bool:
        """Whether the tables agree, up to the tolerance."""
        return not (self.only_first or self.only_second or any(one.outside for one in self.differences))


def compare_files(first: Path, second: Path, tolerance: float) -> TableDifference:
    """Compare two Parquet tables; see `compare_tables`.

    Raises:
        ValueError: a file is not a table; or see `compare_tables`.
    """
    tables = []
    for path in (first, second):
        try:
            tables.append(pd.read_parquet(path))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is no Parquet table: {error}") from error
    return compare_tables(tables[0], tables[1], tolerance)


def compare_tables(first: pd.DataFrame, second: pd.DataFrame, tolerance: float) -> TableDifference:
    """Compare two tables row by row.

    Rows match if they agree in the identity: the shortest run of leading columns that distinguishes all rows of either
    table.

    Args:
        tolerance: relative; for a number, over the larger of the two magnitudes.

    Raises:
        ValueError: the tolerance is negative, or no columns distinguish the rows.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}; it must be 0 or more")
    common = [name for name in first.columns if name in second.columns]
    identity = _identity(first, second, common)
    keys = [_keys(table, identity) for table in (first, second)]
    places = [{key: place for place, key in enumerate(own)} for own in keys]
    shared = [key for key in keys[0] if key in places[1]]
    rows = [table.iloc[[own[key] for key in shared]] for table, own in zip((first, second), places, strict=True)]
    differences = tuple(
        _difference(name, list(rows[0][name]), list(rows[1][name]), tolerance)
        for name in common
        if name not in identity
    )
    only = [
        (
            *(f"column {name}" for name in table.columns if name not in common),
            *(" ".join(map(str, key)) for key in own if key not in other),
        )
        for table, own, other in ((first, keys[0], places[1]), (second, keys[1], places[0]))
    ]
    return TableDifference(tuple(identity), len(shared), differences, only[0], only[1])


def _identity(first: pd.DataFrame, second: pd.DataFrame, common: Sequence[str]) -> list[str]:
    for length in range(1, len(common) + 1):
        leading = list(common[:length])
        if all(len(set(_keys(table, leading))) == len(table) for table in (first, second)):
            return leading
    raise ValueError("the tables have rows that no common columns tell apart")


def _keys(table: pd.DataFrame, names: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*([_word(value) for value in table[name]] for name in names), strict=True))


def _word(value: Any) -> Any:
    """A value by which rows can be matched: NaN, which differs from itself, and arrays are replaced."""
    if isinstance(value, np.ndarray | list):
        return tuple(value)
    return None if isinstance(value, float) and np.isnan(value) else value


def _difference(name: str, ours: list[Any], theirs: list[Any], tolerance: float) -> Difference:
    pairs = [_distance(one, other) for one, other in zip(ours, theirs, strict=True)]
    outside = sum(not (absolute <= NEGLIGIBLE or relative <= tolerance) for absolute, relative in pairs)
    absolute, relative = (max(values, default=0.0) for values in (zip(*pairs, strict=True) if pairs else ((), ())))
    return Difference(name, absolute, relative, outside)


def _distance(one: Any, other: Any) -> tuple[float, float]:
    """Absolute and relative difference of two cells; for lists, the largest."""
    if isinstance(one, np.ndarray | list) and isinstance(other, np.ndarray | list):
        if len(one) != len(other):
            return float("inf"), float("inf")
        pairs = [_distance(*values) for values in zip(one, other, strict=True)]
        return (max(a for a, _ in pairs), max(r for _, r in pairs)) if pairs else (0.0, 0.0)
    one, other = _word(one), _word(other)
    if one == other:
        return 0.0, 0.0
    numbers = all(isinstance(value, int | float | np.number) for value in (one, other))
    if not numbers or not np.isfinite([one, other]).all():
        return float("inf"), float("inf")
    absolute = abs(float(one) - float(other))
    return absolute, absolute / max(abs(float(one)), abs(float(other)))
