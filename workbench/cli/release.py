"""The command `release`: publish private counts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dp.names import BEST_MECHANISM, DEFAULT_W_BOUND, UNITS
from experiments.engine.progress import progress_bar
from workbench.cli.breakdowns import Asked, asked_options
from workbench.cli.compact import tombstones_option
from workbench.cli.counts import Query, open_log, query_options
from workbench.cli.options import (
    HorizonType,
    LogCommand,
    LogOptions,
    Output,
    Pairs,
    gathered_as,
    log_options,
    mechanism_by_delta,
    output_options,
    ticks_of,
)
from workbench.cli.payment import Payment, payment_options
from workbench.cli.postprocessing import PostProcessing, postprocessing_options
from workbench.cli.sketches import SketchChoice, sketch_options
from workbench.rows import TableRow

if TYPE_CHECKING:
    from dp.mechanisms.joint import Exceptions
    from dp.release import Plan, Request

LARGE_DELTA = 1e-2
SHOWN = {
    "metric", "question", "breakdown", "segment", "day", "estimate", "ci_low", "ci_high", "std", "bias_bound",
    "sketch_std", "noise_low", "noise_high", "band_low", "band_high", "count", "count_low", "count_high",
}  # fmt: skip
"""The columns of a table, where a row has them."""


@dataclass(frozen=True)
class Protection:
    """Whom a release protects, how much, and by which noise."""

    unit: str
    w_bound: int | None
    epsilon: float
    delta: float
    mechanism: str
    split: dict[str, str] | None
    share: dict[str, str] | None
    horizon: int | str | None
    on_time: dict[str, str] | None
    spend_delta: bool

    def warn(self) -> None:
        """Say what is without effect, and what is dangerous."""
        from dp.mechanisms import family_of
        from dp.release import uses_w_bound

        if self.w_bound is not None and not uses_w_bound(self.mechanism):
            click.echo(f"note: --w-bound has no effect: {self.mechanism} does not need it", err=True)
        spends = self.spend_delta or self.mechanism == BEST_MECHANISM or family_of(self.mechanism).delta != "none"
        if self.delta > LARGE_DELTA and spends:
            click.echo(
                f"warning: delta is {self.delta:g}: with that probability there may be no privacy at all", err=True
            )

    def shares(self, names: Sequence[str]) -> dict[str, float]:
        """Question → its share of the budget; equal ones where nothing is said."""
        if self.split is not None and self.share is not None:
            raise click.UsageError("give --split, which names every question, or --share, which names some, not both")
        option, given = ("--split", self.split) if self.split is not None else ("--share", self.share or {})
        if self.split is not None and set(given) != set(names):
            raise click.UsageError(f"--split names {', '.join(given)}; it must name each of {', '.join(names)}")
        if unknown := [name for name in given if name not in names]:
            raise click.UsageError(f"--share names {unknown[0]!r}; the questions are {', '.join(names)}")
        try:
            return {name: float(given.get(name, 1)) for name in names}
        except ValueError as error:
            raise click.UsageError(f"{option} needs a number for every question: {error}") from error

    def ticks(self, counted: Sequence[date]) -> int | None:
        """How many ticks the guarantee covers, None for no end; where nothing is said, those that are counted."""
        return ticks_of(self.horizon, len(counted))

    @property
    def exceptions(self) -> Exceptions | None:
        """What users who act on time may do beyond that; None where users are not taken to be on time."""
        from dp.mechanisms.joint import Exceptions

        if self.on_time is None:
            return None
        if not set(self.on_time) <= {"removals", "late"} or not all(map(str.isdigit, self.on_time.values())):
            raise click.UsageError("--on-time is a list such as removals=2,late=1, of whole numbers")
        return Exceptions(**{name: int(number) for name, number in self.on_time.items()})


protection_options = gathered_as(
    Protection, "protection",
    click.option("--unit", type=click.Choice(UNITS), default="user-day", show_default=True,
                 help="Who is protected: one user's activity on one day with its later retraction, or everything a "
                      "user ever does."),
    click.option("--w-bound", type=click.IntRange(min=1), default=None, show_default=str(DEFAULT_W_BOUND),
                 help="W_BOUND, the most flips of presence that the protected change may cause. With --unit user a "
                      "user is frozen after this many flips (use an even number). It has no effect on sparse-vector, "
                      "which needs no bound, or on adaptive-flippancy (--unit user), which finds its own. The rows of "
                      "adaptive-flippancy give the day's W_BOUND and, as bias_bound, how many users may be missing "
                      "because they are frozen; the interval covers noise only."),
    click.option("--epsilon", type=float, required=True, help="ε of all series together, over the whole horizon."),
    click.option("--delta", type=float, default=1e-6, show_default=True,
                 help="δ of all series together; Laplace mechanisms do not use it without --spend-delta, and with 0 "
                      "sparse-vector is pure."),
    mechanism_by_delta("Mechanism that draws the noise; docs/mechanisms.md compares them. With 'best', every question "
                       "gets the linear mechanism with the least noise, which may take long to choose.",
                       BEST_MECHANISM),
    click.option("--split", type=Pairs(), default=None, metavar="METRIC=SHARE,…",
                 help="How several series divide the budget; equally by default."),
    click.option("--share", type=Pairs(), default=None, metavar="QUESTION=SHARE,…",
                 help="The same for some questions, such as mau=2,mau/platform=3; the others have 1. 'dpdau plan' "
                      "prints shares that make all errors equal."),
    click.option("--horizon", type=HorizonType(), default=None,
                 help="Ticks that the guarantee covers, or 'unlimited' if the mechanism allows it; by default those "
                      "of the stream, and of a new one those from --from to --to. Give it if you want to continue the "
                      "stream later."),
    click.option("--on-time", type=Pairs(), default=None, metavar="removals=R,late=L",
                 help="With --unit user: protect users who act on the day itself and take nothing back, with at most "
                      "this many exceptions. Nobody is frozen, and several series need less noise together "
                      "(docs/mechanisms.md)."),
    click.option("--spend-delta", is_flag=True,
                 help="Let a Laplace mechanism spend δ: less noise where one change alters many numbers."),
)  # fmt: skip


@click.command(cls=LogCommand)
@log_options
@query_options
@asked_options
@protection_options
@sketch_options
@click.option("--ci-level", type=float, default=0.95, show_default=True, help="Level of the pointwise intervals.")
@postprocessing_options
@tombstones_option
@payment_options
@output_options
def release(
    source: LogOptions, query: Query, asked: Asked, protection: Protection, sketch: SketchChoice, ci_level: float,
    post: PostProcessing, tombstones: Path | None, payment: Payment, output: Output,
) -> None:  # fmt: skip
    """Publish private counts with intervals, charged once to the ledger.

    The same command again returns the same bytes and charges nothing, whatever the log then holds. The rows are
    covered by the promise; messages, exit codes and the list of bad rows are for the operator, and are not. Exit code
    3: there is not enough budget left, and nothing was released.
    """
    payment.validate()
    output.validate(log=source.log, quarantine=source.quarantine, ledger=payment.ledger)
    windows = asked.windows(query)
    asked.validate(query.engine, tombstones)
    protection.shares(asked.names(windows))
    post.validate(protection.mechanism, sampled=sketch.rate is not None, endless=protection.horizon == "unlimited")
    protection.warn()
    sketch.validate(query.engine)
    if tombstones is not None and sketch.sketch != "exact":
        raise click.UsageError("--tombstones goes with --sketch exact: a sketch counts from rows alone")

    with ExitStack() as reading:
        with progress_bar() as report, ExitStack() as stack:
            from dp.release import plan_release, promise
            from dp.release.best import chosen_before

            log, ticks = None, query.ticks
            if ticks is None:
                log = stack.enter_context(open_log(source, query, report, tombstones, asked.segments(windows)))
                ticks = payment.agreed(log.ticks)
            payment.warn_of_open_day(ticks[-1])
            report("calibrating the noise", None)
            request = request_for(windows, asked, protection, sketch, ticks, ci_level)
            if opened := payment.opened(request, source):
                longer = replace(protection, horizon=protection.horizon or opened["horizon"] or "unlimited")
                request = chosen_before(request_for(windows, asked, longer, sketch, ticks, ci_level), opened)
            plan = plan_release(request)
            rows = payment.recall(plan, source, len(ticks), reading)
            if rows is None:
                payment.warn_of_date(request, source)
                log = log or stack.enter_context(open_log(source, query, report, tombstones, asked.segments(windows)))
                report("counting users", None)
                counts = (
                    asked.counts(log.log, plan, ticks[-1], report)
                    or sketch.counts(log.log, plan, ticks[-1], report)
                    or log.count(windows, plan.freeze)
                )
                report("drawing the noise", None)
                rows = payment.draw(plan, source, counts, log.arrived, reading)
        if not payment.simulate:
            click.echo(promise(plan.request), err=True)
        _write(plan, post.apply(plan, rows), output, charged=not payment.simulate)


def request_for(
    windows: dict[str, int], asked: Asked, protection: Protection, sketch: SketchChoice, ticks: Sequence[date],
    ci_level: float,
) -> Request:  # fmt: skip
    """What the options ask to be published from the first of the ticks on."""
    from dp.accounting.composition import Guarantee
    from dp.release import Request

    first, horizon = ticks[0], protection.ticks(ticks)
    return Request(
        windows=windows,
        unit=protection.unit,
        w_bound=protection.w_bound or DEFAULT_W_BOUND,
        guarantee=Guarantee(protection.epsilon, protection.delta),
        mechanism=protection.mechanism,
        first=first,
        horizon=horizon,
        shares=protection.shares(asked.names(windows)),
        ci_level=ci_level,
        on_time=protection.exceptions,
        sketch=sketch.sketch,
        sample=sketch.sample(first, horizon),
        questions=asked.questions(windows),
        spend_delta=protection.spend_delta,
    )


def _write(plan: Plan, rows: Iterable[TableRow], output: Output, *, charged: bool) -> None:
    """Write the rows; a table has fewer columns. A release that cannot be written is not lost."""
    left = iter(rows)
    first = next(left, None)
    if first is None:
        output.write([], title="no week or month has ended yet, so that nothing is published")
        return
    # W_BOUND stands in a column where it changes from day to day; then there is a bias.
    shown = SHOWN | {"w_bound"} if "bias_bound" in first else SHOWN
    hidden = [name for name in first if name not in shown]
    try:
        output.write(itertools.chain([first], left), title=_title(plan, first), hidden=hidden)
    except OSError as error:
        kept = " The release is charged and stored: repeat the command, it returns it at no charge." if charged else ""
        raise click.ClickException(f"{output.out} cannot be written: {error.strerror or error}.{kept}") from error


def _title(plan: Plan, row: TableRow) -> str:
    mechanisms = ", ".join(dict.fromkeys(plan.request.mechanism_of(one.name) for one in plan.request.asked))
    kind = f"budget left when published: ε {row['budget_remaining']:g}" if row["secure"] else "SIMULATED — not private"
    # Where it is said day by day, or there is none, the title says nothing.
    bound = "" if row["w_bound"] is None or "bias_bound" in row else f"W_BOUND {row['w_bound']}, "
    counted = f"a sample of {100 * row['rate']:g}% of the users, " if "rate" in row else ""
    return (
        f"{counted}{mechanisms}, unit {row['unit']}, {bound}ε {row['epsilon_total']:g}, "
        f"δ {row['delta_total']:g}, {100 * row['ci_level']:g}% intervals; {kind}"
    )
