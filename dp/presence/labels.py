"""What operations say of the segment columns of a log: its labels, their segments, and what a retraction covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from dp.arrays import Integers
from dp.questions import Breakdown


@dataclass(frozen=True)
class CoveredLabels:
    """Retractions that say the same columns cover every label that agrees with them there.

    Attributes:
        belongs: which labels say these columns and no others; shape (labels,).
        kept: a number for what each label says in these columns; shape (labels,).
    """

    belongs: NDArray[np.bool_]
    kept: Integers


@dataclass(frozen=True)
class Labels:
    """The labels of a log, numbered from 0.

    Attributes:
        columns: from each segment column to its value in every label, null where the label says nothing. A log without
            segments has no columns and one label.
    """

    columns: Mapping[str, pa.Array]

    def __len__(self) -> int:
        """How many there are, at least 1."""
        return max((len(values) for values in self.columns.values()), default=1) or 1

    def segments(self, breakdown: Breakdown) -> Integers:
        """The place of each label's segment among those of a breakdown by columns of the log; shape (labels,)."""
        return segment_places(breakdown, self.columns)

    @cached_property
    def wide(self) -> list[CoveredLabels]:
        """How retractions cover several labels: one for every choice of columns that a label may say, but all."""
        if not self.columns:
            return []
        said = np.stack([_numbers(values.is_valid()) for values in self.columns.values()])
        codes = [_numbers(values.dictionary_encode("encode").indices) for values in self.columns.values()]
        shapes = np.unique(said, axis=1).T
        return [
            CoveredLabels(
                belongs=(said == shape[:, None]).all(axis=0),
                kept=_combined([codes[at] for at in np.flatnonzero(shape)], len(self)),
            )
            for shape in shapes
            if not shape.all()
        ]


def read_labels(cursor: duckdb.DuckDBPyConnection) -> Labels:
    """The labels of a log (`dp.log.Log`), which may have none."""
    labelled = "SELECT COUNT(*) FROM duckdb_columns() WHERE table_name = 'operations' AND column_name = 'label'"
    if cursor.execute(labelled).fetchall() == [(0,)]:
        return Labels({})
    table = cursor.sql("SELECT * EXCLUDE (label) FROM labels ORDER BY label").to_arrow_table()
    return Labels(dict(zip(table.column_names, (column.combine_chunks() for column in table.columns), strict=True)))


def segment_places(breakdown: Breakdown, columns: Mapping[str, pa.Array]) -> Integers:
    """The place of each row's segment among those of a breakdown.

    Args:
        columns: has those of the breakdown, as text with nulls; shape (rows,).

    Returns:
        Shape (rows,).
    """
    other = breakdown.size - 1
    places = np.zeros(len(columns[breakdown.columns[0]]), dtype=np.int64)
    known = np.ones(len(places), dtype=np.bool_)
    for column, listed in zip(breakdown.columns, breakdown.listed, strict=True):
        found = pa.compute.index_in(columns[column], pa.array(listed, pa.string()))
        known &= _numbers(found.is_valid()).astype(np.bool_)
        places = places * len(listed) + _numbers(found)
    return np.where(known, places, other)


def _combined(codes: list[Integers], rows: int) -> Integers:
    """One number for the numbers of each row, from 0."""
    combined = np.zeros(rows, dtype=np.int64)
    for code in codes:
        combined = np.unique(combined * (int(code.max()) + 2) + code + 1, return_inverse=True)[1].astype(np.int64)
    return combined


def _numbers(column: pa.Array) -> Integers:
    """A column of numbers or of truths; null becomes −1."""
    # By way of a type without nulls and bits, because other ways load pandas.
    filled = pa.compute.fill_null(column.cast(pa.int64()), -1)
    return np.array(np.from_dlpack(filled), dtype=np.int64)
