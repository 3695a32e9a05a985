"""From published rows to what the page shows: whole counts in order, and the share of a month that comes on a day.

Pure functions of published rows, one day at a time: what is shown of a day never changes with the days after it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np

from dp.arrays import Floats
from dp.intervals.consistency import consistent_counts
from dp.intervals.ratio import fieller, ratio_of_intervals
from dp.questions import SeriesName
from workbench.rows import TableRow

WEEK = 7
EACH_DAY, ALL_DAYS = "each day", "all days"
"""Whether an interval holds for its day by itself, or with those of all days of the horizon at once."""


def _ends(row: PublishedRow | AnswerRow, band: str) -> tuple[float | None, float | None]:
    """The interval that was chosen."""
    return (row.band_low, row.band_high) if band == ALL_DAYS else (row.ci_low, row.ci_high)


class PublishedRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the page needs of a published row; `band_low` and `band_high` are those of `dp.release.with_band`."""

    metric: str
    window: int
    day: str
    estimate: float
    ci_low: float | None
    ci_high: float | None
    ci_level: float
    std: float | None
    mechanism: str
    unit: str
    w_bound: int | None
    horizon: int | None
    band_low: float | None = None
    band_high: float | None = None

    @property
    def series(self) -> str:
        """Which series it is of, as a plan calls it."""
        return self.metric

    ends = _ends


class AnswerRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the page needs of a published row of a question besides the metrics."""

    question: str
    breakdown: str | None
    segment: str | None
    day: str
    estimate: float
    ci_low: float
    ci_high: float
    band_low: float | None = None
    band_high: float | None = None

    @property
    def series(self) -> str:
        """Which series it is of, as a plan calls it."""
        return SeriesName(self.question, self.breakdown, self.segment).key

    ends = _ends


Row = TypeVar("Row", bound=msgspec.Struct)


def read_rows(text: str, kind: type[Row]) -> list[Row]:
    """Rows from CSV with the columns of a kind of row, as the page's zip holds them.

    Raises:
        ValueError: a column is missing, or a value is of another type; the message names it.
    """
    cells = [{name: value or None for name, value in row.items()} for row in csv.DictReader(io.StringIO(text))]
    return msgspec.convert(cells, list[kind], strict=False)  # type: ignore[valid-type]


def by_metric(rows: Sequence[PublishedRow]) -> dict[str, list[PublishedRow]]:
    """Metric → its rows, the shortest window first; only days that every metric has.

    Args:
        rows: of every metric oldest first, without a gap.
    """
    found: dict[str, list[PublishedRow]] = {}
    for row in sorted(rows, key=lambda row: (row.window, row.day)):
        found.setdefault(row.metric, []).append(row)
    days = min(map(len, found.values()), default=0)
    return {metric: series[:days] for metric, series in found.items()}


def counts_table(rows: Sequence[PublishedRow], band: str) -> list[TableRow]:
    """One row a metric and day: `count`, `low` and `high` are whole numbers ≥ 0, and no window outnumbers a longer one.

    `low` and `high` are None on days without an interval. Estimates are weighed by their standard deviations, or
    alike on a day on which one of them has none. `week_before` is the count of seven days earlier.
    """
    series = by_metric(rows)
    if not any(series.values()):
        return []
    estimates = _columns(series, lambda row: row.estimate)
    deviations = _columns(series, lambda row: row.std)
    known = np.all(deviations > 0, axis=1, keepdims=True)
    low, high = (_columns(series, lambda row, end=end: row.ends(band)[end]) for end in (0, 1))  # type: ignore[misc]
    bounded = np.isfinite(low) & np.isfinite(high)
    counts = consistent_counts(
        estimates,
        np.where(known, deviations, 1.0),
        np.where(bounded, low, estimates),
        np.where(bounded, high, estimates),
    )
    return [
        {
            "day": row.day,
            "metric": metric,
            "window": row.window,
            "count": int(counts.estimates[day, place]),
            "low": int(counts.low[day, place]) if bounded[day, place] else None,
            "high": int(counts.high[day, place]) if bounded[day, place] else None,
            "estimate": row.estimate,
            "week_before": int(counts.estimates[day - WEEK, place]) if day >= WEEK else None,
        }
        for place, (metric, published) in enumerate(series.items())
        for day, row in enumerate(published)
    ]


def _columns(series: Mapping[str, Sequence[PublishedRow]], value: Callable[[PublishedRow], float | None]) -> Floats:
    """Shape (days, windows); NaN for what is missing."""
    return np.array([[value(row) for row in rows] for rows in series.values()], dtype=np.float64).T


def stickiness_table(
    rows: Sequence[PublishedRow], band: str, shown: Sequence[TableRow] | None = None
) -> list[TableRow]:
    """One row a day: `ratio` is DAU/MAU of the whole counts; `low`, `high` and `level` are of its interval.

    All but the level are None where nothing can be said: the interval has no end, or holds all from 0 to 1.

    Args:
        shown: the rows of the counts that are shown; those of `counts_table` where none are given.
    """
    series = by_metric(rows)
    if not {"dau", "mau"} <= series.keys():
        return []
    counts = {(row["metric"], row["day"]): row["count"] for row in shown or counts_table(rows, band)}
    return [
        _stickiness(dau, mau, band, counts["dau", dau.day], counts["mau", mau.day])
        for dau, mau in zip(series["dau"], series["mau"], strict=True)
    ]


def _stickiness(dau: PublishedRow, mau: PublishedRow, band: str, daily: int, monthly: int) -> TableRow:
    from dp.mechanisms import family_of
    from dp.release import freezes

    normal = all(family_of(row.mechanism).noise == "gaussian" for row in (dau, mau))
    row: TableRow = {"day": dau.day, "ratio": None, "low": None, "high": None}
    row["level"] = dau.ci_level if normal else 2 * dau.ci_level - 1
    ends = (*dau.ends(band), *mau.ends(band))
    if monthly == 0 or any(end is None for end in ends):
        return row
    above_low, above_high, below_low, below_high = (np.array([end], dtype=np.float64) for end in ends)
    if normal:
        halves = (above_high - above_low) / 2, (below_high - below_low) / 2
        found = fieller(np.array([dau.estimate]), halves[0], np.array([mau.estimate]), halves[1])
    else:
        found = ratio_of_intervals(above_low, above_high, below_low, below_high)
    low, high = (float(end[0]) for end in found)
    if not any(freezes(row.unit, row.mechanism) for row in (dau, mau)):
        # Nobody is frozen, so who was active on the day was active in the month.
        high = min(high, 1.0)
    if (low <= 0 and high >= 1) or math.isinf(high):
        return row
    ratio = daily / monthly
    # Of the counts that are shown, the ratio may lie outside; a wider interval holds the true one no less often.
    return {**row, "ratio": ratio, "low": min(low, ratio), "high": max(high, ratio)}
