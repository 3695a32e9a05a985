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
from workbench.cli.output import Row, keep_apart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dp.auditing.attacks import Attack, Outcome

EXIT_FALLEN = 1
SERVICE = "service"
"""Made here: what it attacks stands above `dp`."""
ATTACK_NAMES = (*ATTACKS, SERVICE)
WORDS = ("threat", "criterion")
FIGURE_SUFFIXES = (".svg", ".png", ".pdf")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(ATTACK_NAMES), metavar="[NAME]…")
@click.option("--full", is_flag=True, help="With all trials; without it, with fewer, in about a minute for all.")
@click.option("--twins", is_flag=True, help="Also attack broken twins, which must fall.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what the attacker draws.")
@click.option("--figure", type=FILE, default=None, help="Draw what was read, as SVG, PNG or PDF, to this file.")
@output_options
def attack(names: tuple[str, ...], full: bool, twins: bool, seed: int, figure: Path | None, output: Output) -> None:
    """Attack the project: all attacks, if none is named; every reading beside the most that the claim allows.

    repeated-query, differencing, rejoin, adaptive, late, poisoning, support, ledger, noise, service: all output but the
    table says who attacks and when they win. Ends with 1 if something that must hold falls, or a twin holds.
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
        rows = [{name: value for name, value in row.items() if name not in WORDS} for row in rows]
    output.write(rows, title="Attacks: what was measured, and the most that the claim allows")
    if figure is not None:
        from experiments.engine.pictures import save

        save(_drawn(outcomes), figure)
    wrong = [f"{one.name} against {one.target}" for one in outcomes if one.held != (one.target == OURS)]
    if wrong:
        click.echo(f"not as it must be: {'; '.join(wrong)}", err=True)
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
