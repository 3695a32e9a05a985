"""The command `compose`: what a list of releases costs together, under every accountant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.engine.progress import progress_bar
from workbench.cli.options import FILE, Output, output_options
from workbench.cli.output import deliver
from workbench.rows import TableRow

if TYPE_CHECKING:
    from dp.accounting.mechanism_events import MechanismEvent


EXAMPLE = 'for instance [[release]] with mechanism = "gaussian", sigma = 20.0 and count = 365'


@click.command()
@click.argument("spec", type=FILE)
@click.option("--delta", type=float, required=True, help="δ of all releases together; 0 is allowed if all are pure.")
@output_options
def compose(spec: Path, delta: float, output: Output) -> None:
    """Report what the releases in SPEC (TOML) cost together: the ε of each accountant at one δ.

    \b
    SPEC holds one table for each kind of release:
      [[release]]
      mechanism = "laplace"
      epsilon = 0.3
      count = 30
      [[release]]
      mechanism = "gaussian"
      sigma = 5.0
      count = 12

    Mechanisms: laplace and discrete-laplace (epsilon, or scale), gaussian and discrete-gaussian (sigma), each with an
    optional sensitivity (default 1; a whole number for discrete noise), and whatever is known to be pure (epsilon),
    approximate (epsilon and delta), zcdp (rho) or gdp (mu). Every ε is an upper bound that holds for adaptive releases;
    'exact' marks an ε that cannot be smaller. docs/accounting.md explains them.
    """
    from dp.accounting.accountants import best
    from dp.accounting.accountants import compose as compose_releases
    from dp.accounting.mechanism_events import releases

    output.validate(spec=spec)
    parts = load_spec(spec)
    with progress_bar() as report:
        answers = compose_releases(parts, delta, report)
    rows: list[TableRow] = [
        {
            "accountant": name,
            "epsilon": answer.epsilon,
            "applicable": answer.epsilon is not None,
            "exact": answer.exact,
            "reason": answer.reason,
        }
        for name, answer in answers.items()
    ]
    winner = best(answers)
    if output.format == "json":
        epsilon = answers[winner].epsilon if winner else None
        whole = {"delta": delta, "releases": releases(parts), "accountants": rows, "best": winner, "epsilon": epsilon}
        deliver([(json.dumps(whole, indent=2) + "\n").encode()], output.out)
        return
    shown = _for_people(rows) if output.format == "table" else rows
    found = f"best: {winner}" if winner else "no accountant applies"
    output.write(shown, title=f"{releases(parts):,} releases together at δ = {delta:g}; {found}")


def _for_people(rows: Sequence[TableRow]) -> list[TableRow]:
    from dp.accounting.accountants import family_of

    return [
        {
            "accountant": row["accountant"],
            "epsilon": "—" if row["epsilon"] is None else f"{row['epsilon']:.6g}",
            "exact": "yes" if row["exact"] else "",
            "note": row["reason"] or family_of(row["accountant"]).summary,
        }
        for row in rows
    ]


def load_spec(path: Path) -> list[MechanismEvent]:
    """The releases that a file lists.

    Raises:
        ValueError: the file is missing or no TOML, or a table has a key or a value that does not belong; the message
            names the file, the number of the table, the key, the value and what would be right.
    """
    import tomllib

    from dp.accounting.spec import event_of

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such spec") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if unknown := sorted(set(document) - {"release"}):
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; a spec has [[release]] tables only, {EXAMPLE}")
    tables = document.get("release")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ValueError(f"{path}: there is no [[release]] table; write one for each kind of release, {EXAMPLE}")
    return [event_of(f"{path}: release {number}", table) for number, table in enumerate(tables, 1)]
