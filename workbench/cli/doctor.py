"""The commands of operating: `doctor`, which says what is not in order, and `backup`."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.cli.service import service_options

if TYPE_CHECKING:
    from workbench.service import Settings


@click.command()
@service_options
@click.option("--json", "as_json", is_flag=True, help="One JSON array of check, level and text.")
@click.pass_context
def doctor(ctx: click.Context, settings: Settings, as_json: bool) -> None:
    """Check the service's files, key, clock, budget, horizon and disk, and say what to do.

    A line a check: ok, warning or error. Nothing is changed, and a server may run meanwhile. Exit code 1 on errors.
    """
    from workbench.service.doctor import examine

    found = examine(settings, lambda: datetime.now(UTC))
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in found], indent=2, ensure_ascii=False))
    else:
        for one in found:
            click.echo(f"{one.level:<7}  {one.check}: {one.text}")
    ctx.exit(1 if any(one.level == "error" for one in found) else 0)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@service_options
def backup(folder: Path, settings: Settings) -> None:
    """Copy store, keys and ledger into a new FOLDER; a server may run meanwhile.

    The copies belong together and are as secret as the log. They hold users who are erased later: after restoring a
    backup, repeat the erasures that came after it. A PostgreSQL database is copied by its server: the command says how.
    """
    from workbench.service.backup import back_up

    for path in back_up(settings, folder):
        click.echo(path)
