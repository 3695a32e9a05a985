"""The command `attack`: make the attacks and say what they read."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dp.names import ATTACKS
from experiments.engine.progress import progress_bar
from workbench.cli.options import FILE, Output, output_options
from workbench.cli.output import keep_apart
from workbench.rows import TableRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dp.auditing.attacks import Attack, Outcome

EXIT_FALLEN = 1
SERVICE = "service"
"""Made here: what it attacks stands above `dp`."""
ATTACK_NAMES = (*ATTACKS, SERVICE)
PROSE_COLUMNS = ("threat", "criterion")
FIGURE_SUFFIXES = (".svg", ".png", ".pdf")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(ATTACK_NAMES), metavar="[NAME]…")
@click.option(
    "--full",
    is_flag=True,
    help="Run all trials. Without this option fewer are run, and all attacks take about a minute.",
)
@click.option("--twins", is_flag=True, help="Also attack the broken twins; these attacks must succeed.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the attacker's draws.")
@click.option("--figure", type=FILE, default=None, help="Draw the readings to this file (SVG, PNG or PDF).")
@output_options
def attack(names: tuple[str, ...], full: bool, twins: bool, seed: int, figure: Path | None, output: Output) -> None:
    """Attack the project. Each reading is shown beside the largest value that the claim allows.

    The attacks are repeated-query, rewritten-log, differencing, rejoin, adaptive, late, poisoning, support, ledger,
    noise and service; without a name, all of them run. Every format except the table says who attacks and when the
    attacker wins. Exit code 1 if an attack on the project succeeds, or a broken twin withstands one.
    """
    output.validate()
    if figure is not None and figure.suffix not in FIGURE_SUFFIXES:
        raise click.UsageError(f"--figure {figure} does not say its format; name it {', '.join(FIGURE_SUFFIXES)}")
    keep_apart(out=output.out, figure=figure)

    import numpy as np

    from dp.auditing.attacks import OURS, Setting, run_attack
    from experiments.kinds.attacks.trials import NOW

    # Named twice, an attack is made once.
    chosen_names = tuple(dict.fromkeys(names)) or ATTACK_NAMES
    attacks = _attacks(chosen_names)
    wanted = [(name, target) for name in chosen_names for target in attacks[name].targets]
    wanted = [(name, target) for name, target in wanted if twins or target == OURS]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder, progress_bar() as report:
        for number, (name, target) in enumerate(wanted):
            report(f"{name} against {target}", number / len(wanted))
            generator = np.random.default_rng([seed, *name.encode()])
            outcomes.append(run_attack(name, Setting(generator, Path(folder), NOW, not full), target, attacks))
    rows = [row for outcome in outcomes for row in _rows(outcome)]
    if output.format == "table":
        rows = [{name: value for name, value in row.items() if name not in PROSE_COLUMNS} for row in rows]
    output.write(rows, title="Attacks: what was measured, and the largest value that the claim allows")
    if figure is not None:
        from experiments.engine.pictures import save

        save(_drawn(outcomes), figure)
    wrong = [f"{one.name} against {one.target}" for one in outcomes if one.held != (one.target == OURS)]
    if wrong:
        click.echo(f"unexpected outcome: {'; '.join(wrong)}", err=True)
        raise click.exceptions.Exit(EXIT_FALLEN)


def _attacks(names: Sequence[str]) -> Mapping[str, Attack]:
    """All attacks; that on the service only where it is named, for it takes its time to import."""
    from dp.auditing.attacks import ATTACKS as OWN
    from dp.auditing.attacks import attack_of

    if SERVICE not in names:
        return OWN
    from workbench.attacks import service as attack_service

    return {**OWN, SERVICE: attack_of(attack_service)}


def _drawn(outcomes: Sequence[Outcome]) -> Figure:
    import matplotlib as mpl
    import pandas as pd

    from experiments.engine.style import SETTINGS
    from experiments.kinds.attacks.figure import attacks
    from experiments.kinds.attacks.trials import row_of

    with mpl.rc_context(SETTINGS):
        return attacks(pd.DataFrame([row_of(outcome) for outcome in outcomes]))


def _rows(outcome: Outcome) -> list[TableRow]:
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
