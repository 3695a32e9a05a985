"""What figures and findings compute from tables: the best mechanisms, the best shares of a budget."""

from __future__ import annotations

import numpy as np
import pandas as pd

MEASURES = {
    "rmse": "RMSE [users]",
    "mae": "mean absolute error [users]",
    "p95_error": "1 day in 20 exceeds [users]",
    "rmsre_100": "relative RMSE [%]",
}
"""Columns of measures of error, and their titles."""
ALIKE = 1.001
"""Errors whose ratio is less than this are the same."""


def unbeaten(part: pd.DataFrame) -> list[str]:
    """The mechanisms that no other beats, best first: with a smaller error no less memory, and the other way round.

    Args:
        part: rows of one class, one a mechanism.
    """
    rows = [(row["analytic_rmse"], row["memory"], str(row["mechanism"])) for _, row in part.iterrows()]

    def beats(one: tuple[float, float, str], other: tuple[float, float, str]) -> bool:
        better, leaner = one[0] < other[0] / ALIKE, one[1] < other[1]
        return (better and one[1] <= other[1]) or (leaner and one[0] <= other[0] * ALIKE)

    return [row[2] for row in sorted(rows) if not any(beats(other, row) for other in rows)]


def worst_at(part: pd.DataFrame) -> dict[str, float]:
    """The shares of the metrics that minimise the largest relative error, from its formula ∝ 1/√share.

    Args:
        part: rows of one unit.
    """
    squares = {metric: cost**2 for metric, cost in costs(part).items()}
    return {metric: square / sum(squares.values()) for metric, square in squares.items()}


def costs(part: pd.DataFrame) -> dict[str, float]:
    """The relative error of each metric if it had the whole budget, from its rows at all shares.

    Raises:
        ValueError: an error is not proportional to 1/√share, so that this number does not exist.
    """
    errors = {}
    for metric, rows in part.groupby("metric", sort=False):
        each = rows["analytic_rmse"] * rows["relative_rmse"] / rows["rmse"] * np.sqrt(rows["share"])
        if each.max() > 1.001 * each.min():
            raise ValueError(f"the error of {metric} is not proportional to 1/√share")
        errors[str(metric)] = float(each.mean())
    return errors
