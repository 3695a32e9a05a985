"""The page of coverage: counted against a slow oracle, with trials that come in, and beside the committed table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from tests.laws import each
from tests.patience import PATIENCE_SECONDS
from tests.workbench.pages import answered, texts, tidy
from tests.workbench.views.questions import COVERAGE
from workbench.views.coverage.committed import committed_cells, nearest_cell
from workbench.views.coverage.page import sentence
from workbench.views.coverage.research import BATCHES, LEVELS, at_level, coverage_charts
from workbench.views.coverage.trials import IntervalTrials, coverage_rows, day_rows
from workbench.views.jobs.job import JobState, Tables
from workbench.views.jobs.process import answer

NAMES = COVERAGE.mechanisms


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[JobState]:
    states: list[JobState] = []
    states.append(answer(COVERAGE, tmp_path_factory.mktemp("cache"), states.append, lambda: True))
    assert states[-1].error is None
    return states


@pytest.fixture(scope="module")
def tables(told: list[JobState]) -> Tables:
    return told[-1].tables


@each("name", ["gaussian", "damped-square-root", "sparse-vector"])
@each("unit", ["user", "user-day"])
def test_what_is_held_is_counted_one_interval_at_a_time(name: str, unit: str) -> None:
    question = msgspec.structs.replace(COVERAGE, unit=unit, metric="dau", epsilon=4.0)
    truth = tuple(300 + 5 * (tick % 7) for tick in range(9))
    bounded = {None: truth, question.w_bound: tuple(count - 4 * tick for tick, count in enumerate(truth))}
    tried = IntervalTrials(question, name, bounded)
    seen: list[Any] = []
    original = type(tried.mechanism).trials
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(tried.mechanism), "trials", lambda *given: seen.append(original(*given)) or seen[-1], raising=True
        )
        tried.draw(30, 0)
        tried.draw(20, 1)
    assert tried.drawn == 50
    rows = {row["level"]: row for row in coverage_rows(question, tried)}
    for level, row in rows.items():
        tries = held = true = bands = 0
        for run in seen:
            half = np.broadcast_to(run.reach(level), run.errors.shape)
            wide = np.broadcast_to(run.reach(1 - (1 - level) / len(truth)), run.errors.shape)
            for trial in range(len(run.errors)):
                whole = True
                for tick in range(len(truth)):
                    estimate = run.errors[trial, tick] + tried.counted[tick]
                    whole &= abs(estimate - tried.counted[tick]) <= wide[trial, tick]
                    if np.isfinite(half[trial, tick]):
                        tries += 1
                        held += abs(estimate - tried.counted[tick]) <= half[trial, tick]
                        true += abs(estimate - truth[tick]) <= half[trial, tick]
                bands += whole
        assert row["pointwise"] == (pytest.approx(held / tries) if tries else None)
        assert row["true_pointwise"] == (pytest.approx(true / tries) if tries else None)
        assert row["band"] == pytest.approx(bands / 50)
        assert row["no_interval"] == pytest.approx(1 - tries / (50 * len(truth)))
        assert row["band_low"] <= row["band"] <= row["band_high"]
    freezes = unit == "user" and name != "sparse-vector"
    assert (rows[0.95]["bias_rms"] > 0) is freezes
    days = day_rows(question, tried)
    assert [day["frozen"] for day in days] == [4 * (day["day"] - 1) * freezes for day in days]
    assert all(day["held_low"] <= day["held"] <= day["held_high"] for day in days)


@pytest.mark.slow
def test_intervals_hold_as_often_as_they_say_and_the_true_count_less_often(tables: Tables) -> None:
    for row in tables["coverage"]:
        if row["mechanism"] == "sparse-vector":
            assert row["bias_rms"] == 0
            continue
        # Half the bars of one row in a hundred thousand would not hold it; days of a trial are correlated.
        assert row["pointwise"] == pytest.approx(row["level"], abs=0.02)
        assert row["one_day_low"] - 0.02 <= row["level"] <= row["one_day_high"] + 0.02
        assert row["band_high"] >= row["level"]
        assert row["true_pointwise"] < row["pointwise"]
        assert row["true_band"] <= row["true_pointwise"]
    assert {row["level"] for row in tables["coverage"]} == set(LEVELS)
    true = [row["true_held"] for row in tables["by-day"] if row["mechanism"] == "damped-square-root"]
    assert true[0] > 0.9 > 0.5 > true[-1]


@pytest.mark.slow
def test_trials_come_in_and_add_up(told: list[JobState]) -> None:
    trials = [state.tables["coverage"][0]["trials"] for state in told if state.tables]
    assert sorted(set(trials)) == np.cumsum(BATCHES).tolist()
    assert trials == sorted(trials)
    narrow = [row["one_day_high"] - row["one_day_low"] for row in (told[-1].tables["coverage"][0],)]
    first = next(state.tables["coverage"][0] for state in told if state.tables)
    assert narrow[0] < (first["one_day_high"] - first["one_day_low"]) / 4


@pytest.mark.slow
def test_other_units_have_no_true_count_of_their_own(tables: Tables, tmp_path: Path) -> None:
    question = msgspec.structs.replace(COVERAGE, unit="user-day", mechanisms=("gaussian",))
    other = answer(question, tmp_path, lambda state: None, lambda: True).tables
    assert all(row["true_pointwise"] == row["pointwise"] for row in other["coverage"])
    assert set(coverage_charts(COVERAGE, tables)) == {"pointwise", "simultaneous", "by-day"}
    assert set(coverage_charts(question, other)) == {"pointwise", "simultaneous"}


@each("changes", [{"level": 0.9123}, {"epsilon": -1.0}, {"mechanisms": ("adaptive-flippancy",)}])
def test_what_cannot_be_tried_says_why(changes: dict[str, Any], tmp_path: Path) -> None:
    error = answer(msgspec.structs.replace(COVERAGE, **changes), tmp_path, lambda state: None, lambda: True).error
    assert error is not None
    (value,) = changes.values()
    assert str(value[0] if isinstance(value, tuple) else value) in error


ROW: dict[str, Any] = {
    "mechanism": "gaussian", "epsilon": 1.0, "w_bound": 4, "window": 30, "horizon": 180, "unit": "user", "level": 0.95,
    "trials": 500, "one_day": 0.951, "band": 0.96, "true_one_day": 0.05, "bias_rms": 85.3, "width": 60.0,
}  # fmt: skip


def test_a_sentence_says_what_an_interval_cannot_know() -> None:
    assert sentence(ROW) == (
        "At ε = 1 and W_BOUND = 4, in 500 trials of **gaussian**, the 95 % interval holds the count that noise was "
        "added to on 95.1 % of days, and the band holds it on all 180 days at once in 96.0 % of trials. But it holds "
        "the **true** count on **5.0 %** of days only, because users are frozen after 4 flips. An interval speaks of "
        "noise; made from noise alone, none can know of truncation bias (85.3 users, beside intervals 60.0 wide)."
    )
    assert "nearly as often" in sentence({**ROW, "true_one_day": 0.949})
    assert "nobody is frozen" in sentence({**ROW, "bias_rms": 0.0})
    assert "no day has an interval" in sentence({**ROW, "one_day": None})


def test_the_nearest_committed_cell_is_of_the_mechanism_and_if_it_can_be_of_the_unit() -> None:
    cells = pd.DataFrame(
        [
            {"mechanism": mechanism, "unit": unit, "epsilon": epsilon, "w_bound": bound, "window": 30, "horizon": 90,
             "rate": rate}
            for mechanism in ("gaussian", "optimal") for unit in ("user-day", "user") for epsilon in (0.5, 1.0, 4.0)
            for bound in (2, 4) for rate in (0.1, 1.0)
        ],
        index=range(100, 148),
    )  # fmt: skip
    for row in (ROW, {**ROW, "epsilon": 5.0, "w_bound": 36, "unit": "user-day", "mechanism": "optimal"}):
        found = cells.loc[nearest_cell(cells, row)]
        near = (row["mechanism"], row["unit"], 1.0 if row["epsilon"] == 1 else 4.0, 4, 1.0)
        assert tuple(found[["mechanism", "unit", "epsilon", "w_bound", "rate"]]) == near
    only = cells[cells["unit"] == "user-day"]
    assert only.loc[nearest_cell(only, ROW), "unit"] == "user-day"
    assert nearest_cell(cells, {**ROW, "mechanism": "laplace"}) is None


def test_the_committed_table_may_be_missing(tmp_path: Path) -> None:
    assert committed_cells(tmp_path / "nothing.parquet") is None
    table = committed_cells()
    assert table is not None
    assert nearest_cell(table, ROW) is not None


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_stays_open")
def test_coverage_is_computed_and_shown(tables: Tables, tmp_path: Path) -> None:
    def script(cache: str) -> None:
        from pathlib import Path

        from workbench.views.coverage.page import page
        from workbench.views.strip import draw_strip

        page(draw_strip(), Path(cache))

    page = AppTest.from_function(script, args=(str(tmp_path),), default_timeout=PATIENCE_SECONDS)
    chosen = {"users": COVERAGE.users, "days": COVERAGE.days, "w_bound": COVERAGE.w_bound, "retracted": 30}
    for key, value in (chosen | {"coverage-compared": ["sparse-vector"]}).items():
        page.session_state[key] = value
    tidy(page.run())
    answered(page)
    row = at_level(tables, 0.95)[0]
    assert [one.value for one in page.metric] == [
        f"{100 * row[name]:.1f} %" for name in ("one_day", "band", "true_one_day")
    ]
    assert sentence(row) in texts(page)
    pairs = page.dataframe[0].value
    assert pairs["cell"].tolist() == ["live", "committed"] * 2
    assert pairs["mechanism"].tolist() == [name for name in NAMES for _ in range(2)]
    assert "results/interval_coverage.parquet" in texts(page)
    page.selectbox(key="mechanism").set_value("adaptive-flippancy")
    tidy(page.multiselect(key="coverage-compared").set_value([]).run())
    assert "chooses itself" in page.warning[0].value
