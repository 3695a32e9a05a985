"""The bytes and the text of a file, gzipped or not."""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from dp.log.log import LogError

GZIP_MAGIC = b"\x1f\x8b"


def fingerprint(path: str | Path) -> str:
    """The SHA-256 of the file's bytes, in hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_gzipped(path: Path) -> bool:
    """Whether the file begins as gzip does, whatever its name."""
    with path.open("rb") as stream:
        return stream.read(2) == GZIP_MAGIC


@contextmanager
def open_bytes(path: Path) -> Iterator[tuple[Any, Callable[[], float]]]:
    """The uncompressed bytes of a file as a stream, and a function that returns the fraction of the file read."""
    size = max(path.stat().st_size, 1)
    with path.open("rb") as compressed, ExitStack() as stack:
        gzipped = compressed.read(2) == GZIP_MAGIC
        compressed.seek(0)
        stream = stack.enter_context(gzip.open(compressed, "rb")) if gzipped else compressed
        yield stream, lambda: compressed.tell() / size


@contextmanager
def open_text(path: Path) -> Iterator[tuple[Iterator[str], Callable[[], float]]]:
    """The lines of a file with their line ends, and the fraction read; invalid UTF-8 becomes lone surrogates."""
    with (
        open_bytes(path) as (stream, fraction),
        TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as lines,
    ):
        yield lines, fraction


@contextmanager
def errors_as_log_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system and gzip say about `path` into a LogError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LogError(f"{path} is a damaged or truncated gzip file: {error}") from None
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror or error}") from None


def is_utf8(text: str) -> bool:
    """Whether a text can be written in UTF-8, that is, contains no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """The text with a replacement character for everything that cannot be printed."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
