"""The page *Live* as a question: the charts of published rows that lie in a file, for whoever reproduces them.

The page draws what the service publishes and asks no other process. Its zip holds the rows, because the noise in them
cannot be drawn again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from workbench.rows import TableRow
from workbench.views.jobs.job import Job, ResearchPage, Tables

if TYPE_CHECKING:
    from workbench.views.charts import Chart
    from workbench.views.live.table import AnswerRow, PublishedRow

PUBLISHED_FILE, ANSWERS_FILE, PLANS_FILE = "published.csv", "answers.csv", "plans.csv"
NOTE = (
    f"The noise of a release is drawn once, with the entropy of the operating system, and cannot be drawn again. So\n"
    f"`{PUBLISHED_FILE}`, and `{ANSWERS_FILE}` where there is one, hold what was published, and everything else is\n"
    "made from it.\n"
)


class LiveQuestion(msgspec.Struct, frozen=True, tag_field="page", tag="live", forbid_unknown_fields=True, kw_only=True):
    """How published rows are to be shown.

    Attributes:
        metric: whose chart is the largest.
        band: "each day" or "all days": what the intervals hold for.
        week: whether the counts of a week before are drawn beside.
        table: a CSV file with the columns of `workbench.views.live.table.PublishedRow`.
        question: which question besides the metrics is drawn, such as mau/platform; None where none is published. Then
            answers.csv holds the rows of all of them, and plans.csv says what each is charged for.
        multiples: whether segments are drawn one by one, also where they add up.
    """

    metric: str
    band: str = "each day"
    week: bool = False
    table: str = PUBLISHED_FILE
    question: str | None = None
    multiples: bool = False


def live_inputs(question: LiveQuestion) -> tuple[str, ...]:
    """The files that the answer is made from."""
    return (PUBLISHED_FILE,) if question.question is None else (PUBLISHED_FILE, ANSWERS_FILE, PLANS_FILE)


def answer_live(question: LiveQuestion, job: Job) -> Tables:
    """See `live_tables`; the rows come from the file.

    Raises:
        ValueError: a field or a row has an impossible value; the message names it.
        OSError: the file cannot be read.
    """
    from workbench.views.live.table import AnswerRow, PublishedRow, read_rows

    job.tell("reading", 0.5, None)
    rows = read_rows((job.folder / question.table).read_text(encoding="utf-8"), PublishedRow)
    if question.question is None:
        return live_tables(question, rows)
    answers = read_rows((job.folder / ANSWERS_FILE).read_text(encoding="utf-8"), AnswerRow)
    plans = list(csv.DictReader(io.StringIO((job.folder / PLANS_FILE).read_text(encoding="utf-8"))))
    return live_tables(question, rows, answers, plans)


def live_tables(
    question: LiveQuestion,
    rows: Sequence[PublishedRow],
    answers: Sequence[AnswerRow] = (),
    plans: Sequence[TableRow] = (),
) -> Tables:
    """The tables "published" (the rows), "counts" and "stickiness".

    Where a question besides the metrics is asked for, also "answers" (the rows), "plans" and "agreed" (their numbers).

    Raises:
        ValueError: the question asks for a metric, a question or a band that the rows do not have.
    """
    from workbench.views.live.agreed import agreed_numbers, answers_table, with_numbers
    from workbench.views.live.table import counts_table, stickiness_table

    _validate(question, rows, plans)
    counts = counts_table(rows, question.band)
    tables: Tables = {"published": [msgspec.to_builtins(row) for row in rows]}
    if question.question is None:
        return {**tables, "counts": counts, "stickiness": stickiness_table(rows, question.band)}
    numbers = agreed_numbers(plans, [*rows, *answers], question.band)
    counts = with_numbers(counts, numbers)
    return {
        **tables,
        "counts": counts,
        "stickiness": stickiness_table(rows, question.band, counts),
        "answers": [msgspec.to_builtins(row) for row in answers],
        "plans": list(plans),
        "agreed": answers_table(answers, numbers),
    }


def _validate(question: LiveQuestion, rows: Sequence[PublishedRow], plans: Sequence[TableRow]) -> None:
    from workbench.views.live.table import ALL_DAYS, EACH_DAY

    metrics = {row.metric for row in rows}
    if question.metric not in metrics:
        raise ValueError(f"metric is {question.metric!r}; the rows have {', '.join(sorted(metrics)) or 'none'}")
    if question.band not in (EACH_DAY, ALL_DAYS):
        raise ValueError(f"band is {question.band!r}; choose {EACH_DAY} or {ALL_DAYS}")
    if question.band == ALL_DAYS and any(row.band_low is None for row in rows):
        raise ValueError(f"band is {ALL_DAYS}, but some rows have no band_low")
    known = sorted({row["name"] for row in plans} - metrics)
    if question.question is not None and question.question not in known:
        raise ValueError(f"question is {question.question!r}; the plans have {', '.join(known) or 'none'}")


def live_charts(question: LiveQuestion, tables: Tables) -> Mapping[str, Chart]:
    """One chart a metric, the chosen one first, that of stickiness, and those of the question."""
    from workbench.views.live.chart import live_pictures
    from workbench.views.live.question_chart import question_pictures

    pictures = {**live_pictures(question, tables), **question_pictures(question, tables)}
    return {name: picture.complete() for name, picture in pictures.items()}


PAGE = ResearchPage(LiveQuestion, answer_live, live_charts, inputs=live_inputs, note=NOTE)
