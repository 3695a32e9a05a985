"""The commands `keys create`, `keys revoke` and `keys list`: who may call the service, and for what."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.options import DayType
from workbench.cli.output import write_rows
from workbench.cli.service import service_options
from workbench.rows import TableRow

if TYPE_CHECKING:
    from workbench.service import Settings
    from workbench.service.keys import ScopeName


class ScopeType(click.ParamType[Any]):
    """The name of a scope; the names are imported when one is read."""

    name = "scope"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name itself."""
        from workbench.service.keys import SCOPES

        return click.Choice(SCOPES).convert(value, param, ctx)


@click.group()
def keys() -> None:
    """Manage the keys of programs and people that call the service; a key opens what its scopes say.

    \b
    ingest    report activity and take it back
    read      what is published, the budget, the settings
    operate   close days, erase users, draw fresh releases; shows exact numbers, which are NOT PRIVATE
    metrics   Prometheus metrics, which are NOT PRIVATE either
    The pages need operate and read.

    The file of the setting 'keys' (by default the store's name with .keys) holds hashes only, and a running service
    notices every change.
    """


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", type=ScopeType(), multiple=True, required=True,
              help="What the key opens; may be repeated.")  # fmt: skip
@click.option("--expires", type=DayType(), default=None,
              help="The first day on which it opens nothing any more, in the service's time zone.")  # fmt: skip
@service_options
def create(name: str, scopes: tuple[ScopeName, ...], expires: date | None, settings: Settings) -> None:
    """Make a key and show it, this once: it is kept nowhere."""
    import secrets

    from workbench.service.keys import create_key

    today = settings.zone.day(datetime.now(UTC))
    assert today is not None
    key = create_key(settings.keys_path, name, scopes, made=today, expires=expires, random=secrets.token_bytes)
    click.echo(key)
    until = f"until {expires}" if expires else "without end"
    click.echo(f"This is the key {name!r}, {until}. It is shown this once; keep it secret.", err=True)


@keys.command()
@click.argument("name")
@service_options
def revoke(name: str, settings: Settings) -> None:
    """Remove a key: from now on it opens nothing."""
    from workbench.service.keys import revoke_key

    left = revoke_key(settings.keys_path, name)
    click.echo(f"{name!r} is revoked; {left} left in {settings.keys_path}")
    if not left:
        click.echo("The service stays guarded: nobody may call before a key is created.", err=True)


@keys.command("list")
@click.option("--format", "format_name", type=click.Choice(["table", "json"]), default="table", show_default=True)
@service_options
def list_keys(format_name: str, settings: Settings) -> None:
    """List the keys by name, with their scopes and days."""
    from workbench.service.keys import SCOPES, read_keys

    path = settings.keys_path
    if not path.exists():
        raise click.ClickException(f"there is no file of keys {path}; 'dpdau keys create' makes it")
    rows: list[TableRow] = [
        {
            "name": name,
            "scopes": " ".join(scope for scope in SCOPES if scope in key.scopes),
            "made": key.made.isoformat(),
            "expires": key.expires and key.expires.isoformat(),
        }
        for name, key in read_keys(path).items()
    ]
    write_rows(rows, format_name, None, title=f"Keys in {path}")
