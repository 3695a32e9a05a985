"""Opening a store: it and the secret key of its pseudonyms are made, or proved to belong together."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from dp.database_url import DatabaseUrl, Place
from dp.ledger import LedgerError
from dp.ledger.postgres import failing
from dp.ledger.sqlite import create_private
from workbench.service.account import Clock
from workbench.service.database import Database
from workbench.service.errors import StoreError
from workbench.service.key_file import adopt_key, hidden_by, key_check, new_key, read_key
from workbench.service.places import database_at
from workbench.service.service import Service
from workbench.service.settings import Settings
from workbench.service.store import Store
from workbench.service.tables import standing, tables
from workbench.service.versions import VERSION, migrate


@contextmanager
def open_service(settings: Settings, clock: Clock, *, finish: bool = True, beside: bool = False) -> Iterator[Service]:
    """Open the service on its store and ledger, making them where there are none, and finish what a crash interrupted.

    Args:
        finish: False leaves that to the next, where the settings are those of the period to come.
        beside: see `Service`.

    Raises:
        StoreError: the store or its key cannot be used.
        LedgerError: the ledger cannot be used, or its streams were opened with other settings.
        Refused: store and ledger do not belong together.
    """
    store = open_store(settings.store_place, settings.key_path)
    try:
        service = Service(settings, clock, store, beside=beside)
    except BaseException:
        store.close()
        raise
    try:
        if finish:
            service.finish()
        yield service
    finally:
        service.stop()


def open_store(place: Place, key_path: Path) -> Store:
    """Open a store, making it and its key (files of mode 0600) where there is none; `close` it.

    Raises:
        StoreError: there is no store, the key is not the one that it was made with, or a store is missing whose key is
            there.
    """
    if not isinstance(place, DatabaseUrl):
        _make_file(place, key_path)
    database = database_at(place, key_path)
    with _opened(database, place) as connection:
        _check_whole(database, connection, place)
        run = connection.exec_driver_sql
        for statement in database.begin_making:
            run(statement)
        key = _make_or_check(database, connection, place, key_path)
        run("COMMIT")
        adopt_key(key_path, key)
        database.opened(connection)
        return Store(database, connection, hidden_by(key))


def read_store(place: Place, key_path: Path) -> Store:
    """Open a store that is there, only to read it, without a look for damage; `close` it.

    Raises:
        StoreError: there is no store of this version, or the key is not the one that it was made with.
    """
    database = database_at(place, key_path, read_only=True)
    with _opened(database, place) as connection:
        if database.version(connection) != VERSION:
            raise StoreError(f"{place} is not a store of version {VERSION}; a service that starts brings it up to date")
        key = checked_key(connection, place, key_path)
        return Store(database, connection, hidden_by(key))


def has_store(place: Place, key_path: Path) -> bool:
    """Whether there is a store at a place; of a file only whether it is there.

    Raises:
        StoreError: its database cannot be used.
    """
    if not isinstance(place, DatabaseUrl):
        return place.exists()
    database = database_at(place, key_path)
    with closing(database), _opened(database, place) as connection, connection:
        return database.version(connection) is not None


def _make_file(path: Path, key_path: Path) -> None:
    """An empty file, where there is none and no key of a store that was there."""
    if not path.resolve().parent.is_dir():
        raise StoreError(f"the folder of the store {path} does not exist")
    if not path.exists():
        _check_unused(path, key_path)
    try:
        create_private(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror or error}") from error


@contextmanager
def _opened(database: Database, place: Place) -> Iterator[Connection]:
    """A connection that stays open where the block succeeds; what goes wrong is said in one line."""
    connection = None
    try:
        connection = database.connect()
        yield connection
    except BaseException as error:
        if connection is not None:
            connection.close()
        database.close()
        if isinstance(error, LedgerError):
            raise StoreError(str(error)) from error
        if isinstance(error, DBAPIError | sqlite3.DatabaseError | OSError):
            cause = getattr(error, "orig", None) or error
            said = [failing(cause), getattr(cause, "strerror", None) or cause]
            words = " ".join("; ".join(str(one) for one in said if one).split())
            raise StoreError(f"{place} cannot be used as a store: {words}") from error
        raise


def _check_whole(database: Database, connection: Connection, place: Place) -> None:
    """Look for damage, outside the transaction that keeps others from writing."""
    if database.version(connection) is not None and (damage := database.damage(connection)):
        raise StoreError(f"{place} is damaged ({damage}): put a backup in its place (docs/runbook.md)")


def _make_or_check(database: Database, connection: Connection, place: Place, key_path: Path) -> bytes:
    """The store's key, once an empty place has become a store, or has proved to be one."""
    version = database.version(connection)
    if version is None:
        _check_unused(place, key_path)
        key = new_key(key_path)
        tables.create_all(connection, checkfirst=False)
        connection.execute(
            standing.insert().values(
                id=1,
                name=secrets.token_hex(6),
                key_check=key_check(key),
                arrived=0,
                published=0,
                charged=0,
                part_bits=0,
            )
        )
        database.mark(connection, VERSION)
        return key
    if not 1 <= version <= VERSION:
        raise StoreError(f"{place} is not a store of version 1 to {VERSION}; choose another one")
    if version < VERSION:
        migrate(connection, version)
        database.mark(connection, VERSION)
    return checked_key(connection, place, key_path)


def checked_key(connection: Connection, place: Place, key_path: Path) -> bytes:
    """The key that a store is hidden by.

    Raises:
        StoreError: it is missing, or another one.
    """
    key = read_key(key_path, bytes(connection.execute(select(standing.c.key_check)).scalar_one()))
    if key is None:
        raise StoreError(f"{key_path} is not the key that {place} was made with, or rotated to")
    return key


def _check_unused(place: Place, key_path: Path) -> None:
    """Refuse to begin a new store under a key that another one was made with."""
    if key_path.exists():
        raise StoreError(
            f"the store {place} is missing or empty, but its key {key_path} is there: put the store back. A new one in "
            "its place would be charged, and its days drawn, a second time; to begin anew all the same, move the key "
            "away, and name another ledger or budget"
        )
