"""The page *Live* as a question: the charts of published rows that lie in a file, for whoever reproduces them.

The page draws what the service publishes and asks no other process. Its zip holds the rows, because the noise in them
cannot be drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from workbench.views.jobs.job import Job, ResearchPage, Tables

if TYPE_CHECKING:
    from workbench.views.charts import Chart
    from workbench.views.live.table import PublishedRow

PUBLISHED_FILE = "published.csv"
NOTE = (
    f"The noise of a release is drawn once, with the entropy of the operating system, and cannot be drawn again. So\n"
    f"`{PUBLISHED_FILE}` holds what was published, and everything else is made from it.\n"
)


class LiveQuestion(msgspec.Struct, frozen=True, tag_field="page", tag="live", forbid_unknown_fields=True, kw_only=True):
    """How published rows are to be shown.

    Attributes:
        metric: whose chart is the largest.
        band: "each day" or "all days": what the intervals hold for.
        week: whether the counts of a week before are drawn beside.
        table: a CSV file with the columns of `workbench.views.live.table.PublishedRow`.
    """

    metric: str
    band: str = "each day"
    week: bool = False
    table: str = PUBLISHED_FILE


def answer_live(question: LiveQuestion, job: Job) -> Tables:
    """See `live_tables`; the rows come from the file.

    Raises:
        ValueError: a field or a row has an impossible value; the message names it.
        OSError: the file cannot be read.
    """
    from workbench.views.live.table import read_rows

    job.tell("reading", 0.5, None)
    return live_tables(question, read_rows((job.folder / question.table).read_text(encoding="utf-8")))


def live_tables(question: LiveQuestion, rows: Sequence[PublishedRow]) -> Tables:
    """The tables "published" (the rows), "counts" and "stickiness".

    Raises:
        ValueError: the question asks for a metric or a band that the rows do not have.
    """
    from workbench.views.live.table import ALL_DAYS, EACH_DAY, counts_table, stickiness_table

    metrics = {row.metric for row in rows}
    if question.metric not in metrics:
        raise ValueError(f"metric is {question.metric!r}; the rows have {', '.join(sorted(metrics)) or 'none'}")
    if question.band not in (EACH_DAY, ALL_DAYS):
        raise ValueError(f"band is {question.band!r}; choose {EACH_DAY} or {ALL_DAYS}")
    if question.band == ALL_DAYS and any(row.band_low is None for row in rows):
        raise ValueError(f"band is {ALL_DAYS}, but some rows have no band_low")
    return {
        "published": [msgspec.to_builtins(row) for row in rows],
        "counts": counts_table(rows, question.band),
        "stickiness": stickiness_table(rows, question.band),
    }


def live_charts(question: LiveQuestion, tables: Tables) -> Mapping[str, Chart]:
    """One chart a metric, the chosen one first, and that of stickiness."""
    from workbench.views.live.chart import live_pictures

    return {name: picture.complete() for name, picture in live_pictures(question, tables).items()}


PAGE = ResearchPage(LiveQuestion, answer_live, live_charts, inputs=(PUBLISHED_FILE,), note=NOTE)
