"""The command `audit`: attack mechanisms and compare what they promise with what is measured."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dp.names import CALENDAR
from dp.progress import Progress
from dp.questions import CellKind, kind_of
from experiments.engine.progress import progress_bar
from workbench.cli.mechanisms import ClassChoice, class_options, mechanism_option
from workbench.cli.options import MECHANISM_NAMES, SKETCH_NAMES, Output, gathered_as, output_options
from workbench.rows import TableRow

if TYPE_CHECKING:
    import numpy as np

    from dp.accounting.composition import Guarantee
    from dp.auditing import Audit, AuditOptions
    from dp.questions import Question

    Audits = Callable[["Terms", str, AuditOptions], list[Audit]]

EXIT_FLAGGED = 1
TRIALS, LIVE_TRIALS = 1_000_000, 2_000


class TrialCount(click.ParamType[int]):
    """A number of trials, which may be written as 1e6."""

    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """A whole number of at least 100, and not more than memory holds."""
        try:
            number = float(str(value))
        except ValueError:
            number = 0.0
        if not (number.is_integer() and 100 <= number <= 2e7):
            self.fail(f"{value!r} is not a whole number between 100 and 2e7, for instance 1e6", param, ctx)
        return int(number)


@dataclass(frozen=True)
class AskedChoice:
    """The question whose series are attacked together; by default how many users are present in the window."""

    cell: CellKind
    breakdown: str | None

    @property
    def given(self) -> bool:
        """Whether anything but a rolling total is asked."""
        return self.cell != "rolling" or self.breakdown is not None

    @property
    def label(self) -> str:
        """The same in words."""
        by = f" by a breakdown of kind {self.breakdown}" if self.breakdown else ""
        return f"{self.cell}{by}; " if self.given else ""

    def question(self, users: ClassChoice) -> Question:
        """The question, with a breakdown of enough segments."""
        from dp.questions import Breakdown, Cell, Question

        if self.cell in CALENDAR:
            cell = Cell(self.cell, self.cell)
        else:
            cell = Cell(self.cell, users.name.lower() or "count", users.days)
        if self.breakdown is None:
            return Question(cell)
        kind, most = kind_of(self.breakdown)
        values = tuple(str(number) for number in range(most + 1))
        return Question(cell, Breakdown("segment", kind, ("segment",), (values,), most))

    def ticks(self, users: ClassChoice) -> int | None:
        """How many numbers each series has in the horizon."""
        if users.ticks is None:
            return None
        return max(1, users.ticks // {"week": 7, "month": 30}.get(self.cell, 1))


class BreakdownKindType(click.ParamType[str]):
    """A kind of breakdown: fixed, last, any or any:K."""

    name = "kind"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The kind as it is written."""
        try:
            kind_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


asked_options = gathered_as(
    AskedChoice, "asked",
    click.option("--cell", type=click.Choice(("rolling", "flows", *CALENDAR)), default="rolling", show_default=True,
                 help="What is counted: users present in the window, those who come into it and leave it, or calendar "
                      "cells. All series of the answer are attacked together."),
    click.option("--breakdown", type=BreakdownKindType(), default=None, metavar="fixed | any:K | last",
                 help="By segments of this kind; which they are makes no difference."),
)  # fmt: skip


@click.command()
@class_options
@mechanism_option
@asked_options
@click.option(
    "--sketch",
    "sketches",
    type=click.Choice([*SKETCH_NAMES, "all"]),
    multiple=True,
    help="Sketches to attack, in addition to mechanisms or instead of them; may be repeated. "
    "--metric, --window, --unit, --w-bound and --horizon do not matter for them.",
)
@click.option("--epsilon", type=float, default=1.0, show_default=True, help="ε promised for the whole series.")
@click.option(
    "--delta",
    type=float,
    default=1e-6,
    show_default=True,
    help="δ promised for the whole series; pure mechanisms ignore it.",
)
@click.option(
    "--trials",
    type=TrialCount(),
    show_default="1e6, with --live 2000",
    help="Releases of each subject, half of them with the change.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Attack real releases, with OpenDP's noise and a charge for each in a temporary ledger.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the simulated noise; another seed gives another audit. Real noise has no seed.",
)
@output_options
def audit(
    users: ClassChoice, names: tuple[str, ...], asked: AskedChoice, sketches: tuple[str, ...], epsilon: float,
    delta: float, trials: int | None, live: bool, seed: int, output: Output,
) -> None:  # fmt: skip
    """Attack mechanisms and sketches: an empirical lower bound on the ε that they have, beside the ε that they promise.

    \b
    seen           what the attacker sees: releases, the measurements behind them, a histogram of releases, a sketch
    claimed, measured
                   ε at the promised δ; measured is a lower bound at 95 % confidence, by the Gaussian curve through the
                   measured μ where noise is Gaussian, else by rates of alarms alone (column rates; not in the table)
    ratio          measured divided by claimed, of μ where it is claimed, else of ε
    worst          norm of the worst pattern found, divided by the sensitivity that the noise was calibrated to
    flagged        the promise is disproved; at most 1 % of commands flag any promise that is kept, however many
                   subjects they attack
    seconds        time that all attacks on the subject took

    The audit searches for the worst pattern of the class, simulates releases with and without it, and tells them apart
    by the likelihood ratio; docs/audit.md says how to read the result. Exit code 1 if anything is flagged. A million
    trials of a year take 5 to 30 seconds per mechanism on two cores; a real release (--live) of a year takes 30 ms.
    """  # fmt: skip
    from dp.accounting.composition import Guarantee
    from dp.auditing.options import CONFIDENCE

    output.validate()
    if live and sketches:
        raise click.UsageError("--live attacks releases of mechanisms; leave --sketch or --live out")
    if live and asked.given:
        raise click.UsageError("--live attacks releases of metrics; leave --cell and --breakdown out")
    attack_by_name = _live if live else _asked if asked.given else _simulated
    subjects: list[tuple[str, Audits]] = [
        *((name, attack_by_name) for name in names or (() if sketches else MECHANISM_NAMES)),
        *((name, _sketch) for name in (SKETCH_NAMES if "all" in sketches else sketches)),
    ]
    terms = Terms(users, Guarantee(epsilon, delta), trials or (LIVE_TRIALS if live else TRIALS), seed, asked)
    with progress_bar() as report:
        rows, refusals = _attack_all(subjects, terms, {*names, *sketches}, report)
    if not rows:
        raise click.ClickException("nothing could be attacked:\n" + "\n".join(refusals))
    what = f"ε {epsilon:g}, δ {delta:g}; {terms.trials:,} {'real releases' if live else 'trials'}"
    title = f"sketches; {what}" if sketches and not names else f"{asked.label}{users.label}; {what}"
    shown = [_for_people(row) for row in rows] if output.format == "table" else rows
    output.write(shown, title=f"{title}, {100 * CONFIDENCE:g}% lower bounds")
    for reason in refusals:
        click.echo(reason, err=True)
    flagged = sorted({row["subject"] for row in rows if row["flagged"]})
    if flagged:
        click.echo(f"flagged: {', '.join(flagged)} revealed more than was promised", err=True)
        raise click.exceptions.Exit(EXIT_FLAGGED)


