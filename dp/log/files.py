"""The bytes of a log's files, packed or not, and what they are called in messages."""

import errno
import gzip
import hashlib
import io
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from dp.log.log import LogError
from dp.names import PACKED_SUFFIXES

STANDARD_INPUT = "-"
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class LogFile:
    """One file of a log.

    Attributes:
        path: of the file; `-` is standard input.
        constants: columns that every row of it has, from the names of its folders.
    """

    path: Path
    constants: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def is_standard_input(self) -> bool:
        """Whether there is no path behind it."""
        return str(self.path) == STANDARD_INPUT

    @property
    def is_stream(self) -> bool:
        """Whether it can be read only once, from front to back, as standard input and pipes are."""
        return self.is_standard_input or (self.path.exists() and not self.path.is_file())

    @property
    def unpacked_name(self) -> str:
        """Its name in lower case, without the ending of packed files."""
        name = self.path.name.lower()
        return next((name.removesuffix(packed) for packed in PACKED_SUFFIXES if name.endswith(packed)), name)

    def __str__(self) -> str:
        """What messages call it."""
        return "standard input" if self.is_standard_input else str(self.path)


def fingerprint(path: str | Path) -> str:
    """The SHA-256 of the file's bytes, in hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_packed(file: LogFile) -> bool:
    """Whether the file begins as gzip or zstd does."""
    with file.path.open("rb") as stream:
        return stream.read(4).startswith((GZIP_MAGIC, ZSTD_MAGIC))


@contextmanager
def open_bytes(file: LogFile) -> Iterator[tuple[Any, Callable[[], float | None]]]:
    """The unpacked bytes of a file as a stream, and a function that returns the fraction of it read, if it is known.

    Raises:
        LogError: the file cannot be read, now or while the stream is used; a packed one may be damaged.
    """
    with _errors_as_log_errors(file), ExitStack() as stack:
        packed: Any = _standard_input() if file.is_standard_input else stack.enter_context(file.path.open("rb"))
        size = None if file.is_stream else max(file.path.stat().st_size, 1)
        if size is None:
            packed = io.BufferedReader(_Rejoined(packed.read(4), packed))
        magic = packed.peek(4)[:4]
        stream: Any = packed
        if magic.startswith(GZIP_MAGIC):
            stream = stack.enter_context(gzip.open(packed, "rb"))
        elif magic == ZSTD_MAGIC:
            stream = stack.enter_context(pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd"))
        yield stream, lambda: None if size is None else min(packed.tell() / size, 1.0)


def _standard_input() -> Any:
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    return sys.stdin.buffer


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already: a pipe may bring them one by one, and `peek` does not wait."""

    def __init__(self, beginning: bytes, rest: Any) -> None:
        self._beginning, self._rest = beginning, rest

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what comes next, as far as it is there."""
        part = self._beginning[: len(buffer)] or self._rest.read1(len(buffer))
        self._beginning = self._beginning[len(part) :]
        buffer[: len(part)] = part
        return len(part)


@contextmanager
def _errors_as_log_errors(file: LogFile) -> Iterator[None]:
    """Turn what the operating system and the unpackers say about a file into a LogError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LogError(f"{file} is a damaged or truncated gzip file: {error}") from None
    except OSError as error:
        if error.errno is None:
            raise LogError(f"{file} is a damaged or truncated zstd file: {error}") from None
        raise LogError(f"{file} cannot be read: {error.strerror or error}") from None


def is_utf8(text: str) -> bool:
    """Whether a text can be written in UTF-8, that is, contains no lone surrogate."""
    return _SURROGATE.search(text) is None


def printable(text: str) -> str:
    """The text with a replacement character for everything that cannot be printed."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
