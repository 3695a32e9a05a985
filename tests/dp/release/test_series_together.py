"""A release of many series: what is drawn in blocks is what each series draws, and its rows need not be in memory."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from datetime import date, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from dp.accounting.composition import Guarantee
from dp.arrays import Integers
from dp.counts import Counts, Sample
from dp.ledger import open_ledger
from dp.mechanisms import EMPTY_STATE, MECHANISMS
from dp.noise import Noise
from dp.questions import breakdown, questions_of
from dp.release import (
    Plan,
    Request,
    charge_and_draw,
    each_published,
    each_simulated,
    plan_release,
    publish,
    recall,
    simulate_rows,
    stated_counts,
)
from dp.release.drawing import seeded_source

FIRST, NOW, TICKS = date(2026, 1, 1), datetime(2026, 6, 1), 18
LINEAR = [name for name, family in MECHANISMS.items() if not family.data_dependent]


def plan_of(mechanism: str = "damped-square-root", segments: int = 6, ticks: int = TICKS) -> Plan:
    """Totals, flows and weeks, in all and by two breakdowns."""
    by = [
        breakdown("page", [f"p{place}" for place in range(segments - 1)], "last"),
        breakdown("plan", ["free", "paid"], "fixed"),
    ]
    windows = {"dau": 1, "wau": 7}
    questions = questions_of(windows, ["wau"], ["week"], by)
    names = [*windows, *(question.name for question in questions)]
    delta = 0.0 if "laplace" in mechanism else 1e-6
    return plan_release(
        Request(windows, "user-day", 2, Guarantee(1.0, delta), mechanism, FIRST, ticks, dict.fromkeys(names, 1.0),
                questions=questions)
    )  # fmt: skip


def counts_of(plan: Plan, ticks: int) -> dict[str, Counts]:
    generator = np.random.default_rng(1)
    whole = {
        series.metric: generator.integers(0, 1000, len(series.days(FIRST, plan.request.horizon or ticks)))
        for series in plan.series
    }
    return stated_counts(
        plan, {series.metric: whole[series.metric][: len(series.days(FIRST, ticks))] for series in plan.series}
    )


class KnownNoise:
    """What a release draws, whatever is asked for at once."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(2)

    def __call__(self, noise: Noise, size: int) -> Integers:
        return np.array([int(noise.seeded(self.generator, (1,))[0]) for _ in range(size)], dtype=np.int64)


def released(folder: Path, plan: Plan, pieces: list[int], rows_at_once: int) -> list[str]:
    """The rows of a stream that is published up to each of these ticks in turn."""
    with (
        mock.patch("dp.release.stream.secure_source", KnownNoise()),
        mock.patch("dp.release.drawing.ROWS_AT_ONCE", rows_at_once),
        open_ledger(folder / f"{rows_at_once}.db") as ledger,
    ):
        ledger.create_budget("team", Guarantee(10.0, 1e-4), FIRST, None)
        for ticks in pieces:
            rows = publish(ledger, "s", "team", plan, counts_of(plan, ticks), NOW)
        assert recall(ledger, "s", "team", plan, pieces[-1], NOW) == rows
        return rows


@pytest.mark.parametrize("mechanism", LINEAR)
def test_a_release_is_that_of_each_series_by_itself(tmp_path: Path, mechanism: str) -> None:
    plan = plan_of(mechanism)
    counts, source = counts_of(plan, TICKS), KnownNoise()
    rows: dict[str, Any] = {}
    for text in released(tmp_path, plan, [TICKS], 2**17):
        row = json.loads(text)
        rows.setdefault((row["question"], row["breakdown"], row["segment"]), []).append(row)
    for series in plan.series:
        _, expected = series.mechanism.run(EMPTY_STATE, counts[series.metric].values, source, 0.95)
        own = rows.pop(tuple(series.name), [])
        published = [[row[name] for row in own] for name in ("estimate", "ci_low", "ci_high", "std")]
        assert published == [values.tolist() for values in expected.arrays]
    assert not rows


@pytest.mark.parametrize(
    "pieces", [[TICKS], [1, 7, 8, TICKS], pytest.param([*range(1, TICKS + 1)], marks=pytest.mark.slow)]
)
def test_in_blocks_of_any_size_the_same_is_published(tmp_path: Path, pieces: list[int]) -> None:
    plan = plan_of()
    whole, *others = (released(tmp_path, plan, pieces, size) for size in (2**17, 1, 40, 5 * TICKS))
    assert others == [whole] * 3


