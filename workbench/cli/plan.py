"""The command `plan`: the noise of every question of a release, before anything is counted or spent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.cli.breakdowns import Asked, asked_options
from workbench.cli.counts import Query, query_options
from workbench.cli.options import Output, Pairs, output_options
from workbench.cli.release import Protection, protection_options, request_for
from workbench.cli.sketches import SketchChoice
from workbench.rows import TableRow

if TYPE_CHECKING:
    from dp.release import Plan

FIRST, TICKS = date(2024, 1, 1), 365
"""The ticks that are planned for where none are given; a Monday."""


@click.command()
@query_options
@asked_options
@protection_options
@click.option("--ci-level", type=float, default=0.95, show_default=True, help="Level of the pointwise intervals.")
@click.option(
    "--expect",
    type=Pairs(),
    default=None,
    metavar="QUESTION=COUNT,…",
    help="A guess at the size of each question's counts, from public knowledge: then errors are also given in per "
    "cent, and the shares that make them equal are those for equal relative errors.",
)
@output_options
def plan(
    query: Query, asked: Asked, protection: Protection, ci_level: float, expect: dict[str, str] | None, output: Output
) -> None:
    """Show the noise of every question of a release before anything is spent. No log is read.

    \b
    series         how many series the question has; each gets noise of its own
    mechanism      what was chosen, with --mechanism best
    share          of the budget
    std            largest standard deviation of a release over the horizon, in users
    half_width     half of the largest interval
    equal_share    the share with which all questions err alike

    The last line is the --share that makes the errors equal.
    """
    from dp.release import plan_release, promise
    from dp.release.shares import equal_shares

    output.validate()
    windows = asked.windows(query)
    asked.validate(query.engine, None)
    days = query.ticks or [FIRST + timedelta(days=tick) for tick in range(TICKS)]
    everyone = SketchChoice("exact", None, Path())
    planned = plan_release(request_for(windows, asked, protection, everyone, days, ci_level))
    sizes = _sizes(expect)
    alike = equal_shares(planned, sizes)
    output.write(plan_rows(planned, alike, sizes), title=promise(planned.request).split(". ")[0])
    wanted = ",".join(f"{name}={share / min(alike.values()):.3g}" for name, share in alike.items())
    kind = "errors" if sizes is None else "relative errors"
    click.echo(f"for equal {kind}: --share {wanted}", err=True)


def _sizes(expect: dict[str, str] | None) -> dict[str, float] | None:
    try:
        return None if expect is None else {name: float(size) for name, size in expect.items()}
    except ValueError as error:
        raise click.UsageError(f"--expect needs a number for every question: {error}") from error


def plan_rows(planned: Plan, alike: Mapping[str, float], sizes: Mapping[str, float] | None) -> list[TableRow]:
    """A row a question, with the columns that `dpdau plan` explains.

    Args:
        alike: shares with which all questions err alike.
        sizes: a count that is expected of each; errors are then also in per cent.
    """
    from dp.release.band import half_widths
    from dp.release.shares import largest_deviations

    request, deviations = planned.request, largest_deviations(planned)
    whole = sum(request.shares.values())
    rows: list[TableRow] = []
    for name, series in planned.by_question.items():
        question, deviation = series.question, deviations[name]
        ticks = question.cell.number(request.first, request.horizon or TICKS)
        row: TableRow = {
            "question": question.cell.name,
            "breakdown": question.breakdown and question.breakdown.name,
            "series": len(question.series),
            **({} if request.chosen is None else {"mechanism": request.chosen[name]}),
            "share": request.shares[name] / whole,
            "epsilon": series.guarantee.epsilon,
            "std": deviation,
            "half_width": float(half_widths(series.mechanism, ticks, request.ci_level).max()),
        }
        if sizes is not None:
            row["std_percent"] = 100 * deviation / sizes[name]
        rows.append({**row, "equal_share": alike[name]})
    return rows
