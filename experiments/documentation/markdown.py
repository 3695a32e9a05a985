"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

RULES = {"l": "---", "r": "---:"}


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
