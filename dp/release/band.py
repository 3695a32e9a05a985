"""Simultaneous bands, added to released rows: post-processing, which costs no privacy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from dp.arrays import Floats
from dp.mechanisms import EMPTY_STATE, Mechanism
from dp.release.drawing import series_of
from dp.release.plan import Plan


def with_band(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `band_low` and `band_high`, which hold the counts of a metric on *all* days of the horizon at once.

    They do so with the probability `ci_level`, where `ci_low` and `ci_high` do so for each day by itself: every day has
    an interval of the level 1 − (1 − level)/T (Bonferroni), whatever other days have (docs/guarantees.md, section 7).

    Args:
        plan: of the release.
        rows: as published, of any days.

    Raises:
        ValueError: there is no horizon, the mechanism's error depends on the data, or a sample is counted, whose
            intervals are approximations that such high levels are beyond.
    """
    request = plan.request
    if request.horizon is None:
        raise ValueError("band needs a horizon: over days without an end no band of bounded width holds them all")
    if request.sample is not None:
        raise ValueError("band holds noise alone; a sample errs too, and its intervals are too rough for a band")
    by_series: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_series.setdefault(series_of(row), []).append(row)
    # All series of a question have the same mechanism.
    halves: dict[str, Floats] = {}
    found: dict[str, tuple[Any, Any]] = {}
    for series in plan.series:
        if series.mechanism.data_dependent:
            raise ValueError(f"band needs noise that does not depend on the data, and that of {request.mechanism} does")
        own = by_series.get(series.metric, [])
        cell = series.question.cell
        ticks = cell.number(request.first, request.horizon)
        level = 1 - (1 - request.ci_level) / ticks
        places = [cell.place(request.first, date.fromisoformat(row["day"])) for row in own]
        if series.question.name not in halves:
            halves[series.question.name] = half_widths(series.mechanism, ticks, level)
        half = halves[series.question.name][places]
        estimates = np.array([row["estimate"] for row in own])
        low, high = estimates - half, estimates + half
        found[series.metric] = iter(low.tolist()), iter(high.tolist())
    return [
        {**row, "band_low": next(found[series_of(row)][0]), "band_high": next(found[series_of(row)][1])} for row in rows
    ]


def half_widths(mechanism: Mechanism, horizon: int, level: float) -> Floats:
    """Half widths of intervals, where they do not depend on the counts; shape (horizon,), in users."""
    # Those around nobody, with noise that is 0.
    _, released = mechanism.run(
        EMPTY_STATE, np.zeros(horizon, dtype=np.int64), lambda noise, size: np.zeros(size, dtype=np.int64), level
    )
    return released.high - released.estimates
