"""The commands `salt create`, `salt rotate` and `salt list`: the secret behind the users' keys, never shown."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.cli.options import FILE, DayType
from workbench.cli.output import Row, write_rows

if TYPE_CHECKING:
    from dp.sketches.salts import Salts

salt_option = click.option(
    "--salt-file", type=FILE, envvar="DPDAU_SALT_FILE", default="dpdau.salt", show_default=True,
    help="The secret salts of sketches, mode 0600, made by 'dpdau salt create'. The variable DPDAU_SALT, if it is set, "
         "goes before the file.",
)  # fmt: skip


@click.group()
def salt() -> None:
    """The secret salts that turn user ids into the keys of sketches. They are never shown, only their fingerprints.

    Whoever knows a salt can find users who collide, and tell who is in a sample. Keep the file from everybody, and from
    backups that others read. docs/sketches.md says what a rotation does to counts and to the guarantee.
    """


@salt.command()
@salt_option
def create(salt_file: Path) -> None:
    """Make the file with one random salt, in force from the beginning; an existing file is left alone."""
    import secrets

    from dp.sketches.salts import create_salts

    there = salt_file.exists()
    _tell_latest(
        create_salts(salt_file, secrets.token_bytes), f"{salt_file} {'was there already' if there else 'made'}"
    )


@salt.command()
@salt_option
@click.option("--from", "first", type=DayType(), required=True, help="The first tick that is read under the new salt.")
def rotate(salt_file: Path, first: date) -> None:
    """Append a random salt that is in force from a day on.

    Choose a tick that is not published yet. If keys are stored and not computed from a log anew, choose one at least a
    window ahead: the days before it that its window holds have to be recorded under both salts.

    A stream with --unit user survives one rotation within its horizon; a stream with --mechanism adaptive-flippancy or
    with --on-time survives none. After more than that it is refused, and no rotation can be undone: give such streams
    salt files of their own.
    """
    import secrets

    from dp.sketches import salts

    _tell_latest(salts.rotate(salt_file, first, secrets.token_bytes), f"{salt_file} rotated")


@salt.command("list")
@salt_option
@click.option("--format", "format_name", type=click.Choice(["table", "json"]), default="table", show_default=True)
def list_salts(salt_file: Path, format_name: str) -> None:
    """The salts in use: the day from which each is in force, and its fingerprint."""
    from dp.sketches.salts import VARIABLE, load_salts

    if VARIABLE not in os.environ and not salt_file.exists():
        raise click.ClickException(f"there is no salt file {salt_file}; 'dpdau salt create' makes one")
    salts = load_salts(salt_file, os.environ)
    rows: list[Row] = [{"from": str(first), "fingerprint": one.fingerprint} for first, one in salts.periods]
    source = VARIABLE if VARIABLE in os.environ else salt_file
    write_rows(rows, format_name, None, title=f"Salts of {source}; all together {salts.fingerprint}")


def _tell_latest(salts: Salts, what: str) -> None:
    from dp.sketches.salts import SINCE_EVER, VARIABLE

    first, latest = salts.periods[-1]
    since = "since ever" if first == SINCE_EVER else f"from {first} on"
    click.echo(f"{what}: the salt {latest.fingerprint} is in force {since}")
    if VARIABLE in os.environ:
        click.echo(f"Mind that {VARIABLE} is set and goes before the file.", err=True)
