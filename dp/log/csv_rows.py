"""Rows of a CSV file with their lines and their raw text, by the standard library: slow, and right about every file."""

import csv
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple


class Row(NamedTuple):
    """One row as it stands in the file."""

    line: int
    """The physical line on which the row starts, from 1."""
    raw: str
    fields: list[str]
    fault: str | None


def rows_of(lines: Iterator[str]) -> Iterator[Row]:
    """Every row that is not blank, the header included.

    A row with unbalanced quotes costs its first line only: reading goes on with the next.
    """
    line = 1
    pending: Iterator[str] = lines
    while True:
        taken: list[str] = []
        reader = csv.reader(_recorded(pending, taken), strict=True)
        try:
            for fields in reader:
                if fields:
                    yield Row(line, "".join(taken).rstrip("\r\n"), fields, None)
                line += len(taken)
                taken.clear()
            return
        except csv.Error as error:
            fault = f"not a CSV row: {error}"
        yield Row(line, taken[0].rstrip("\r\n"), [], fault)
        line += 1
        pending = chain(taken[1:], pending)


def _recorded(lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    """The lines, each appended to `taken` as it is read."""
    for line in lines:
        taken.append(line)
        yield line
