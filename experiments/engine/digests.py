"""SHA-256 of values and of files, in hex."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec


def of_values(value: object) -> str:
    """Digest of anything that msgspec encodes as JSON; the order of keys does not matter."""
    return of_bytes(msgspec.json.encode(value, order="sorted"))


def of_bytes(content: bytes) -> str:
    """Digest of bytes."""
    return hashlib.sha256(content).hexdigest()


def of_file(path: Path) -> str | None:
    """Digest of a file's bytes; None if there is no file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
