"""Versions of a store, and the steps from one to the next."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from sqlalchemy import Connection

if TYPE_CHECKING:
    from alembic.config import Config

VERSION = 3


def migrate(connection: Connection, version: int) -> None:
    """Bring a store of an older version up to this one, in the transaction that is under way."""
    from alembic import command

    steps = _steps(connection)
    command.stamp(steps, str(version))
    command.upgrade(steps, "head")


def stamp(connection: Connection, version: int) -> None:
    """Note the version of a store in a table, where Alembic looks for it."""
    from alembic import command

    command.stamp(_steps(connection), str(version))


def _steps(connection: Connection) -> Config:
    from alembic.config import Config

    steps = Config(attributes={"connection": connection})
    steps.set_main_option("script_location", str(files("workbench.service").joinpath("migrations")))
    return steps