@pytest.mark.parametrize("size", [1, 30, TICKS * 4])
def test_in_blocks_of_any_size_the_same_is_simulated(size: int) -> None:
    plan = plan_of()
    counts = counts_of(plan, TICKS)
    expected = [
        series.mechanism.run(
            EMPTY_STATE,
            counts[series.metric].values,
            seeded_source(np.random.default_rng([5, *series.metric.encode()])),
            0.95,
        )[1].estimates.tolist()
        for series in plan.series
    ]
    with mock.patch("dp.release.drawing.ROWS_AT_ONCE", size):
        rows = simulate_rows(plan, counts, 5)
        assert list(each_simulated(plan, counts, 5)) == rows
    estimates = [row["estimate"] for row in rows]
    assert estimates == [*itertools.chain.from_iterable(expected)]


def test_series_that_have_come_to_different_ticks_go_on_from_there(tmp_path: Path) -> None:
    """Counts of some segments may reach further than those of others."""
    plan = plan_of()
    counts = counts_of(plan, TICKS)
    ragged = {metric: own.until(len(own) - place % 3) for place, (metric, own) in enumerate(counts.items())}
    with open_ledger(tmp_path / "ledger.db") as ledger:
        ledger.create_budget("team", Guarantee(10.0, 1e-4), FIRST, None)
        early = publish(ledger, "s", "team", plan, ragged, NOW)
        assert len(early) == sum(map(len, ragged.values()))
        whole = publish(ledger, "s", "team", plan, counts, NOW)
        assert len(whole) == sum(map(len, counts.values()))
        assert set(early) <= set(whole)
        for series in plan.series:
            days = [json.loads(row)["day"] for row in ledger.releases("s", series.metric)]
            assert days == [day.isoformat() for day in series.days(FIRST, TICKS)]


def test_rows_are_read_from_the_ledger_while_they_are_taken(tmp_path: Path) -> None:
    plan = plan_of()
    with open_ledger(tmp_path / "ledger.db") as ledger:
        ledger.create_budget("team", Guarantee(10.0, 1e-4), FIRST, None)
        ticks = charge_and_draw(ledger, "s", "team", plan, counts_of(plan, TICKS), NOW)
        rows = each_published(ledger, "s", ticks)
        first = next(rows)
        assert [first, *rows] == publish(ledger, "s", "team", plan, counts_of(plan, TICKS), NOW)
        assert ledger.budget("team").remaining.epsilon == pytest.approx(9.0)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_row_has_each_column_once_and_is_written_as_json_writes_it(
    tmp_path: Path, mechanism: str, sampled: bool
) -> None:
    """Rows are put together from texts; some mechanisms say day by day what others say once."""

    delta = 0.0 if "laplace" in mechanism else 1e-6
    sample = {"sketch": "fixed-rate", "sample": Sample(0.5, "salt")} if sampled else {}
    request = Request({"wau": 7}, "user", 2, Guarantee(1.0, delta), mechanism, FIRST, TICKS, {"wau": 1.0}, **sample)
    plan = plan_release(request)
    columns = () if plan.freeze is None or isinstance(plan.freeze, int) else (2 * len(plan.freeze),)
    counts = stated_counts(plan, {"wau": np.full((TICKS, *columns), 50)})
    with open_ledger(tmp_path / "ledger.db") as ledger:
        ledger.create_budget("team", Guarantee(10.0, 1e-4), FIRST, None)
        rows = publish(ledger, "s", "team", plan, counts, NOW)
    simulated = simulate_rows(plan, counts, 1)
    for text, row in zip(rows, simulated, strict=True):
        pairs = json.loads(text, object_pairs_hook=list)
        assert len(dict(pairs)) == len(pairs)
        assert [name for name, _ in pairs] == list(row)
        assert json.dumps(dict(pairs)) == text


@pytest.mark.slow
def test_rows_that_are_taken_one_by_one_are_not_kept() -> None:
    plan = plan_of(segments=60, ticks=90)
    counts = counts_of(plan, 90)
    peaks = []
    with mock.patch("dp.release.drawing.ROWS_AT_ONCE", 2**10):
        for rows in (each_simulated, simulate_rows):
            tracemalloc.start()
            number = sum(1 for _ in rows(plan, counts, 1))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert number > 10_000
    assert peaks[0] < peaks[1] / 5
