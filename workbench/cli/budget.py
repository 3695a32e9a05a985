"""The command `budget`: what was spent and what is left, and the ledger that commands charge."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dp.database_url import Place
from workbench.cli.options import CONFIG_FILE, DayType, PlaceType
from workbench.cli.output import write_rows

if TYPE_CHECKING:
    from dp.ledger import Budget, Charge, Ledger


def _default_ledger() -> str:
    """The ledger that the service's settings name, so that a folder has one budget for all commands."""
    file = Path(os.environ.get("DPDAU_CONFIG", CONFIG_FILE))
    named = tomllib.loads(file.read_text(encoding="utf-8")).get("ledger") if file.is_file() else None
    return named or "dpdau.ledger"


ledger_option = click.option(
    "--ledger", "ledger_path", type=PlaceType(), envvar="DPDAU_LEDGER", default=_default_ledger,
    show_default="dpdau.ledger",
    help="The budget ledger, one SQLite file or the URL of a PostgreSQL database; also set by the variable "
         "DPDAU_LEDGER, or by 'ledger' in dpdau.toml.",
)  # fmt: skip


@click.group(invoke_without_command=True)
@ledger_option
@click.option("--format", "format_name", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def budget(ctx: click.Context, ledger_path: Place, format_name: str) -> None:
    """Show what was spent, on what, and what is left; 'dpdau budget create' opens another budget."""
    ctx.obj = ledger_path
    if ctx.invoked_subcommand is None:
        _show_budgets(ledger_path, format_name)


@budget.command("create")
@click.argument("name")
@click.option("--epsilon", type=float, required=True, help="Cap on the sum of ε.")
@click.option("--delta", type=float, required=True, help="Cap on the sum of δ.")
@click.option("--from", "starts", type=DayType(), default=None, help="First day of its period; today by default.")
@click.option(
    "--to", "ends", type=DayType(), default=None, help="Last day of its period; without it, the budget never ends."
)
@click.pass_obj
def budget_create(
    ledger_path: Place, name: str, epsilon: float, delta: float, starts: date | None, ends: date | None
) -> None:
    """Open a budget. A budget never resets: a new period needs a new budget."""
    from dp.accounting.composition import Guarantee
    from dp.ledger import open_ledger

    with open_ledger(ledger_path) as ledger:
        made = ledger.create_budget(name, Guarantee(epsilon, delta), starts or datetime.now(UTC).date(), ends)
    click.echo(f"budget {name!r}: epsilon ≤ {made.cap.epsilon:g}, delta ≤ {made.cap.delta:g}, {made.period}")


@contextmanager
def open_budget(path: Place) -> Iterator[Ledger]:
    """The ledger; a new one gets the default budget, and says so."""
    from dp.ledger import open_ledger, provide_budget

    with open_ledger(path) as ledger:
        if made := provide_budget(ledger, datetime.now(UTC).date()):
            click.echo(
                f"new ledger {path}: budget {made.name!r}, epsilon ≤ {made.cap.epsilon:g}, delta ≤ {made.cap.delta:g}, "
                f"{made.period}",
                err=True,
            )
        yield ledger


def _show_budgets(path: Place, format_name: str) -> None:
    from dp.ledger import has_ledger, open_ledger
    from workbench.api.rows import budget_row, charge_row

    if not has_ledger(path):
        raise click.ClickException(f"there is no ledger at {path}; the first release creates one")
    with open_ledger(path) as ledger:
        budgets, charges = ledger.budgets(), ledger.charges()
    rows, entries = [budget_row(one) for one in budgets], [charge_row(one) for one in charges]
    if format_name == "json":
        click.echo(json.dumps({"budgets": rows, "charges": entries}, indent=2))
        return
    for standing, row in zip(budgets, rows, strict=True):
        click.echo(f"budget {row['budget']} ({row['period']})")
        for letter, name in (("ε", "epsilon"), ("δ", "delta")):
            click.echo(
                f"  {letter}: {row[f'{name}_spent']:g} spent of {row[f'{name}_cap']:g}, "
                f"{row[f'{name}_remaining']:g} remaining"
            )
        _say_who_runs_on(standing, [one for one in charges if one.budget == standing.name and one.outlives(standing)])
    if entries:
        shown = [{**entry, "charged_at": entry["charged_at"][:16].replace("T", " ")} for entry in entries]
        write_rows(shown, "table", None, title="charges (times in UTC)", hidden=["first_day"])


def _say_who_runs_on(budget: Budget, charges: list[Charge]) -> None:
    """A period says when charges are made, not which days they are for: name the streams that go on after it."""
    over = budget.ends is not None and budget.ends < datetime.now(UTC).date()
    for charge in charges:
        until = f"until {charge.last_day}" if charge.last_day else "without an end"
        click.echo(
            f"  stream {charge.stream} runs on after the period, which {'is over' if over else 'is not over yet'}: "
            f"it covers days {until}"
        )
