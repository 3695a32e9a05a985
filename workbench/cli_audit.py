"""The command `audit`: attack mechanisms and compare what they promise with what is measured."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.progress import progress_bar
from workbench.cli_mechanisms import Asked, class_options
from workbench.options import MECHANISM_NAMES, output_options
from workbench.output import Row, chosen_format, keep_apart, write_rows

if TYPE_CHECKING:
    import numpy as np

    from dp.audit import Audit

EXIT_FLAGGED = 1
TRIALS, LIVE_TRIALS = 1_000_000, 2_000


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
    show_default="1e6, with --live 2000",
    help="Releases of each mechanism, half of them with the change.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Attack real releases: OpenDP's noise, and a charge for each in a ledger that is thrown away.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the simulated noise; another seed is another audit. Real noise has none.",
)
@output_options
def audit(
    asked: Asked,
    names: tuple[str, ...],
    epsilon: float,
    delta: float,
    trials: int | None,
    live: bool,
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
    ratio          measured over claimed, of μ where it is claimed, else of ε
    worst          norm of the worst pattern found over the sensitivity that the noise was made for
    flagged        the promise is disproved; over all mechanisms together, a kept one in at most 1 % of audits

    The worst pattern of the class is searched for, releases with and without it are simulated, and the likelihood ratio
    tells them apart; docs/audit.md says how to read the result. Ends with 1 if anything is flagged. A million trials
    of a year take 5 to 20 seconds a mechanism on two cores; a real release (--live) of a year 30 ms.
    """  # fmt: skip
    from dp.audit.likelihood import CONFIDENCE, FLAG_LEVEL

    chosen = chosen_format(format_name, out)
    keep_apart(out=out)
    wanted = names or MECHANISM_NAMES
    number = trials or (LIVE_TRIALS if live else TRIALS)
    attack = _live if live else _simulated
    rows: list[Row] = []
    unserved: list[str] = []
    with progress_bar() as report:
        for place, name in enumerate(wanted):

            def progress(done: float, before: int = place, stage: str = name) -> None:
                report(stage, (before + done) / len(wanted))

            progress(0.0)
            started = time.perf_counter()
            try:
                found = attack(asked, name, epsilon, delta, number, seed, FLAG_LEVEL / len(wanted), progress)
            except ValueError as error:
                if names:
                    raise
                unserved.append(f"{name}: {error}")
                continue
            seconds = (time.perf_counter() - started) / len(found)
            rows.extend(_row(one, seconds) for one in found)
    what = "real releases" if live else "trials"
    title = f"{asked.label}; ε {epsilon:g}, δ {delta:g}; {number:,} {what}, {100 * CONFIDENCE:g}% lower bounds"
    shown = [_for_people(row) for row in rows] if chosen == "table" else rows
    write_rows(shown, chosen, out, title=title)
    for reason in unserved:
        click.echo(reason, err=True)
    flagged = sorted({row["mechanism"] for row in rows if row["flagged"]})
    if flagged:
        click.echo(f"flagged: {', '.join(flagged)} told more than was promised", err=True)
        raise click.exceptions.Exit(EXIT_FLAGGED)


def _simulated(
    asked: Asked,
    name: str,
    epsilon: float,
    delta: float,
    trials: int,
    seed: int,
    flag_level: float,
    report: Callable[[float], None],
) -> list[Audit]:
    from dp.accounting.composition import Guarantee
    from dp.audit import audit_mechanism

    return audit_mechanism(
        name,
        asked.protected,
        Guarantee(epsilon, delta),
        trials,
        _generator(seed, name),
        flag_level=flag_level,
        workers=os.cpu_count() or 1,
        report=report,
    )


def _live(
    asked: Asked,
    name: str,
    epsilon: float,
    delta: float,
    trials: int,
    seed: int,
    flag_level: float,
    report: Callable[[float], None],
) -> list[Audit]:
    from dp.accounting.composition import Guarantee
    from dp.audit.live import audit_live
    from dp.ledger import open_ledger
    from dp.mechanisms import family_of
    from dp.release import Request

    guarantee = Guarantee(epsilon, 0.0 if family_of(name).delta == "none" else delta)
    first = datetime.now(UTC).date()
    metric = asked.metric.lower() or "count"
    request = Request(
        {metric: asked.window}, asked.unit, asked.w_bound, guarantee, name, first, asked.horizon, {metric: 1.0}
    )
    with tempfile.TemporaryDirectory() as folder, open_ledger(Path(folder) / "ledger.db") as ledger:
        ledger.create_budget("audit", Guarantee(1.01 * trials * epsilon, min(1.01 * trials * delta, 0.5)), first, None)
        return [
            audit_live(
                request, trials, _generator(seed, name), ledger, "audit", datetime.now(UTC),
                flag_level=flag_level, report=report,
            )
        ]  # fmt: skip


def _generator(seed: int, name: str) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng([seed, *name.encode()])


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
