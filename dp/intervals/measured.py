"""What an agreement knows of the questions that were measured: which are about the same users, and how they err."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from dp.intervals.error_covariance import ErrorCovariance
from dp.questions import Breakdown, Cell, Question

FLOW_SIGNS = (1.0, 1.0, -1.0)
"""How new, returning and gone add up to the change of a count."""


@dataclass(frozen=True, eq=False)
class MeasuredQuestion:
    """A question with the noise on its answer.

    Attributes:
        question: what was asked.
        errors: of each of its series; all err alike and independently of each other.
        frozen: some users are frozen in its counts (unit user with a W_BOUND). A breakdown by what users do then does
            not add up to the total, because each freezes by its own flips.

    Raises:
        ValueError: flows whose errors are not independent and alike, the only ones that can be agreed.
    """

    question: Question
    errors: ErrorCovariance
    frozen: bool = False

    def __post_init__(self) -> None:
        if self.question.cell.kind == "flows" and self.errors.independent_deviation is None:
            raise ValueError(
                f"errors of {self.question.name} depend on each other or differ; flows need independent noise with one "
                "standard deviation, such as ErrorCovariance.independent"
            )

    @property
    def adds_up(self) -> bool:
        """Whether its segments add up to the total, at every tick."""
        breakdown = self.question.breakdown
        return breakdown is None or (breakdown.partition and not (self.frozen and breakdown.kind == "last"))


@dataclass(frozen=True, eq=False)
class MeasuredGroup:
    """One breakdown of the users in one window or calendar cell, or these users undivided: counts, flows or both.

    Attributes:
        counts: the question about how many they are.
        flows: the question about how they change.
    """

    counts: MeasuredQuestion | None
    flows: MeasuredQuestion | None

    @property
    def questions(self) -> tuple[MeasuredQuestion, ...]:
        """The questions that were measured: counts before flows."""
        return tuple(one for one in (self.counts, self.flows) if one is not None)

    @property
    def breakdown(self) -> Breakdown | None:
        """None where the users are undivided."""
        return self.questions[0].question.breakdown

    @property
    def segments(self) -> int:
        """How many series each count and each flow has."""
        return 1 if self.breakdown is None else len(self.breakdown.segments)

    @property
    def adds_up(self) -> bool:
        """Whether the segments' counts add up to the total."""
        return all(one.adds_up for one in self.questions)

    @property
    def flows_add_up(self) -> bool:
        """Whether each flow of the segments adds up to that of the total.

        By what users did last it does not: who changes segment is gone from one and new in another.
        """
        return self.flows is not None and (self.breakdown is None or self.breakdown.kind == "fixed")

    @property
    def flow_variance(self) -> float:
        """Of the noise on one flow; 0 where flows were not measured."""
        deviation = self.flows and self.flows.errors.independent_deviation
        return deviation**2 if deviation else 0.0

    @property
    def observations(self) -> tuple[ErrorCovariance, ...]:
        """How each of the measurements of one segment's count errs; flows measure it by their running sum."""
        return tuple(
            one.errors if one is self.counts else running_sum(one.errors.ticks, self.flow_variance)
            for one in self.questions
        )


def running_sum(ticks: int, flow_variance: float) -> ErrorCovariance:
    """Of the running sum of new + returning − gone, whose noise has that variance each."""
    return ErrorCovariance.of_coefficients(np.ones(ticks), (len(FLOW_SIGNS) * flow_variance) ** 0.5)


def ladders(measured: Iterable[MeasuredQuestion]) -> list[list[list[MeasuredGroup]]]:
    """The groups of every cell; cells whose counts are in order stand together, the shortest window first.

    Raises:
        ValueError: a question comes twice, or questions about one cell have different numbers of ticks.
    """
    ordered = sorted(measured, key=lambda one: _place(one.question.cell))
    names = [one.question.name for one in ordered]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"question {twice[0]} is measured twice; each is given once")
    cells = [(place, _groups(list(own))) for place, own in groupby(ordered, key=lambda one: _place(one.question.cell))]
    return [[groups for _, groups in own] for _, own in groupby(cells, key=lambda cell: cell[0][0])]


def _place(cell: Cell) -> tuple[str, int, str]:
    """Which counts are in order with each other, where in the order, and what a cell is called."""
    return ("rolling", cell.window, cell.metric) if cell.window is not None else (cell.kind, 0, cell.metric)


def _groups(questions: Sequence[MeasuredQuestion]) -> list[MeasuredGroup]:
    ticks = {one.errors.ticks for one in questions}
    if len(ticks) > 1:
        raise ValueError(
            f"errors of the questions about {questions[0].question.cell.metric} are for {sorted(ticks)} ticks; "
            "questions about one cell have the same"
        )
    found: dict[Breakdown | None, dict[str, MeasuredQuestion]] = {}
    for one in questions:
        kind = "flows" if one.question.cell.kind == "flows" else "counts"
        found.setdefault(one.question.breakdown, {})[kind] = one
    return [MeasuredGroup(own.get("counts"), own.get("flows")) for own in found.values()]
