"""The command `audit`: attack mechanisms and compare what they promise with what is measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.progress import progress_bar
from workbench.cli_mechanisms import class_options
from workbench.options import MECHANISM_NAMES, output_options
from workbench.output import Row, chosen_format, keep_apart, write_rows

if TYPE_CHECKING:
    from dp.audit import Audit
    from dp.units import ProtectedClass

EXIT_FLAGGED = 1


class Trials(click.ParamType[int]):
    """A number of trials, which may be written as 1e6."""

    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """A whole number of at least 100."""
        try:
            number = float(str(value))
        except ValueError:
            number = 0.0
        if not (number.is_integer() and 100 <= number <= 1e9):
            self.fail(f"{value!r} is not a whole number between 100 and 1e9, for instance 1e6", param, ctx)
        return int(number)


@click.command()
@class_options
@click.option("--epsilon", type=float, default=1.0, show_default=True, help="Promised for the whole series.")
@click.option("--delta", type=float, default=1e-6, show_default=True, help="Likewise; pure mechanisms ignore it.")
@click.option(
    "--trials",
    type=Trials(),
    default="1e6",
    show_default=True,
    help="Simulated releases of each mechanism, half of them with the change.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the simulated noise; another seed is another audit.",
)
@output_options
def audit(
    protected: ProtectedClass,
    label: str,
    names: tuple[str, ...],
    epsilon: float,
    delta: float,
    trials: int,
    seed: int,
    format_name: str | None,
    out: Path | None,
) -> None:
    """Attack mechanisms: a lower bound on the ε that they really have, against the ε that they promise.

    \b
    seen           what the attacker sees: releases, the measurements behind them, or a histogram of releases
    claimed, measured
                   ε at the promised δ; measured is a lower bound at 95 % confidence, by the Gaussian curve through the
                   measured μ where noise is Gaussian, else by rates of alarms alone (rates, in all formats but the
                   table)
    ratio          measured over claimed, of μ where the mechanism is linear, else of ε
    worst          norm of the worst pattern found over the sensitivity that the noise was made for
    flagged        the promise is disproved; over all mechanisms together, a kept one in at most 1 % of audits

    The worst pattern of the class is searched for, releases with and without it are simulated, and the likelihood ratio
    tells them apart; docs/audit.md says how to read the result. Ends with 1 if anything is flagged. A million trials
    of a year take 10 to 25 seconds a mechanism, adaptive-flippancy several minutes.
    """  # fmt: skip
    import numpy as np

    from dp.accounting.composition import Guarantee
    from dp.audit import audit_mechanism
    from dp.audit.likelihood import CONFIDENCE, FLAG_LEVEL

    chosen = chosen_format(format_name, out)
    keep_apart(out=out)
    wanted = names or MECHANISM_NAMES
    rows: list[Row] = []
    unserved: list[str] = []
    with progress_bar() as report:
        for number, name in enumerate(wanted):

            def progress(done: float, before: int = number, stage: str = name) -> None:
                report(stage, (before + done) / len(wanted))

            progress(0.0)
            started = time.perf_counter()
            generator = np.random.default_rng([seed, *name.encode()])
            try:
                found = audit_mechanism(
                    name,
                    protected,
                    Guarantee(epsilon, delta),
                    trials,
                    generator,
                    flag_level=FLAG_LEVEL / len(wanted),
                    report=progress,
                )
            except ValueError as error:
                if names:
                    raise
                unserved.append(f"{name}: {error}")
                continue
            seconds = (time.perf_counter() - started) / len(found)
            rows.extend(_row(one, seconds) for one in found)
    title = f"{label}; ε {epsilon:g}, δ {delta:g}; {trials:,} trials, {100 * CONFIDENCE:g}% lower bounds"
    shown = [_for_people(row) for row in rows] if chosen == "table" else rows
    write_rows(shown, chosen, out, title=title)
    for reason in unserved:
        click.echo(reason, err=True)
    flagged = sorted({row["mechanism"] for row in rows if row["flagged"]})
    if flagged:
        click.echo(f"flagged: {', '.join(flagged)} told more than was promised", err=True)
        raise click.exceptions.Exit(EXIT_FLAGGED)


def _row(one: Audit, seconds: float) -> Row:
    return {
        "mechanism": one.mechanism,
        "seen": one.seen,
        "claimed": one.claim.epsilon,
        "measured": one.measured,
        "ratio": one.ratio,
        "worst": one.worst,
        "flagged": one.flagged,
        "delta": one.claim.delta,
        "claimed_mu": one.claimed_mu,
        "mu": one.mu,
        "rates": one.epsilon,
        "confidence": one.confidence,
        "flag_level": one.flag_level,
        "trials": one.trials,
        "flips": list(one.flips),
        "seconds": round(seconds, 3),
    }


def _for_people(row: Row) -> Row:
    left_out = ("delta", "rates", "confidence", "flag_level", "trials", "flips", "claimed_mu")
    return {name: value for name, value in row.items() if name not in left_out}
