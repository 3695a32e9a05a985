"""Numbers that agree, slowly and obviously: one dense least-squares problem with everything measured until a tick."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag, null_space

from dp.intervals.measured import MeasuredQuestion
from dp.questions import Breakdown, SeriesName

SIGNS = {"new": 1.0, "returning": 1.0, "gone": -1.0}
Unknown = tuple[str, Breakdown | None, str | None, int]
"""A flow or "count", of a segment of a breakdown, at a tick."""
Equation = dict[Unknown, float]
"""Coefficients of a sum that is 0."""


class Dense(NamedTuple):
    """What is measured about one window until a tick.

    Attributes:
        rows: the name and tick of each measurement.
        covariance: of the measurements, shape (rows, rows).
        free: the measured numbers as functions of free parameters, shape (rows, parameters).
    """

    rows: list[tuple[SeriesName, int]]
    covariance: np.ndarray
    free: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """The best linear unbiased estimates of all measured numbers, as a matrix on the measurements."""
        whiten = np.linalg.inv(np.linalg.cholesky(self.covariance))
        return self.free @ np.linalg.lstsq(whiten @ self.free, whiten, rcond=None)[0]


def dense(measured: Sequence[MeasuredQuestion], ticks: int) -> Dense:
    """Everything that is measured about one window during its first ticks."""
    rows = [(name, tick) for one in measured for name in one.question.series for tick in range(ticks)]
    covariance = block_diag(*(one.errors.block(0, ticks) for one in measured for _ in one.question.series))
    equations = list(constraints(measured, ticks))
    of_rows = [unknown(one, name, tick) for one in measured for name in one.question.series for tick in range(ticks)]
    unknowns = sorted({*of_rows, *(key for equation in equations for key in equation)}, key=repr)
    place = {key: index for index, key in enumerate(unknowns)}
    matrix = np.zeros((max(len(equations), 1), len(unknowns)))
    for index, equation in enumerate(equations):
        for key, value in equation.items():
            matrix[index, place[key]] += value
    return Dense(rows, covariance, null_space(matrix)[[place[key] for key in of_rows]])


def unknown(one: MeasuredQuestion, name: SeriesName, tick: int) -> Unknown:
    flow = name.question.partition("/")[2]
    return flow or "count", one.question.breakdown, name.segment, tick


def constraints(measured: Iterable[MeasuredQuestion], ticks: int) -> Iterator[Equation]:
    """What holds among the true numbers of one window."""
    questions = [one.question for one in measured]
    frozen = any(one.frozen for one in measured)
    breakdowns = {question.breakdown for question in questions} | {None}
    for tick in range(ticks):
        for breakdown in breakdowns:
            segments = [None] if breakdown is None else list(breakdown.segments)
            flows = any(question.breakdown == breakdown and question.cell.kind == "flows" for question in questions)
            if flows:
                for segment in segments:
                    yield {
                        **{(flow, breakdown, segment, tick): sign for flow, sign in SIGNS.items()},
                        ("count", breakdown, segment, tick): -1.0,
                        **({("count", breakdown, segment, tick - 1): 1.0} if tick else {}),
                    }
            if breakdown is None:
                continue
            if breakdown.kind == "fixed" or (breakdown.kind == "last" and not frozen):
                yield adds_up("count", breakdown, tick)
            if flows and breakdown.kind == "fixed":
                yield from (adds_up(flow, breakdown, tick) for flow in SIGNS)


def adds_up(what: str, breakdown: Breakdown, tick: int) -> Equation:
    parts = {(what, breakdown, segment, tick): 1.0 for segment in breakdown.segments}
    return {**parts, (what, None, None, tick): -1.0}
