"""Markdown: tables, and lines of prose that are not too long."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

RULES = {"l": "---", "r": "---:"}
LINE_WIDTH = 120
"""Longest line of prose."""


def markdown_table(titles: Sequence[str], alignment: str, rows: Iterable[Sequence[str]]) -> str:
    """A table whose columns have these titles.

    Args:
        alignment: a letter a column: l for left, r for right.
        rows: cells in Markdown.

    Raises:
        ValueError: a row, or the alignment, has not as many columns as the titles.
    """
    cells = [list(titles), *(list(row) for row in rows)]
    if wrong := [row for row in (*cells, list(alignment)) if len(row) != len(titles)]:
        raise ValueError(f"the table has {len(titles)} columns, but this has {len(wrong[0])}: {' | '.join(wrong[0])}")
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], f"|{'|'.join(RULES[letter] for letter in alignment)}|", *lines[1:]])


def wrap_prose(text: str) -> str:
    """Markdown with lines of prose of at most WIDTH characters; tables, headings and pictures stay one line each."""
    return "\n".join(_wrap_line(line) for line in text.split("\n"))


def _wrap_line(line: str) -> str:
    if len(line) <= LINE_WIDTH or line.startswith(("|", "#", "![", "<", "    ")):
        return line
    quote = "> " if line.startswith("> ") else ""
    return textwrap.fill(
        line.removeprefix(quote), LINE_WIDTH, initial_indent=quote, subsequent_indent=quote, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
