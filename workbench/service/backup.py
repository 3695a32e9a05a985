"""Copies of store, key and ledger that belong together, made while a server runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from dp.ledger.sqlite import create_private
from dp.private_files import sync
from workbench.service.errors import StoreError
from workbench.service.key_file import read_key
from workbench.service.settings import Settings

NAMES = {"store": "dpdau.store", "key": "dpdau.store.key", "ledger": "dpdau.ledger"}


def back_up(settings: Settings, folder: Path) -> list[Path]:
    """Copy store, key and ledger into a new folder; returns the copies, each readable by its owner only.

    The ledger is kept from writing meanwhile, so that no close and no fresh release lies between the copies. Ingest
    goes on. What is in the copies is what was on disk when each began.

    Raises:
        StoreError: there is no store, or the folder exists already.
    """
    if not settings.store_path.exists():
        raise StoreError(f"there is no store at {settings.store}; name it with --store")
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise StoreError(f"the folder {folder} cannot be made: {error.strerror or error}; name a new one") from error
    copies = {name: folder / copy for name, copy in NAMES.items()}
    with closing(sqlite3.connect(_if_there(settings.ledger_path), isolation_level=None, timeout=60)) as kept:
        kept.execute("BEGIN IMMEDIATE")
        _copy(settings.store_path, copies["store"])
        if settings.ledger_path.exists():
            _copy(settings.ledger_path, copies["ledger"])
        else:
            del copies["ledger"]
        kept.execute("ROLLBACK")
    create_private(copies["key"])
    copies["key"].write_bytes(_key_of(copies["store"], settings.key_path))
    for path in (*copies.values(), folder):
        sync(path)
    return list(copies.values())


def _key_of(copy: Path, key_path: Path) -> bytes:
    """The key that a copy is hidden by, wherever a rotation has left it."""
    with closing(sqlite3.connect(copy)) as connection:
        (check,) = connection.execute("SELECT key_check FROM standing").fetchone()
    if (key := read_key(key_path, check)) is None:
        raise StoreError(f"{key_path} is not the key of the store, or was rotated meanwhile: make the backup again")
    return key


def _if_there(ledger: Path) -> Path | str:
    """The ledger, or a database that is kept from nobody."""
    return ledger if ledger.exists() else ":memory:"


def _copy(path: Path, copy: Path) -> None:
    create_private(copy)
    with closing(sqlite3.connect(path, timeout=60)) as source, closing(sqlite3.connect(copy)) as target:
        # All pages in one step are one snapshot, and nobody who writes makes it begin again.
        source.backup(target, pages=-1)
        target.execute("PRAGMA journal_mode = DELETE")
