"""Numbers that agree: what a release publishes of all its questions together, with intervals that stay honest.

Segments add up to totals, flows to changes, shorter windows count no more than longer ones, and all are whole numbers
≥ 0. Estimates are the best linear ones given what was published until then; later ticks never change earlier ones.
Everything is computed from published numbers and public parameters and costs no privacy. Intervals are those of the
linear estimates: what they refer to is a whole number ≥ 0, whatever else holds.
Proofs: docs/guarantees.md, "numbers that agree".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from dp.arrays import Floats, Integers
from dp.intervals.cell_agreement import CellAgreement, GroupNumbers, agree_cell
from dp.intervals.consistency import interval_with, validate_finite
from dp.intervals.measured import MeasuredGroup, MeasuredQuestion, ladders
from dp.intervals.whole_agreement import LinearCell, LinearGroup, WholeNumbers, round_cells
from dp.questions import Question


@dataclass(frozen=True, eq=False)
class AgreedNumbers:
    """The numbers of one question; all arrays have the shape of the estimates, (…, series, ticks).

    Attributes:
        counts: whole numbers ≥ 0, to be published.
        low: lower ends, whole numbers ≥ 0.
        high: upper ends.
        widened: the count lay outside of the interval, which was widened to hold it.
        linear: the best linear estimates, before they are rounded and moved into order.
        deviations: standard deviations of `linear`, shape (series, ticks).
    """

    counts: Integers
    low: Integers
    high: Integers
    widened: NDArray[np.bool_]
    linear: Floats
    deviations: Floats


@dataclass(frozen=True, eq=False)
class Agreement:
    """How the questions of a release are brought into agreement: public parameters alone.

    Attributes:
        ladders: windows and calendar cells; those whose counts are in order stand together, the shortest first.
    """

    ladders: tuple[tuple[CellAgreement, ...], ...]

    @classmethod
    def of(cls, questions: Iterable[MeasuredQuestion]) -> Agreement:
        """The agreement of these questions.

        Raises:
            ValueError: a question comes twice, or questions about one cell have different numbers of ticks.
        """
        return cls(tuple(tuple(agree_cell(groups) for groups in ladder) for ladder in ladders(questions)))

    def agree(
        self, measured: Mapping[str, Floats], level: float, kept: Mapping[str, tuple[Floats, Floats]] | None = None
    ) -> dict[str, AgreedNumbers]:
        """The numbers of all questions, by their names.

        Args:
            measured: name of a question → released estimates, shape (…, series, ticks), in the order of its series;
                for the first ticks or for all. Other axes are trials.
            level: of the pointwise intervals; for all series of a tick at once, `simultaneous_level` of it.
            kept: name of a question → lower and upper ends of the released intervals, which are kept. Needed, for all
                questions, where the noise is not normal: sums of it have other quantiles.

        Raises:
            ValueError: estimates are missing, are not finite, or have another shape than their question; or `level`
                does not lie between 0 and 1.
        """
        quantile = float(scipy.special.ndtri(0.5 + level / 2))
        if not 0 < quantile < np.inf:
            raise ValueError(f"level is {level}; it must lie strictly between 0 and 1, for instance 0.95")
        found = {}
        for ladder in self.ladders:
            _validate(ladder, measured)
            cells = [_linear(cell, measured) for cell in ladder]
            for question, counts, estimates, deviations in _by_question(cells, round_cells(cells)):
                half = quantile * deviations
                ends = (estimates - half, estimates + half) if kept is None else _kept_ends(kept, question.name)
                found[question.name] = AgreedNumbers(counts, *interval_with(counts, *ends), estimates, deviations)
        return found

    def deviations(self) -> dict[str, Floats]:
        """Name of a question → standard deviations of its linear estimates, shape (series, T)."""
        return {
            one.question.name: _series(one, group, deviations)
            for cell in self._cells
            for group, deviations in zip(cell.groups, cell.deviations()[1], strict=True)
            for one in group.questions
        }

    def gains(self) -> dict[str, Floats]:
        """Name of a question → the `deviations` over those of its own noise: below 1, agreement tells more."""
        own = {each.question.name: each.errors.lagged[0] for each in self._questions}
        return {name: deviations / np.sqrt(own[name]) for name, deviations in self.deviations().items()}

    @property
    def _cells(self) -> Iterator[CellAgreement]:
        return (cell for ladder in self.ladders for cell in ladder)

    @property
    def _questions(self) -> Iterator[MeasuredQuestion]:
        return (question for cell in self._cells for group in cell.groups for question in group.questions)


def simultaneous_level(level: float, series: int) -> float:
    """The level of each interval at which all series of a tick are held at once with that level (Bonferroni)."""
    return 1 - (1 - level) / series


def _validate(ladder: Sequence[CellAgreement], measured: Mapping[str, Floats]) -> None:
    """Refuses estimates that do not fit their questions."""
    questions = [question for cell in ladder for group in cell.groups for question in group.questions]
    missing = [each.question.name for each in questions if each.question.name not in measured]
    if missing:
        raise ValueError(f"estimates of {', '.join(missing)} are missing; every question that was measured is needed")
    ticks = {np.shape(measured[each.question.name])[-1:] for each in questions}
    for each in questions:
        name, estimates = each.question.name, measured[each.question.name]
        series = len(each.question.series)
        if estimates.shape[-2:-1] != (series,) or estimates.shape[-1] > each.errors.ticks or len(ticks) > 1:
            raise ValueError(
                f"estimates of {name} have the shape {estimates.shape}; {series} series are needed, with the same "
                f"number of ticks as other questions about trailing windows, at most {each.errors.ticks}"
            )
        validate_finite(f"estimate of {name}", estimates)


def _kept_ends(kept: Mapping[str, tuple[Floats, Floats]], name: str) -> tuple[Floats, Floats]:
    if name not in kept:
        raise ValueError(f"intervals of {name} are missing; they are given for all questions or for none")
    return kept[name]


def _linear(cell: CellAgreement, measured: Mapping[str, Floats]) -> LinearCell:
    total, groups = cell.estimates(measured)
    total_deviations, deviations = cell.deviations()
    return LinearCell(
        cell.groups,
        tuple(_same_ticks(*both) for both in zip(groups, deviations, strict=True)),
        _same_ticks(total, total_deviations) if total and total_deviations else None,
    )


def _same_ticks(estimates: GroupNumbers, deviations: GroupNumbers) -> LinearGroup:
    ticks = estimates.counts.shape[-1]
    return LinearGroup(estimates, GroupNumbers(deviations.counts[:, :ticks], deviations.flows[..., :ticks]))


def _by_question(
    cells: Sequence[LinearCell], whole: Sequence[Sequence[WholeNumbers]]
) -> Iterator[tuple[Question, Integers, Floats, Floats]]:
    """Each question with its whole numbers, linear estimates and standard deviations, shape (…, series, ticks)."""
    for cell, rounded in zip(cells, whole, strict=True):
        for group, linear, numbers in zip(cell.measured, cell.groups, rounded, strict=True):
            for one in group.questions:
                estimates, deviations = (_series(one, group, each) for each in (linear.estimates, linear.deviations))
                yield one.question, _series(one, group, numbers), estimates, deviations


def _series(one: MeasuredQuestion, group: MeasuredGroup, numbers: GroupNumbers | WholeNumbers) -> NDArray[Any]:
    """What a group's numbers say of one of its questions, shape (…, series, ticks)."""
    if one is group.counts:
        return np.asarray(numbers.counts)
    flows = np.asarray(numbers.flows)
    return flows.reshape(*flows.shape[:-3], len(one.question.series), flows.shape[-1])
