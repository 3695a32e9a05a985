"""Opening a store: its file and the secret key of its pseudonyms are made, or proved to belong together."""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
import tempfile
from contextlib import suppress
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path

from dp.ledger.sqlite import create_private, statements, switch_to_wal
from dp.presence.tombstones import pseudonyms
from workbench.service.errors import StoreError
from workbench.service.store import TIMEOUT_SECONDS, Store

VERSION = 1
PSEUDONYM_KEY_BYTES = 32
CACHE_KIB = 128 * 1024
APPLICATION_ID = 0x64706461


def open_store(path: Path, key_path: Path) -> Store:
    """Open a store, making it and its key (both mode 0600) where there is none; close its `connection`.

    Raises:
        StoreError: the file is no store, or the key is not the one that it was made with.
    """
    if not path.resolve().parent.is_dir():
        raise StoreError(f"the folder of the store {path} does not exist")
    if not path.exists():
        _new_key(key_path)
    try:
        create_private(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror or error}") from error
    connection = sqlite3.connect(path, isolation_level=None, timeout=TIMEOUT_SECONDS, check_same_thread=False)
    try:
        # FULL makes a commit durable before it returns; what is deleted is overwritten.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("BEGIN IMMEDIATE")
        key = _make_or_check(connection, path, key_path)
        connection.execute("COMMIT")
        switch_to_wal(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreError(f"{path} cannot be used as a store: {error}") from error
    except BaseException:
        connection.close()
        raise
    return Store(connection, pseudonyms(key))


def _make_or_check(connection: sqlite3.Connection, path: Path, key_path: Path) -> bytes:
    """The store's key, once an empty file has become a store, or a file has proved to be one."""
    made = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if made == [0, 0] and tables == 0:
        key = _new_key(key_path)
        _make(connection, key)
        return key
    if made != [APPLICATION_ID, VERSION]:
        raise StoreError(f"{path} is not a store of version {VERSION}; choose another file")
    key = _read_key(key_path)
    stored = connection.execute("SELECT value FROM facts WHERE name = 'key_check'").fetchone()[0]
    if not hmac.compare_digest(stored, _key_check(key)):
        raise StoreError(f"{key_path} is not the key that {path} was made with")
    return key


def _make(connection: sqlite3.Connection, key: bytes) -> None:
    for statement in statements(files("workbench.service").joinpath("schema.sql").read_text("utf-8")):
        connection.execute(statement)
    facts = {
        "name": secrets.token_hex(6), "arrived": 0, "folded": 0, "published": 0, "charged": 0, "ledger": None,
        "key_check": _key_check(key),
    }  # fmt: skip
    connection.executemany("INSERT INTO facts VALUES (?, ?)", list(facts.items()))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _new_key(path: Path) -> bytes:
    """Make a key, or take one that the operator has put there; a key is on disk whole or not at all.

    Raises:
        StoreError: it can be neither made nor read.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=path.resolve().parent, prefix=path.name) as file:
            file.write(secrets.token_bytes(PSEUDONYM_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(file.name, path)
    except OSError as error:
        raise StoreError(f"the key of the pseudonyms {path} cannot be made: {error.strerror or error}") from error
    return _read_key(path)


def _read_key(path: Path) -> bytes:
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
