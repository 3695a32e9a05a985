"""The committed table of coverage, and its cell that is nearest to a question."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.engine.places import ROOT

if TYPE_CHECKING:
    import pandas as pd

TABLE = "results/interval_coverage.parquet"
MADE_BY = "dpdau experiment run experiments/configs/interval_coverage.toml"
COMMITTED = ROOT / TABLE
SHOWN = (
    "mechanism", "unit", "epsilon", "w_bound", "window", "horizon", "rate", "trials", "pointwise", "band",
    "true_pointwise", "true_band",
)  # fmt: skip


def committed_cells(path: Path = COMMITTED) -> pd.DataFrame | None:
    """The table, as far as this page shows it; None where the folder of results is not installed."""
    import pandas as pd

    if not path.exists():
        return None
    table = pd.read_parquet(path)
    return table[[name for name in SHOWN if name in table.columns]]


def nearest_cell(table: pd.DataFrame, row: dict[str, Any]) -> int | None:
    """The index of the cell of the same mechanism, of all users, that differs least; None where there is none.

    Units count most, then the ratios of ε, W_BOUND, window and horizon.
    """
    cells = table[(table["mechanism"] == row["mechanism"]) & (table["rate"] == 1)]

    def distance(cell: dict[str, Any]) -> tuple[bool, float]:
        ratios = (cell[name] / row[name] for name in ("epsilon", "w_bound", "window", "horizon"))
        return cell["unit"] != row["unit"], sum(abs(math.log(ratio)) for ratio in ratios)

    found = {int(index): distance(cell) for index, cell in cells.to_dict("index").items()}
    return min(found, key=lambda index: found[index]) if found else None
