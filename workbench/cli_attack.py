"""The command `attack`: make the attacks and say what they read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.progress import progress_bar
from workbench.options import output_options
from workbench.output import Row, chosen_format, keep_apart, write_rows

if TYPE_CHECKING:
    from dp.audit.attacks import Outcome

EXIT_FALLEN = 1
# Spelt out because importing them takes a second; a test compares.
ATTACK_NAMES = (
    "repeated-query", "differencing", "rejoin", "adaptive", "late", "poisoning", "support", "ledger",
)  # fmt: skip
WORDS = ("threat", "criterion")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(ATTACK_NAMES), metavar="[NAME]…")
@click.option("--full", is_flag=True, help="With all trials; without it, with fewer, in about a minute for all.")
@click.option("--twins", is_flag=True, help="Also attack broken twins, which must fall.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what the attacker draws.")
@output_options
def attack(
    names: tuple[str, ...], full: bool, twins: bool, seed: int, format_name: str | None, out: Path | None
) -> None:
    """Attack the project: all attacks, if none is named; every reading beside the most that the claim allows.

    repeated-query, differencing, rejoin, adaptive, late, poisoning, support, ledger: all output but the table says
    who attacks and when they win. Ends with 1 if something that must hold falls, or a twin holds.
    """
    import numpy as np

    from dp.audit.attacks import ATTACKS, OURS, Setting, run_attack
    from experiments.attack_tasks import NOW

    chosen = chosen_format(format_name, out)
    keep_apart(out=out)
    wanted = [(name, target) for name in names or ATTACK_NAMES for target in ATTACKS[name].targets]
    wanted = [(name, target) for name, target in wanted if twins or target == OURS]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder, progress_bar() as report:
        for number, (name, target) in enumerate(wanted):
            report(f"{name} against {target}", number / len(wanted))
            generator = np.random.default_rng([seed, *name.encode()])
            outcomes.append(run_attack(name, Setting(generator, Path(folder), NOW, not full), target))
    rows = [row for outcome in outcomes for row in _rows(outcome)]
    if chosen == "table":
        rows = [{name: value for name, value in row.items() if name not in WORDS} for row in rows]
    write_rows(rows, chosen, out, title="Attacks: what was measured, and the most that the claim allows")
    wrong = [f"{one.name} against {one.target}" for one in outcomes if one.held != (one.target == OURS)]
    if wrong:
        click.echo(f"not as it must be: {'; '.join(wrong)}", err=True)
        raise click.exceptions.Exit(EXIT_FALLEN)


def _rows(outcome: Outcome) -> list[Row]:
    return [
        {
            "attack": outcome.name,
            "target": outcome.target,
            "reading": reading.what,
            "measured": round(float(reading.measured), 6),
            "allowed": reading.allowed,
            "held": reading.held,
            "threat": outcome.threat,
            "criterion": outcome.criterion,
        }
        for reading in outcome.readings
    ]
