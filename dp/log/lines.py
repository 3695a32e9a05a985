"""The lines of a text, many at a time: found once, by one scan over the bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from dp.arrays import Integers

BLOCK = 1 << 24
"""Bytes read at once; fewer take less memory, and more time."""
SMALL_BLOCK = 1 << 22
LONGEST = 1 << 26
"""Bytes of the longest line that is kept; a longer one is a bad row, so that no row takes all memory."""
TOO_LONG = f"the line is longer than {LONGEST >> 20} MiB"
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Lines:
    """Some whole lines, one after the other.

    Attributes:
        content: their bytes; each line ends in a line feed.
        first: the number of the first line, counted from 1.
        cut: whether this is one line, longer than `LONGEST`, of which only the beginning is here.
    """

    content: bytes
    first: int
    cut: bool = False

    @cached_property
    def array(self) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        """The bytes as numbers."""
        return np.frombuffer(self.content, np.uint8)

    @cached_property
    def ends(self) -> Integers:
        """Where each line ends: the position of its line feed."""
        return np.flatnonzero(self.array == ord("\n"))

    @cached_property
    def starts(self) -> Integers:
        """Where each line starts."""
        return np.concatenate([np.zeros(min(len(self.ends), 1), np.int64), self.ends[:-1] + 1])

    @cached_property
    def not_utf8(self) -> Integers:
        """The lines that are not UTF-8."""
        try:
            self.content.decode()
        except UnicodeDecodeError:
            text = self.content.decode("utf-8", "surrogateescape").encode("utf-32-le", "surrogatepass")
            characters = np.frombuffer(text, np.uint32)
            foreign = np.flatnonzero((characters >= 0xDC80) & (characters <= 0xDCFF))
            owners = np.searchsorted(np.flatnonzero(characters == ord("\n")), foreign)
            return owners[np.diff(owners, prepend=-1) > 0]
        return np.zeros(0, np.int64)

    def __len__(self) -> int:
        """How many lines there are."""
        return len(self.ends)

    def positions(self, character: str) -> Integers:
        """Where an ASCII character stands."""
        return np.flatnonzero(self.array == ord(character))

    def line(self, index: int) -> bytes:
        """One line without its end."""
        return self.content[self.starts[index] : self.ends[index]]

    def text(self, index: int) -> str:
        """One line as text; bytes that are not UTF-8 become lone surrogates."""
        return self.line(index).decode("utf-8", "surrogateescape")

    def some(self, indices: Integers) -> Iterator[bytes]:
        """These lines without their ends."""
        content = self.content
        for start, end in zip(self.starts[indices].tolist(), self.ends[indices].tolist(), strict=True):
            yield content[start:end]

    def printed(self, indices: Integers) -> pa.Array:
        """Some lines as text; bytes that are not UTF-8 are spelt out."""
        if len(indices) < len(self) // 10:
            return pa.array([spelt_out(line) for line in self.some(indices)], pa.string())
        return pa.compute.split_pattern(spelt_out(self.content), "\n").values.take(pa.array(indices))

    def after(self, index: int) -> Lines:
        """The lines behind one of them."""
        return replace(self, content=self.content[self.ends[index] + 1 :], first=self.first + index + 1)


def lines_of(stream: Any, block: int | None = None) -> Iterator[Lines]:
    """The lines of a stream of bytes; they end in LF, CR LF or CR, and the last one need not.

    A byte order mark is no part of the first line.

    Args:
        block: bytes read at once; by default `BLOCK`.
    """
    block = block or BLOCK
    pending, number, ended = stream.read(len(BOM)).removeprefix(BOM), 1, False
    while not ended:
        chunk = stream.read(block)
        ended = not chunk
        content = pending + chunk
        # A CR at the very end may be half of a CR LF.
        cut = len(content) if ended else max(content.rfind(b"\n"), content.rfind(b"\r", 0, len(content) - 1)) + 1
        whole, pending = content[:cut], content[cut:]
        if whole:
            lines = _line_feeds(whole, number)
            number += len(lines)
            yield lines
        if len(pending) > LONGEST:
            yield Lines(pending[:block].replace(b"\r", b"") + b"\n", number, cut=True)
            number += 1
            pending, ended = _behind_the_line(stream, block)


def spelt_out(content: bytes) -> str:
    """The text, with an escape for every byte that is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace").decode()


def _line_feeds(content: bytes, number: int) -> Lines:
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return Lines(content if content.endswith(b"\n") else content + b"\n", number)


def _behind_the_line(stream: Any, block: int) -> tuple[bytes, bool]:
    """Skip the rest of a line: what follows in the last chunk read, and whether the stream has ended."""
    while chunk := stream.read(block):
        ends = [position for position in (chunk.find(b"\n"), chunk.find(b"\r")) if position >= 0]
        if ends:
            return chunk[min(ends) + 1 :], False
    return b"", True
