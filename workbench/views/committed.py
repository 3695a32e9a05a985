"""Tables of `results/`, which pages show beside what they compute."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.engine.places import RESULTS
from workbench.rows import TableRow


def committed_rows(name: str) -> list[TableRow]:
    """The rows of a committed table, as plain JSON values; none where the repository's results are not here."""
    path = RESULTS / f"{name}.parquet"
    if not path.exists():
        return []
    from pyarrow.parquet import read_table

    return [{key: _plain(value) for key, value in row.items()} for row in read_table(path).to_pylist()]


def where_from(names: Sequence[str], command: str, *, here: bool) -> str:
    """Whence committed tables are, in a sentence; `here` says whether they are on this machine."""
    files = " and ".join(f"`results/{name}.parquet`" for name in names)
    if not here:
        return f"{files} cannot be shown, because the repository is not here; in a copy of it `{command}` makes them."
    return f"Not computed here: from {files}, committed with the code and made by `{command}`."


def _plain(value: object) -> object:
    """Not a number is no JSON."""
    return None if isinstance(value, float) and math.isnan(value) else value
