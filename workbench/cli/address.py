"""The options that say where a server listens."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from workbench.cli.options import gathered_as

if TYPE_CHECKING:
    from workbench.service import Settings


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a server listens; None leaves the value to the settings."""

    host: str | None
    port: int | None
    grpc_port: int | None

    def applied(self, settings: Settings) -> Settings:
        """The settings with this address."""
        import msgspec

        from workbench.service import validated

        changes = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return validated(msgspec.structs.replace(settings, **changes))


address_options = gathered_as(
    Address, "address",
    click.option("--host", default=None, help="Address to listen on.  [default: 127.0.0.1]"),
    click.option("--port", type=click.IntRange(0, 65535), default=None,
                 help="Port to listen on; 0 for any free port.  [default: 8000]"),
    click.option("--grpc-port", type=click.IntRange(0, 65535), default=None,
                 help="Also listen for gRPC on this port; 0 for any free port.  [default: no gRPC]"),
)  # fmt: skip
