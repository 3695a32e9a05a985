"""The file with the secret key of the pseudonyms: made once beside its place, and never replaced."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from dp.ledger.sqlite import create_private
from dp.private_files import sync
from workbench.service.errors import StoreError

PSEUDONYM_KEY_BYTES = 32


def new_key(path: Path) -> bytes:
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
        sync(path.resolve().parent)
    except OSError as error:
        raise StoreError(f"the key of the pseudonyms {path} cannot be made: {error.strerror or error}") from error
    return key


def adopt_key(path: Path, key: bytes) -> None:
    """Put the store's own key, if it waits, into its place. A key that is there is never replaced."""
    waiting = _waiting(path)
    with suppress(FileNotFoundError):
        if not path.exists() and waiting.read_bytes() == key:
            waiting.rename(path)
            sync(path.resolve().parent)


def read_key(path: Path) -> bytes:
    """The key, from its place or from beside it.

    Raises:
        StoreError: it is missing or of another length.
    """
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


def key_check(key: bytes) -> bytes:
    """What a store keeps of its key, to tell it from others."""
    return blake2b(b"dpdau store", key=key, digest_size=16).digest()


def _waiting(path: Path) -> Path:
    return path.with_name(path.name + ".new")
