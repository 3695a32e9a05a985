"""What the page *Sketches* computes: the error of sketches of one size whose users leave, from more and more trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from workbench.views.committed import committed_rows
from workbench.views.jobs.job import Job, ResearchPage, Tables

if TYPE_CHECKING:
    from workbench.views.charts import Chart

COMMITTED = ("sketch_memory", "sketch_turnstile")


class SketchQuestion(
    msgspec.Struct, frozen=True, tag_field="page", tag="sketches", forbid_unknown_fields=True, kw_only=True
):
    """Which sketches are filled with whom.

    Attributes:
        sketches: names in `dp.names.SKETCHES`.
        memory: bytes that a sketch may take, about; sets take what they need.
        epsilon: of each published count by itself; one user is protected.
        delta: of the sketches that need one.
        deletions: share of the activity that is taken back, and of the users who are erased.
    """

    sketches: tuple[str, ...]
    memory: int
    epsilon: float
    delta: float
    users: int
    deletions: float


def answer_sketches(question: SketchQuestion, job: Job) -> Tables:
    """What sketches err by.

    Returns:
        "errors": a row a sketch. "days": what the first trial published, day by day, and the truth. "committed-…": rows
        of results/.

    Raises:
        ValueError: a field has an impossible value; the message names it.
        Superseded: see `Job`.
    """
    from workbench.views.sketches.trials import grow

    committed = {f"committed-{name}": committed_rows(name) for name in COMMITTED}
    return grow(question, job, {name: rows for name, rows in committed.items() if rows})


def sketch_charts(question: SketchQuestion, tables: Tables) -> Mapping[str, Chart]:
    """Errors, days, and small multiples of the committed tables."""
    from workbench.views.sketches.chart import days_chart, errors_chart, multiples_chart

    charts: dict[str, Chart] = {}
    if tables.get("errors"):
        charts["errors"] = errors_chart(tables["errors"])
        charts["days"] = days_chart(tables["days"])
    committed = [tables.get(f"committed-{name}", []) for name in COMMITTED]
    if all(committed):
        charts["committed"] = multiples_chart(*committed)
    return charts


PAGE = ResearchPage(SketchQuestion, answer_sketches, sketch_charts)
