"""Published numbers of all questions of a service together, made to agree; pure functions of what is published.

Segments add up to totals, flows to changes, no window counts more than a longer one, and all are whole numbers ≥ 0. It
is what `dpdau release --consistent` does, but every question of a service is a release of its own.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dp.arrays import Floats
from dp.intervals.agreement import Agreement
from dp.mechanisms import family_of
from dp.release import Plan, Request, plan_release
from dp.release.agreement import measured_of, planned_ticks
from dp.release.request import request_of
from workbench.rows import TableRow
from workbench.views.live.table import ALL_DAYS, WEEK, AnswerRow, PublishedRow

SeriesRows = Sequence[PublishedRow | AnswerRow]


Numbers = Mapping[tuple[str, str], TableRow]
"""Series and day (ISO) → `count`, `low` and `high`, whole numbers ≥ 0."""


def plan_of(row: TableRow) -> Plan:
    """The plan that a row of the table "plans" spells."""
    return _plan_of(row["specification"])


@functools.lru_cache(maxsize=64)
def _plan_of(specification: str) -> Plan:
    return plan_release(request_of(json.loads(specification)))


def plans_table(asked: Iterable[tuple[str, Request]]) -> list[TableRow]:
    """The table "plans": a row a request that is charged for, as plain JSON, and the name of what it asks."""
    return [
        {"name": name, "specification": json.dumps(request.specification(), sort_keys=True)} for name, request in asked
    ]


def adds_up(plan: Plan) -> bool:
    """Whether the segments of a plan's one question add up to the total."""
    (measured,) = measured_of(plan, dict.fromkeys(plan.by_question, 1))
    return measured.adds_up


def metrics_agree(plans: Iterable[Plan]) -> bool:
    """Whether the metrics take part: not where the error of one of them depends on the data."""
    return not any(family_of(plan.request.mechanism).data_dependent for plan in plans)


def agreed_numbers(plans: Sequence[TableRow], rows: SeriesRows, band: str) -> Numbers:
    """The numbers of all series as they agree; without the metrics where they do not take part (`metrics_agree`).

    Each period is for itself: flows begin anew in it.

    Args:
        plans: the table "plans".
        rows: of each series oldest first, without a gap.
        band: what the intervals hold for.
    """
    by_series: dict[str, list[PublishedRow | AnswerRow]] = {}
    for row in rows:
        by_series.setdefault(row.series, []).append(row)
    firsts = sorted({plan_of(row).request.first.isoformat() for row in plans})
    found: dict[tuple[str, str], TableRow] = {}
    for first, following in zip(firsts, [*firsts[1:], "9"], strict=True):
        own = [row for row in plans if plan_of(row).request.first.isoformat() == first]
        parts = {
            series: [row for row in published if first <= row.day < following]
            for series, published in by_series.items()
        }
        found.update(_Period(own, parts, band).numbers())
    return found


def with_numbers(table: Sequence[TableRow], numbers: Numbers) -> list[TableRow]:
    """The rows of `counts_table` with the numbers that agree, where there are some."""
    rows = [row | numbers.get((row["metric"], row["day"]), {}) for row in table]
    before = {(row["metric"], day + WEEK): row["count"] for row, day in _numbered(rows)}
    return [row | {"week_before": before.get((row["metric"], day))} for row, day in _numbered(rows)]


def answers_table(rows: Sequence[AnswerRow], numbers: Numbers) -> list[TableRow]:
    """A row a series and day of the questions besides the metrics: `count`, `low` and `high` agree."""
    return [
        {
            "question": row.question,
            "breakdown": row.breakdown,
            "segment": row.segment,
            "day": row.day,
            **numbers[row.series, row.day],
            "estimate": row.estimate,
        }
        for row in rows
    ]


def _numbered(rows: Sequence[TableRow]) -> Iterator[tuple[TableRow, int]]:
    """Each row with its place among those of its metric."""
    seen: dict[str, int] = {}
    for row in rows:
        seen[row["metric"]] = place = seen.get(row["metric"], -1) + 1
        yield row, place


@dataclass(frozen=True)
class _Period:
    """Days that are charged for together: their plans, and the rows of each series."""

    plans: Sequence[TableRow]
    rows: Mapping[str, SeriesRows]
    band: str

    def numbers(self) -> Iterator[tuple[tuple[str, str], TableRow]]:
        """Each number by its series and day."""
        published = {
            name: [self.rows.get(series.key, []) for series in plan.by_question[name].question.series]
            for name, plan in self._together().items()
        }
        published = {name: own for name, own in published.items() if own[0]}
        if not published:
            return
        chosen = tuple(
            (row["specification"], len(published[row["name"]][0])) for row in self.plans if row["name"] in published
        )
        level = next(iter(self._together().values())).request.ci_level
        estimates = {
            name: np.array([[row.estimate for row in rows] for rows in own]) for name, own in published.items()
        }
        agreed = _agreement(tuple(_planned(*one) for one in chosen)).agree(estimates, level, self._kept(published))
        for name, own in published.items():
            one = agreed[name]
            for rows, *columns in zip(own, one.counts, one.low, one.high, strict=True):
                for row, count, low, high in zip(rows, *(column.tolist() for column in columns), strict=True):
                    yield (row.series, row.day), {"count": count, "low": low, "high": high}

    def _together(self) -> Mapping[str, Plan]:
        """What is made to agree."""
        plans = {row["name"]: plan_of(row) for row in self.plans}
        together = metrics_agree(plans.values())
        return {name: plan for name, plan in plans.items() if together or not plan.request.windows}

    def _kept(self, published: Mapping[str, Sequence[SeriesRows]]) -> dict[str, tuple[Floats, Floats]] | None:
        """The published intervals, where those of what agrees are not known."""
        noises = {family_of(plan.request.mechanism).noise for plan in self._together().values()}
        if self.band != ALL_DAYS and noises == {"gaussian"}:
            return None
        ends = {
            name: np.array([[row.ends(self.band) for row in rows] for rows in own], dtype=np.float64)
            for name, own in published.items()
        }
        return {name: (both[..., 0], both[..., 1]) for name, both in ends.items()}


def _planned(specification: str, published: int) -> tuple[str, int]:
    plan = _plan_of(specification)
    (name,) = plan.by_question
    return specification, planned_ticks(plan, name, published)


@functools.lru_cache(maxsize=8)
def _agreement(questions: tuple[tuple[str, int], ...]) -> Agreement:
    """How questions agree, from what each is charged for and how many numbers it has in all."""
    measured = []
    for specification, ticks in questions:
        plan = _plan_of(specification)
        measured += measured_of(plan, dict.fromkeys(plan.by_question, ticks))
    return Agreement.of(measured)
