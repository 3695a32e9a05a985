"""Which kind of database lies at a place."""

from __future__ import annotations

from pathlib import Path

from dp.database_url import DatabaseUrl, Place
from dp.ledger import LedgerError
from dp.ledger.postgres import require_driver
from workbench.service.database import Database, SqliteFile
from workbench.service.errors import StoreError
from workbench.service.postgres import PostgresDatabase


def database_at(place: Place, key_path: Path, *, read_only: bool = False) -> Database:
    """What lies at a place.

    Raises:
        StoreError: the driver for it is missing.
    """
    if not isinstance(place, DatabaseUrl):
        return SqliteFile(place, key_path, read_only)
    try:
        require_driver(place)
    except LedgerError as error:
        raise StoreError(str(error)) from error
    return PostgresDatabase(place)
