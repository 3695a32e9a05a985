"""Which kind of database lies at a place."""

from __future__ import annotations

from pathlib import Path

from dp.database_url import DatabaseUrl, Place
from workbench.service.database import Database, SqliteFile
from workbench.service.postgres import PostgresDatabase


def database_at(place: Place, key_path: Path, *, read_only: bool = False) -> Database:
    """What lies at a place."""
    return PostgresDatabase(place) if isinstance(place, DatabaseUrl) else SqliteFile(place, key_path, read_only)
