"""The whole dashboard as one release: what each question costs and how it errs, and how to ask for it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dp.names import METRICS
from dp.questions import Breakdown, Question, questions_of, totals_of
from workbench.rows import TableRow
from workbench.views.plan.research import EQUAL_RELATIVE, EVENLY, SPLITS, PlanQuestion
from workbench.views.plan.settings import added_up, rounded_up
from workbench.views.toml_text import toml_text

if TYPE_CHECKING:
    from dp.release import Request

COMES_TO = {"week": "wau", "month": "mau"}
"""Calendar cell → the metric that counts about as many."""


def dashboard_rows(question: PlanQuestion) -> list[TableRow]:
    """A row a question, metrics first: the columns of `dpdau plan`, `name` and `expected`.

    Raises:
        ValueError: a field has an impossible value; the message names it.
    """
    from dp.release import plan_release
    from dp.release.shares import equal_shares
    from workbench.cli.plan import plan_rows

    if question.split not in SPLITS:
        raise ValueError(f"split is {question.split!r}; choose {', '.join(SPLITS)}")
    request = _request(question)
    sizes = {one.name: expected_size(one, question.expected) for one in request.asked}
    planned = plan_release(request)
    shares = equal_shares(planned, sizes if question.split == EQUAL_RELATIVE else None)
    if question.split != EVENLY:
        planned = plan_release(dataclasses.replace(request, shares=shares))
    return [
        {"name": name, "expected": size} | row
        for (name, size), row in zip(sizes.items(), plan_rows(planned, shares, sizes), strict=True)
    ]


def breakdowns(question: PlanQuestion) -> list[Breakdown]:
    """The breakdowns that are asked for.

    Raises:
        ValueError: one of them cannot be one.
    """
    return [one.named(name) for name, one in question.by.items()]


def asked_besides(question: PlanQuestion) -> tuple[Question, ...]:
    """All that is asked besides DAU, WAU and MAU."""
    return questions_of(METRICS, question.flows, question.calendar, breakdowns(question))


def expected_size(question: Question, expected: Sequence[int]) -> float:
    """A guess at the counts of one series, from those of DAU, WAU and MAU: public knowledge, no data.

    Every segment that is listed is alike; on a day, those come who make up a window between them.
    """
    counts = dict(zip(METRICS, expected, strict=True))
    cell = question.cell
    size = counts[COMES_TO.get(cell.metric, cell.metric)]
    days = cell.window if cell.kind == "flows" and cell.window else 1
    segments = question.breakdown.size - 1 if question.breakdown else 1
    return size / days / segments


def _request(question: PlanQuestion) -> Request:
    from dp.accounting.composition import Guarantee
    from dp.release import Request
    from workbench.cli.plan import FIRST

    others = asked_besides(question)
    return Request(
        windows=dict(METRICS),
        unit=question.unit,
        w_bound=question.w_bound,
        guarantee=Guarantee(question.epsilon, question.delta),
        mechanism=question.mechanism,
        first=FIRST,
        horizon=question.horizon,
        shares=dict.fromkeys([one.name for one in (*totals_of(METRICS), *others)], 1.0),
        questions=others,
    )


def release_command(question: PlanQuestion, rows: Sequence[TableRow]) -> str:
    """What releases the dashboard of a log."""
    least = min(row["share"] for row in rows)
    shares = ",".join(f"{row['name']}={row['share'] / least:.4g}" for row in rows)
    options = [f"--metric {metric}" for metric in METRICS]
    options += [f"--flows {metric}" for metric in question.flows]
    options += [f"--calendar {cell}" for cell in question.calendar]
    spelt = [f"{name}={','.join(one.values)}:{one.kind}" for name, one in question.by.items()]
    options += [f"--by {shlex.quote(one)}" for one in spelt]
    options += ["--users users.csv"] if any(one.kind == "fixed" for one in question.by.values()) else []
    options += [
        f"--unit {question.unit} --w-bound {question.w_bound} --mechanism {question.mechanism}",
        f"--epsilon {question.epsilon:g} --delta {question.delta:g}",
        f"--share {shlex.quote(shares)}",
        "--from 2026-01-01 --to 2026-12-31",
    ]
    return " \\\n  ".join(["dpdau release log.csv", *options])


def service_settings(question: PlanQuestion, rows: Sequence[TableRow]) -> str:
    """Settings of the live service that publish the same besides its metrics, each with the noise that is shown."""
    asked = {
        row["name"]: {
            "epsilon": rounded_up(row["epsilon"]),
            "delta": question.delta,
            "unit": question.unit,
            "w_bound": question.w_bound,
            "mechanism": question.mechanism,
        }
        for row in rows
        if row["name"] not in METRICS
    }
    by = {name: {"kind": one.kind, "values": list(one.values)} for name, one in question.by.items()}
    return toml_text({"by": by, "questions": asked} if by else {"questions": asked}).lstrip()


def service_cost(rows: Sequence[TableRow]) -> float:
    """What the live service charges in ε for all that is asked besides its metrics."""
    return added_up([rounded_up(row["epsilon"]) for row in rows if row["name"] not in METRICS])


def service_delta(question: PlanQuestion, rows: Sequence[TableRow]) -> float:
    """What the live service charges in δ for the same."""
    return question.delta * sum(row["name"] not in METRICS for row in rows)
