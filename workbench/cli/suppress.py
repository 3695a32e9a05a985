"""Small counts withheld from released rows: post-processing of what is published, which costs no privacy and adds none.

The noise is what protects; to withhold small numbers keeps readers from taking noise for users.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.rows import TableRow

NUMBERS = ("estimate", "count")
ENDS = ("ci_low", "ci_high", "noise_low", "noise_high", "band_low", "band_high", "count_low", "count_high")
"""Between two ends lies the number, so that they go with it."""


def suppressed(rows: Sequence[TableRow], below: float) -> list[TableRow]:
    """The rows, with `<n` in place of numbers below n, and nothing in place of their intervals.

    Where a row has a `count`, made to agree with others, that is what is compared, else the `estimate`.
    """
    return [_withheld(row, below) if float(row.get("count", row["estimate"])) < below else row for row in rows]


def _withheld(row: TableRow, below: float) -> TableRow:
    return {name: f"<{below:g}" if name in NUMBERS else None if name in ENDS else value for name, value in row.items()}
