"""Copies of store, keys and ledger that belong together, made while a server runs."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from dp.database_url import DatabaseUrl
from dp.ledger.sqlite import create_private
from dp.private_files import sync
from workbench.service.errors import StoreError
from workbench.service.key_file import read_key
from workbench.service.settings import Settings

NAMES = {"store": "dpdau.store", "key": "dpdau.store.key", "keys": "dpdau.store.keys", "ledger": "dpdau.ledger"}


def back_up(settings: Settings, folder: Path) -> list[Path]:
    """Copy store, both files of keys and ledger into a new folder; returns the copies, each for its owner only.

    The ledger is kept from writing meanwhile, so that no close and no fresh release lies between the copies. Ingest
    goes on. What is in the copies is what was on disk when each began. A ledger and the callers' keys are copied where
    there are some.

    Raises:
        StoreError: there is no store, the folder exists already, or a database server has to make the copy.
    """
    if (said := _by_server(settings, folder)) is not None:
        raise StoreError(said)
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
    if settings.keys_path.exists():
        create_private(copies["keys"])
        shutil.copyfile(settings.keys_path, copies["keys"])
    else:
        del copies["keys"]
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


def _by_server(settings: Settings, folder: Path) -> str | None:
    """How to copy what lies in databases, which only their servers can; None where all are files.

    One dump shows one moment, so store and ledger of one database belong together.
    """
    store, ledger = settings.store_place, settings.ledger_place
    if not any(isinstance(place, DatabaseUrl) for place in (store, ledger)):
        return None
    names = {str(ledger): "ledger", str(store): "store"}
    commands = [f"mkdir -m 700 {shlex.quote(str(folder))}"]
    for place in dict.fromkeys((ledger, store)):
        copy = shlex.quote(str(folder / names[str(place)]))
        if isinstance(place, DatabaseUrl):
            url = shlex.quote(str(place).replace("+psycopg", "", 1))
            commands.append(f"pg_dump --format=custom --file={copy}.dump {url}")
        else:
            commands.append(f"cp -p {shlex.quote(str(place))} {copy}")
    commands.append(f"cp -p {shlex.quote(str(settings.key_path))} {shlex.quote(str(folder))}")
    stopped = "" if store == ledger else "stop the service meanwhile, so that the copies belong together, and "
    return f"a database server copies its databases itself; {stopped}run: {' && '.join(commands)}"


def _if_there(ledger: Path) -> Path | str:
    """The ledger, or a database that is kept from nobody."""
    return ledger if ledger.exists() else ":memory:"


def _copy(path: Path, copy: Path) -> None:
    create_private(copy)
    with closing(sqlite3.connect(path, timeout=60)) as source, closing(sqlite3.connect(copy)) as target:
        # All pages in one step are one snapshot, and nobody who writes makes it begin again.
        source.backup(target, pages=-1)
        target.execute("PRAGMA journal_mode = DELETE")
