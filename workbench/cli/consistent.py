"""Counts that agree with each other, added to released rows: post-processing, which costs no privacy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dp.intervals.consistency import consistent_counts
from workbench.rows import TableRow


def with_counts(rows: Sequence[TableRow]) -> list[TableRow]:
    """The rows with whole, non-negative counts that never fall from a window to a longer one on the same day.

    Adds `count`, `count_low`, `count_high` and `count_widened` (whether the interval had to be widened to hold the
    count) to every row. `estimate`, `ci_low` and `ci_high` stay what they were.

    Raises:
        ValueError: a row has no interval or no standard deviation, so that there is nothing to weigh it by.
    """
    added: dict[tuple[str, str], TableRow] = {}
    by_day: dict[str, list[TableRow]] = {}
    for row in rows:
        if row["std"] is None or row["ci_low"] is None or row["ci_high"] is None:
            raise ValueError(
                f"consistent counts weigh estimates by their standard deviation, and {row['mechanism']} has none on "
                f"{row['day']}; leave --consistent out"
            )
        by_day.setdefault(row["day"], []).append(row)
    for day, released in by_day.items():
        ordered = sorted(released, key=lambda row: int(row["window"]))
        estimates, low, high = (np.array([row[name] for row in ordered]) for name in ("estimate", "ci_low", "ci_high"))
        # Of a sample, both errors.
        deviations = np.array([math.hypot(row["std"], row.get("sketch_std", 0.0)) for row in ordered])
        counts = consistent_counts(estimates, deviations, low, high)
        for row, count, low, high, widened in zip(
            ordered, counts.estimates, counts.low, counts.high, counts.widened, strict=True
        ):
            added[day, row["metric"]] = {
                "count": int(count),
                "count_low": int(low),
                "count_high": int(high),
                "count_widened": bool(widened),
            }
    return [{**row, **added[row["day"], row["metric"]]} for row in rows]
