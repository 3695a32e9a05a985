"""Opening a store: its file and the secret key of its pseudonyms are made, or proved to belong together."""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from dp.ledger.sqlite import create_private, switch_to_wal
from dp.presence.tombstones import pseudonyms
from workbench.service.account import Clock
from workbench.service.database import SqliteFile
from workbench.service.errors import StoreError
from workbench.service.service import Service
from workbench.service.settings import Settings
from workbench.service.store import Store
from workbench.service.tables import standing, tables

VERSION = 2
PSEUDONYM_KEY_BYTES = 32
APPLICATION_ID = 0x64706461


@contextmanager
def open_service(settings: Settings, clock: Clock, *, finish: bool = True) -> Iterator[Service]:
    """Open the service on its store and ledger, making them where there are none, and finish what a crash interrupted.

    Args:
        finish: False leaves that to the next, where the settings are those of the period to come.

    Raises:
        StoreError: the store or its key cannot be used.
        LedgerError: the ledger cannot be used, or its streams were opened with other settings.
        Refused: store and ledger do not belong together.
    """
    service = Service(settings, clock, open_store(settings.store_path, settings.key_path))
    try:
        if finish:
            service.finish()
        yield service
    finally:
        service.stop()


def open_store(path: Path, key_path: Path) -> Store:
    """Open a store, making it and its key (both mode 0600) where there is none; close its `connection`.

    Raises:
        StoreError: the file is no store, the key is not the one that it was made with, or a store is missing whose key
            is there.
    """
    if not path.resolve().parent.is_dir():
        raise StoreError(f"the folder of the store {path} does not exist")
    if not path.exists():
        _check_unused(path, key_path)
    try:
        create_private(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror or error}") from error
    database = SqliteFile(path, key_path)
    try:
        connection = database.connect()
    except DBAPIError as error:
        raise StoreError(f"{path} cannot be used as a store: {error.orig}") from error
    try:
        run = connection.exec_driver_sql
        run("BEGIN IMMEDIATE")
        key = _make_or_check(connection, path, key_path)
        run("COMMIT")
        _adopt_key(key_path, key)
        switch_to_wal(connection.connection.driver_connection)  # type: ignore[arg-type]
    except (DBAPIError, sqlite3.DatabaseError) as error:
        connection.close()
        raise StoreError(f"{path} cannot be used as a store: {getattr(error, 'orig', error)}") from error
    except BaseException:
        connection.close()
        raise
    return Store(database, connection, pseudonyms(key))


def _make_or_check(connection: Connection, path: Path, key_path: Path) -> bytes:
    """The store's key, once an empty file has become a store, or a file has proved to be one."""
    made = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("application_id", "user_version")]
    empty = not connection.exec_driver_sql("SELECT COUNT(*) FROM sqlite_master").scalar_one()
    if made == [0, 0] and empty:
        _check_unused(path, key_path)
        key = _new_key(key_path)
        _make(connection, key)
        return key
    if made[0] != APPLICATION_ID or not 1 <= made[1] <= VERSION:
        raise StoreError(f"{path} is not a store of version 1 to {VERSION}; choose another file")
    if (damage := connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()) != "ok":
        damage = " ".join(damage.split())
        raise StoreError(f"{path} is damaged ({damage}): put a backup in its place (docs/runbook.md)")
    if made[1] < VERSION:
        _migrate(connection, made[1])
    key = _read_key(key_path)
    stored = connection.execute(select(standing.c.key_check)).scalar_one()
    if not hmac.compare_digest(stored, _key_check(key)):
        raise StoreError(f"{key_path} is not the key that {path} was made with")
    return key


def _make(connection: Connection, key: bytes) -> None:
    tables.create_all(connection)
    connection.execute(
        standing.insert().values(
            id=1, name=secrets.token_hex(6), key_check=_key_check(key), arrived=0, published=0, charged=0, part_bits=0
        )
    )
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    _mark(connection)


def _migrate(connection: Connection, version: int) -> None:
    """Bring a store of an older version up to this one, in the transaction that is under way."""
    from alembic import command
    from alembic.config import Config

    steps = Config(attributes={"connection": connection})
    steps.set_main_option("script_location", str(files("workbench.service").joinpath("migrations")))
    command.stamp(steps, str(version))
    command.upgrade(steps, "head")
    _mark(connection)


def _mark(connection: Connection) -> None:
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def _check_unused(path: Path, key_path: Path) -> None:
    """Refuse to begin a new store under a key that another one was made with."""
    if key_path.exists():
        raise StoreError(
            f"the store {path} is missing or empty, but its key {key_path} is there: put the store back. A new one in "
            "its place would be charged, and its days drawn, a second time; to begin anew all the same, move the key "
            "away, and name another ledger or budget"
        )


def _new_key(path: Path) -> bytes:
    """Make a key beside its place; it takes its place when the store that knows it is on disk.

    Raises:
        StoreError: it cannot be made.
    """
    key = secrets.token_bytes(PSEUDONYM_KEY_BYTES)
    waiting = _waiting(path)
    try:
        waiting.unlink(missing_ok=True)
        create_private(waiting)
        with waiting.open("wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(f"the key of the pseudonyms {path} cannot be made: {error.strerror or error}") from error
    return key


def _adopt_key(path: Path, key: bytes) -> None:
    """Put the store's own key, if it waits, into its place. A key that is there is never replaced."""
    waiting = _waiting(path)
    with suppress(FileNotFoundError):
        if not path.exists() and waiting.read_bytes() == key:
            waiting.rename(path)


def _waiting(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _read_key(path: Path) -> bytes:
    if not path.exists() and _waiting(path).exists():
        path = _waiting(path)
    try:
        key = path.read_bytes()
    except OSError as error:
        raise StoreError(f"the key of the pseudonyms {path} cannot be read: {error.strerror or error}") from error
    if len(key) != PSEUDONYM_KEY_BYTES:
        raise StoreError(
            f"the key of the pseudonyms {path} has {len(key)} bytes; it needs {PSEUDONYM_KEY_BYTES} random ones"
        )
    return key


def _key_check(key: bytes) -> bytes:
    return blake2b(b"dpdau store", key=key, digest_size=16).digest()
