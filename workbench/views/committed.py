"""Tables of `results/`, which pages show beside what they compute."""

from __future__ import annotations

import math

from experiments.engine.places import RESULTS
from workbench.rows import TableRow


def committed_rows(name: str) -> list[TableRow]:
    """The rows of a committed table, as plain JSON values; none where the repository's results are not here."""
    path = RESULTS / f"{name}.parquet"
    if not path.exists():
        return []
    from pyarrow.parquet import read_table

    return [{key: _plain(value) for key, value in row.items()} for row in read_table(path).to_pylist()]


def where_from(name: str, command: str, rows: list[TableRow]) -> str:
    """Whence a committed table is, in a sentence."""
    file = f"`results/{name}.parquet`"
    if not rows:
        return f"{file} is not on this machine; `{command}` makes it in a copy of the repository."
    return f"From {file}, which is committed; made by `{command}`."


def _plain(value: object) -> object:
    """Not a number is no JSON."""
    return None if isinstance(value, float) and math.isnan(value) else value
