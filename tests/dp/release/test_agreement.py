"""Rows brought into agreement: what holds of every day, and that days to come change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import duckdb
import numpy as np
import pytest

import dp
from dp.release import Plan, count_log, simulate_rows
from dp.release.agreement import with_agreement
from tests.oracles.labelled_logs import day, labelled_log_of
from tests.oracles.questions import Written

LAST_DAY = 45
COUNTRY = dp.breakdown("country", ["GB", "DE"], "last")
PLATFORM = dp.breakdown("platform", ["ios", "web"], "any", most=2)


def planned(**changes: Any) -> Plan:
    asked = {"flows": ["wau"], "calendar": ["week", "month"], "by": [COUNTRY, PLATFORM], "epsilon": 4.0, **changes}
    return dp.plan(["dau", "wau"], first=day(0), last=day(LAST_DAY), **asked).calibrated


def rows_of(plan: Plan, last: int = LAST_DAY) -> list[dict[str, Any]]:
    rng = np.random.default_rng(4)
    labels = [(platform, country) for platform in ("ios", "tv") for country in ("GB", "FR")]
    operations = [
        Written(f"u{user}", int(about), "+", int(about), labels[rng.integers(4)])
        for user in range(40)
        for about in np.flatnonzero(rng.random(LAST_DAY + 1) < 0.2)
    ]
    with duckdb.connect() as connection:
        log = labelled_log_of(operations, connection)
        counts = count_log(log, plan, plan.request.first + timedelta(days=LAST_DAY))
    short = {metric: one.until(len(series.days(plan.request.first, last + 1)))
             for (metric, one), series in zip(counts.items(), plan.series, strict=True)}  # fmt: skip
    return simulate_rows(plan, short, 1)


def on_days(rows: Sequence[dict[str, Any]], column: str) -> dict[tuple[str, str | None, str | None], dict[str, int]]:
    found: dict[tuple[str, str | None, str | None], dict[str, int]] = {}
    for row in rows:
        found.setdefault((row["question"], row["breakdown"], row["segment"]), {})[row["day"]] = row[column]
    return found


def test_counts_of_a_day_agree() -> None:
    plan = planned()
    rows = with_agreement(plan, rows_of(plan))
    counts = on_days(rows, "count")
    assert all(row["count"] >= 0 and row["count_low"] <= row["count"] <= row["count_high"] for row in rows)
    segments: tuple[tuple[str | None, str | None], ...] = (
        (None, None), ("country", "GB"), ("country", "DE"), ("country", "other"), ("platform", "ios"),
        ("platform", "web"), ("platform", "other"),
    )  # fmt: skip
    for by, segment in segments:
        before = 0
        for when, count in counts["wau", by, segment].items():
            new, returning, gone = (counts[f"wau/{flow}", by, segment][when] for flow in ("new", "returning", "gone"))
            assert new + returning - gone == count - before
            assert counts["dau", by, segment][when] <= count
            before = count
    for question in ("dau", "wau", "week", "month"):
        for when, total in counts[question, None, None].items():
            assert sum(counts[question, "country", segment][when] for segment in ("GB", "DE", "other")) == total


def test_days_to_come_change_nothing() -> None:
    plan = planned()
    early = with_agreement(plan, rows_of(plan, last=20))
    whole = {
        (row["question"], row["breakdown"], row["segment"], row["day"]): row
        for row in with_agreement(plan, rows_of(plan))
    }
    assert early
    assert all(whole[row["question"], row["breakdown"], row["segment"], row["day"]] == row for row in early)


def test_metrics_alone_agree_too() -> None:
    plan = planned(flows=[], calendar=[], by=[])
    rows = with_agreement(plan, rows_of(plan))
    assert {row["metric"] for row in rows} == {"dau", "wau"}
    assert all(row["count"] == round(row["count"]) for row in rows)


def test_intervals_of_laplace_noise_are_those_that_were_released() -> None:
    plan = planned(mechanism="laplace")
    for row in with_agreement(plan, rows_of(plan)):
        if not row["count_widened"]:
            assert row["count_low"] == max(0, np.ceil(row["ci_low"]))
            assert row["count_high"] == np.floor(row["ci_high"])


def test_a_band_over_all_series_of_a_day_is_wider() -> None:
    plan = planned()
    each, together = (with_agreement(plan, rows_of(plan), simultaneous=both) for both in (False, True))
    assert sum(row["count_high"] for row in each) < sum(row["count_high"] for row in together)
    assert [row["count"] for row in each] == [row["count"] for row in together]


def test_missing_rows_are_named() -> None:
    plan = planned()
    rows = [row for row in rows_of(plan) if row["question"] != "dau" or row["breakdown"] != "country"]
    with pytest.raises(ValueError, match="rows of dau/country are missing"):
        with_agreement(plan, rows)
