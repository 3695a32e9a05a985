"""The file with the secret key of the pseudonyms: made beside its place, and replaced only by one that continues it.

It holds one key, and one more for each time that it was rotated, oldest first.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import reduce
from hashlib import blake2b
from pathlib import Path

from dp.ledger.sqlite import create_private
from dp.presence.tombstones import pseudonyms
from dp.private_files import sync
from workbench.service.errors import StoreError

PSEUDONYM_KEY_BYTES = 32
NAME_BYTES = 16
CHECKED = "dpdau store"
"""A store keeps what its key makes of this, to tell the key from others."""


def hidden_by(key: bytes) -> Callable[[str], bytes]:
    """The function from a text to the 16 bytes by which a store knows it: hidden by each key in turn.

    Args:
        key: what the file holds.
    """
    first, *later = [key[start : start + PSEUDONYM_KEY_BYTES] for start in range(0, len(key), PSEUDONYM_KEY_BYTES)]
    hide, again = pseudonyms(first), [_rename(one) for one in later]
    return (lambda text: reduce(lambda name, rename: rename(name), again, hide(text))) if again else hide


def hidden_again(key: bytes) -> Callable[[bytes], bytes]:
    """The function from what the keys but the last have hidden to what all of them hide."""
    return _rename(key[-PSEUDONYM_KEY_BYTES:])


def _rename(key: bytes) -> Callable[[bytes], bytes]:
    keyed = blake2b(key=key, digest_size=NAME_BYTES)

    def rename(name: bytes) -> bytes:
        digest = keyed.copy()
        digest.update(name)
        return digest.digest()

    return rename


def new_key(path: Path, before: bytes = b"") -> bytes:
    """Make a key beside its place; it takes its place when the store that knows it is on disk.

    Args:
        before: the key that it continues.

    Raises:
        StoreError: it cannot be made.
    """
    key = before + secrets.token_bytes(PSEUDONYM_KEY_BYTES)
    waiting = waiting_key(path)
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
    """Put the store's own key, if it waits, into its place. A key that is there goes only if this one continues it."""
    waiting = waiting_key(path)
    with suppress(FileNotFoundError):
        if waiting.read_bytes() == key and (not path.exists() or key.startswith(path.read_bytes())):
            waiting.rename(path)
            sync(path.resolve().parent)


def read_key(path: Path, check: bytes) -> bytes | None:
    """The key by which a store is hidden, from its place or from beside it; None if it is neither.

    Args:
        check: what the store keeps of it.

    Raises:
        StoreError: it is missing or of another length.
    """
    found = [one for one in (path, waiting_key(path)) if one.exists()] or [path]
    for key in map(_content, found):
        if hmac.compare_digest(key_check(key), check):
            return key
    return None


def _content(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise StoreError(f"the key of the pseudonyms {path} cannot be read: {error.strerror or error}") from error
    if not key or len(key) % PSEUDONYM_KEY_BYTES:
        raise StoreError(
            f"the key of the pseudonyms {path} has {len(key)} bytes; it needs {PSEUDONYM_KEY_BYTES} random ones, and "
            "as many for each time that it was rotated"
        )
    return key


def key_check(key: bytes) -> bytes:
    """What a store keeps of its key, to tell it from others."""
    return hidden_by(key)(CHECKED)


def waiting_key(path: Path) -> Path:
    """Where a key lies before it takes its place."""
    return path.with_name(path.name + ".new")
