"""What the page *Coverage* computes: how often intervals and bands hold, with trials coming in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from experiments.engine.population import Population
from workbench.rows import TableRow
from workbench.views.axes import POPULATION_SEED
from workbench.views.jobs.job import Job, ResearchPage, Tables

if TYPE_CHECKING:
    from workbench.views.charts import Chart

BATCHES = (100, 400, 1_500, 3_000)
"""Trials that come in at a time."""
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)


class CoverageQuestion(
    msgspec.Struct, frozen=True, tag_field="page", tag="coverage", forbid_unknown_fields=True, kw_only=True
):
    """Whose intervals are tried, and at which level the days are looked at one by one.

    Attributes:
        epsilon, delta: of the whole series.
        level: one of `LEVELS`.
        delete_rate: share of the activity that is retracted later.
    """

    metric: str
    unit: str
    mechanisms: tuple[str, ...]
    epsilon: float
    w_bound: int
    delta: float
    level: float
    users: int
    days: int
    delete_rate: float

    @property
    def population(self) -> Population:
        """Whose releases are drawn."""
        return Population(users=self.users, days=self.days, seed=POPULATION_SEED, delete_rate=self.delete_rate)


def answer_coverage(question: CoverageQuestion, job: Job) -> Tables:
    """The tables "coverage", a row for each mechanism and level, and "by-day", a row for each mechanism and day.

    Columns are those of `results/interval_coverage.parquet`: `pointwise` is over all days of all trials, `one_day` over
    one day of each, drawn at random, so that `one_day_low` and `one_day_high` are a 95 % Clopper–Pearson interval;
    `band` is over trials and asks for all days at once. Columns that begin with `true_` ask for the true count in place
    of the one that noise was added to.

    Raises:
        ValueError: a field has an impossible value; the message names it.
        Superseded: see `Job`.
    """
    from workbench.views.counting import count_population
    from workbench.views.coverage.trials import IntervalTrials, coverage_rows, day_rows

    if question.level not in LEVELS:
        raise ValueError(f"level is {question.level}; choose one of {', '.join(f'{level:g}' for level in LEVELS)}")
    bounds = [question.w_bound] if question.unit == "user" else []
    counted = count_population(job, question.population, question.metric, bounds)
    trials = [IntervalTrials(question, name, counted.bounded) for name in question.mechanisms]
    total, done = sum(BATCHES) * len(trials), 0
    tables: Tables = {}
    for batch, size in enumerate(BATCHES):
        for one in trials:
            job.tell(f"drawing releases by {one.mechanism.name}", done / total, None)
            one.draw(size, batch)
            done += size
        tables = {
            "coverage": [row for one in trials for row in coverage_rows(question, one)],
            "by-day": [row for one in trials for row in day_rows(question, one)],
        }
        job.tell("drawing more releases", done / total, tables)
    return tables


def at_level(tables: Tables, level: float) -> list[TableRow]:
    """The rows of one level, a mechanism each."""
    return [row for row in tables["coverage"] if row["level"] == level]


def coverage_charts(question: CoverageQuestion, tables: Tables) -> Mapping[str, Chart]:
    """Coverage against the level, day by day and all days at once; and day by day, where users are frozen."""
    from workbench.views.coverage.chart import day_chart, level_chart

    rows = tables["coverage"]
    charts: dict[str, Chart] = {
        "pointwise": level_chart(rows, "one_day", "days held"),
        "simultaneous": level_chart(rows, "band", "trials held on all days"),
    }
    if any(row["bias_rms"] > 0 for row in rows):
        charts["by-day"] = day_chart(tables["by-day"], question.level)
    return charts


PAGE = ResearchPage(CoverageQuestion, answer_coverage, coverage_charts)
