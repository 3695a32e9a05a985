"""Released rows brought into agreement: post-processing of what is published, which costs no privacy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dp.arrays import Floats
from dp.intervals.agreement import AgreedNumbers, Agreement, simultaneous_level
from dp.intervals.error_covariance import BLOCK, ErrorCovariance
from dp.intervals.measured import MeasuredQuestion
from dp.release.drawing import series_of
from dp.release.plan import Plan

Rows = Sequence[Mapping[str, Any]]


def with_agreement(plan: Plan, rows: Rows, *, simultaneous: bool = False) -> list[dict[str, Any]]:
    """The rows with whole counts that agree with each other, and their intervals.

    Adds `count`, `count_low`, `count_high` and `count_widened` (whether the interval had to be widened to hold the
    count). Segments add up to totals, flows to changes, and no window counts more than a longer one. The counts of a
    day follow from what was published until then, and are never revised.

    Args:
        plan: of the release.
        rows: as published, of all series, from the first tick on.
        simultaneous: the intervals hold all series of a day at once with the level, not each by itself.

    Raises:
        ValueError: the error of the mechanism depends on the data, a sample is counted, or rows are missing.
    """
    by_series: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_series.setdefault(series_of(row), []).append(row)
    published = _published(plan, by_series)
    level = plan.request.ci_level
    if simultaneous:
        level = simultaneous_level(level, len(plan.series))
    kept = None
    if plan.request.family.noise == "laplace":
        kept = {name: (_values(own, "ci_low"), _values(own, "ci_high")) for name, own in published.items()}
    ticks = {name: planned_ticks(plan, name, len(own[0])) for name, own in published.items()}
    agreed = agreement_of(plan, ticks).agree(
        {name: _values(own, "estimate") for name, own in published.items()}, level, kept
    )
    added = {place: columns for name, own in published.items() for place, columns in _columns(own, agreed[name])}
    return [{**row, **added[series_of(row), row["day"]]} for row in rows]


def agreement_of(plan: Plan, ticks: Mapping[str, int]) -> Agreement:
    """How the questions of a plan are brought into agreement; see `measured_of`."""
    return Agreement.of(measured_of(plan, ticks))


def measured_of(plan: Plan, ticks: Mapping[str, int]) -> list[MeasuredQuestion]:
    """The questions of a plan with their noise. Those of several plans about the same users can be agreed together.

    Args:
        ticks: name of a question → how many numbers each of its series has; a question that has none plays no part.

    Raises:
        ValueError: the error of a mechanism depends on the data, or a sample is counted.
    """
    if plan.request.sample is not None:
        raise ValueError("counts of a sample are not brought into agreement: a sample errs too, beyond its noise")
    measured = []
    for name, series in plan.by_question.items():
        if number := ticks.get(name, 0):
            if (errors := series.mechanism.errors_of_draws(number)) is None:
                mechanism = series.mechanism.name
                raise ValueError(f"the error of {mechanism} depends on the data, so that counts cannot be agreed")
            covariance = ErrorCovariance.of_decoder(errors, deviation=1.0)
            measured.append(MeasuredQuestion(series.question, covariance, plan.freeze is not None))
    return measured


def planned_ticks(plan: Plan, name: str, published: int) -> int:
    """For how many numbers of each series of a question the agreement is made.

    The same ones on every day, so that no later day changes the last digits of an earlier one.
    """
    request = plan.request
    if request.horizon is None:
        return -(-published // BLOCK) * BLOCK
    return plan.by_question[name].question.cell.number(request.first, request.horizon)


def _published(plan: Plan, by_series: Mapping[str, Rows]) -> dict[str, list[Rows]]:
    """Name of a question → the rows of each of its series; without calendar cells of which none has ended."""
    found = {
        question.name: [by_series.get(name.key, ()) for name in question.series] for question in plan.request.asked
    }
    for question in plan.request.asked:
        lengths = {len(rows) for rows in found[question.name]}
        if len(lengths) > 1 or (lengths == {0} and question.cell.window is not None):
            raise ValueError(f"rows of {question.name} are missing; all that was released is needed")
    return {name: own for name, own in found.items() if own[0]}


def _values(own: Sequence[Rows], column: str) -> Floats:
    return np.array([[row[column] for row in rows] for rows in own], dtype=np.float64)


def _columns(own: Sequence[Rows], agreed: AgreedNumbers) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """From series and day to the columns that are added to the row."""
    numbers = (agreed.counts, agreed.low, agreed.high, agreed.widened)
    for rows, *of_series in zip(own, *numbers, strict=True):
        for row, count, low, high, widened in zip(rows, *of_series, strict=True):
            yield (
                (series_of(row), row["day"]),
                {"count": int(count), "count_low": int(low), "count_high": int(high), "count_widened": bool(widened)},
            )
