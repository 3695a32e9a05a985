"""The command that hides a store under a new key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from workbench.cli.service import existing_service, service_options

if TYPE_CHECKING:
    from workbench.service import Settings


@click.command("rotate-key")
@service_options
def rotate_key(settings: Settings) -> None:
    """Give the store a new key for its pseudonyms. No service may run meanwhile.

    Whoever has the old key file cannot test any more whether an id is in the store. Counts, erasures by id and repeated
    requests go on as before. Make a backup afterwards: older copies of store and key still belong together, and tell
    what they told.
    """
    from workbench.service.key_rotation import rotate_key as rotate

    with existing_service(settings, finish=False):
        pass
    rotate(settings.store_place, settings.key_path)
    click.echo(f"{settings.key_path} is rotated; make a backup now, and remove those from before", err=True)
