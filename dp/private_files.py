"""Files of secrets: read only where nobody else can, replaced in one step, changed by one process at a time."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def read_private(path: Path, what: str) -> str:
    """The text of a file of mode 0600 or narrower; bytes that are no text become replacement characters.

    Args:
        what: what the file holds, for the message.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: others may read or change it.
    """
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ValueError(f"{path} has the mode {mode:04o}: others may read the {what}; run chmod 600 {path}")
        return file.read().decode("utf-8-sig", errors="replace")


@contextmanager
def new_private(path: Path, text: str) -> Iterator[Path]:
    """A file of mode 0600 beside `path` that holds the text; links and renames of it last, the file itself goes.

    Raises:
        OSError: it cannot be made.
    """
    handle, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield Path(name)
        sync(path.resolve().parent)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Exclude other processes that lock this file or folder; the lock ends with the process."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Make what a file holds, or which names a folder holds, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