def _attack_all(
    subjects: Sequence[tuple[str, Audits]], terms: Terms, named: set[str], report: Progress
) -> tuple[list[TableRow], list[str]]:
    """The rows of all subjects, and why some have none; one that the user has `named` must have some."""
    from dp.auditing.options import FLAG_LEVEL, AuditOptions

    rows: list[TableRow] = []
    refusals: list[str] = []
    for place, (name, attack) in enumerate(subjects):

        def progress(done: float, before: int = place, stage: str = name) -> None:
            report(stage, (before + done) / len(subjects))

        progress(0.0)
        started = time.perf_counter()
        try:
            flag_level = FLAG_LEVEL / len(subjects)
            options = AuditOptions(flag_level=flag_level, workers=os.cpu_count() or 1, report=progress)
            found = attack(terms, name, options)
        except ValueError as error:
            if name in named:
                raise
            refusals.append(f"{name}: {error}")
            continue
        seconds = time.perf_counter() - started
        rows.extend({**one.row(), "seconds": round(seconds, 3)} for one in found)
    return rows, refusals


@dataclass(frozen=True)
class Terms:
    """What holds for every attack of one command."""

    users: ClassChoice
    promised: Guarantee
    trials: int
    seed: int
    asked: AskedChoice

    def generator(self, name: str) -> np.random.Generator:
        """A generator of the subject's own."""
        from dp.auditing.by_name import subject_generator

        return subject_generator(self.seed, name)


def _simulated(terms: Terms, name: str, options: AuditOptions) -> list[Audit]:
    from dp.auditing import audit_mechanism

    return audit_mechanism(name, terms.users.protected, terms.promised, terms.trials, terms.generator(name), options)


def _asked(terms: Terms, name: str, options: AuditOptions) -> list[Audit]:
    from dp.auditing.questions import audit_question

    users = terms.users
    found = audit_question(
        name, terms.asked.question(users), users.unit, users.w_bound, terms.asked.ticks(users), terms.promised,
        terms.trials, terms.generator(name), options,
    )  # fmt: skip
    return [replace(one, subject=name) for one in found]


def _sketch(terms: Terms, name: str, options: AuditOptions) -> list[Audit]:
    from dp.auditing.sketches import audit_sketch

    return audit_sketch(name, terms.promised, terms.trials, terms.generator(name), options)


def _live(terms: Terms, name: str, options: AuditOptions) -> list[Audit]:
    from dp.accounting.composition import Guarantee
    from dp.auditing.live import LedgerBudget, audit_live
    from dp.ledger import open_ledger
    from dp.release import Request, charged

    users, now = terms.users, datetime.now(UTC)
    metric = users.name.lower() or "count"
    request = Request(
        {metric: users.days}, users.unit, users.w_bound, terms.promised, name, now.date(), users.ticks, {metric: 1.0}
    )
    request = replace(request, guarantee=charged(request))
    enough = Guarantee(1.01 * terms.trials * request.guarantee.epsilon, 1.01 * terms.trials * request.guarantee.delta)
    if enough.delta >= 1:
        raise ValueError(
            f"{terms.trials:,} releases of δ = {request.guarantee.delta:g} need a budget of δ ≥ 1, "
            "which is not allowed; take fewer trials or a smaller --delta"
        )
    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder) / "ledger.db") as ledger:
        ledger.create_budget("audit", enough, now.date(), None)
        account = LedgerBudget(ledger, "audit", now)
        return audit_live(request, terms.trials, terms.generator(name), account, options)


def _for_people(row: TableRow) -> TableRow:
    left_out = ("delta", "rates", "confidence", "flag_level", "trials", "flips", "claimed_mu")
    return {name: value for name, value in row.items() if name not in left_out}
