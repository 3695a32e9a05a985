"""The commands `salt create`, `salt rotate` and `salt list`: the secret behind the users' keys, never shown."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.cli.options import FILE, DayType
from workbench.cli.output import write_rows
from workbench.rows import TableRow

if TYPE_CHECKING:
    from dp.sketches.salts import Salts

salt_option = click.option(
    "--salt-file", type=FILE, envvar="DPDAU_SALT_FILE", default="dpdau.salt", show_default=True,
    help="The secret salts of sketches, mode 0600, made by 'dpdau salt create'. The variable DPDAU_SALT, if set, "
         "overrides the file.",
)  # fmt: skip


@click.group()
def salt() -> None:
    """Manage the secret salts that turn user ids into the keys of sketches; only their fingerprints are shown.

    Whoever knows a salt can find users who collide, and can tell who is in a sample. Keep the file secret, and out of
    backups that others can read. docs/sketches.md says what a rotation does to counts and to the guarantee.
    """


@salt.command()
@salt_option
def create(salt_file: Path) -> None:
    """Create the file with one random salt, in force for all days. An existing file is left alone."""
    import secrets

    from dp.sketches.salts import create_salts

    there = salt_file.exists()
    _tell_latest(
        create_salts(salt_file, secrets.token_bytes), f"{salt_file} {'exists already' if there else 'created'}"
    )


@salt.command()
@salt_option
@click.option("--from", "first", type=DayType(), required=True, help="The first tick that is read under the new salt.")
def rotate(salt_file: Path, first: date) -> None:
    """Append a random salt that is in force from a given day.

    Choose a tick that is not published yet. If keys are stored rather than computed from a log, choose one at least a
    window ahead: the days before it that are in its window must be recorded under both salts.

    A stream with --unit user allows one rotation within its horizon; a stream with --mechanism adaptive-flippancy or
    --on-time allows none. Streams with more rotations are refused, and a rotation cannot be undone. Give such streams
    salt files of their own.
    """
    import secrets

    from dp.sketches import salts

    _tell_latest(salts.rotate(salt_file, first, secrets.token_bytes), f"{salt_file} rotated")


@salt.command("list")
@salt_option
@click.option("--format", "format_name", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_salts(salt_file: Path, format_name: str) -> None:
    """List the salts in use: the day from which each is in force, and its fingerprint."""
    from dp.sketches.salts import VARIABLE, load_salts

    if VARIABLE not in os.environ and not salt_file.exists():
        raise click.ClickException(f"there is no salt file {salt_file}; 'dpdau salt create' creates one")
    salts = load_salts(salt_file, os.environ)
    rows: list[TableRow] = [{"from": str(first), "fingerprint": one.fingerprint} for first, one in salts.periods]
    source = VARIABLE if VARIABLE in os.environ else salt_file
    write_rows(rows, format_name, None, title=f"Salts of {source}; all together {salts.fingerprint}")


def _tell_latest(salts: Salts, what: str) -> None:
    from dp.sketches.salts import SINCE_EVER, VARIABLE

    first, latest = salts.periods[-1]
    since = "for all days" if first == SINCE_EVER else f"from {first} on"
    click.echo(f"{what}: the salt {latest.fingerprint} is in force {since}")
    if VARIABLE in os.environ:
        click.echo(f"Note: {VARIABLE} is set and overrides the file.", err=True)
