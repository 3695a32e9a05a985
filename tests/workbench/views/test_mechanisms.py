"""The page of the frontier: its numbers are those of `dp`, and a click chooses a mechanism."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import dp
from dp.accounting.gaussian import mu_for
from dp.mechanisms.lower_bound import lower_bound
from dp.names import DATA_DEPENDENT_MECHANISMS, MECHANISMS, OWN_BOUND_MECHANISMS
from dp.units import protected_class
from tests.laws import each
from tests.patience import PATIENCE_SECONDS
from tests.places import ROOT
from tests.workbench.pages import answered, texts, tidy
from tests.workbench.views.questions import FRONTIER
from workbench.rows import TableRow
from workbench.views.jobs.job import JobState, Tables
from workbench.views.jobs.process import answer
from workbench.views.mechanisms import research
from workbench.views.mechanisms.chart import PICKED, able_rows, frontier_chart, releases_chart, releases_grid
from workbench.views.mechanisms.page import best_of, facts, shown_table
from workbench.views.mechanisms.research import RELEASES, MechanismsQuestion, mechanisms_charts

WHOLE = msgspec.structs.replace(FRONTIER, unit="user", w_bound=3, metric="mau", horizon=31)


def tables_of(question: MechanismsQuestion, folder: Path, told: list[JobState] | None = None) -> Tables:
    state = answer(question, folder, ([] if told is None else told).append, lambda: True)
    assert state.error is None, state.error
    return state.tables


def by_name(tables: Tables) -> dict[str, TableRow]:
    assert [row["mechanism"] for row in tables["mechanisms"]] == list(MECHANISMS)
    return {row["mechanism"]: row for row in tables["mechanisms"]}


@pytest.mark.slow
@pytest.mark.parametrize("question", [FRONTIER, WHOLE], ids=lambda one: one.unit)
def test_the_numbers_are_those_of_the_library(question: MechanismsQuestion, tmp_path: Path) -> None:
    told: list[JobState] = []
    tables = tables_of(question, tmp_path, told)
    compared = dp.compare(
        question.metric, epsilon=question.epsilon, delta=question.delta, unit=question.unit, w_bound=question.w_bound,
        horizon=question.horizon,
    ).set_index("mechanism")  # fmt: skip
    (bound,) = tables["bound"]
    protected = protected_class(question.unit, dp.METRICS[question.metric], question.w_bound, question.horizon)
    assert bound["rms_std"] == pytest.approx(lower_bound(protected) / mu_for(question.epsilon, question.delta))
    for name, row in by_name(tables).items():
        assert row["proof"] == compared["proof"][name]
        if name in DATA_DEPENDENT_MECHANISMS:
            assert row["over_bound"] is None
            continue
        assert (row["rms_std"], row["max_std"]) == tuple(compared.loc[name, ["rms_std", "max_std"]])
        assert row["memory"] == compared["memory"][name]
        assert row["from"] == "formula"
        if row["noise"] == "gaussian":
            assert row["over_bound"] == row["rms_std"] / bound["rms_std"] >= 1 - 1e-9
    shown = [state for state in told if state.tables]
    assert [bool(state.tables["releases"]) for state in shown] == sorted(bool(one.tables["releases"]) for one in shown)
    assert not shown[0].tables["releases"]
    assert not shown[-1].tables["bound"]


@pytest.mark.slow
def test_who_is_unbeaten_is_not_beaten_by_anybody(tmp_path: Path) -> None:
    rows = able_rows(tables_of(WHOLE, tmp_path)["mechanisms"])
    for row in rows:
        beaten = any(
            other["rms_std"] < row["rms_std"] * 0.998 and other["memory"] <= row["memory"] for other in rows
        ) or any(other["rms_std"] <= row["rms_std"] and other["memory"] < row["memory"] for other in rows)
        assert row["unbeaten"] is not beaten, row["mechanism"]


@pytest.mark.slow
def test_what_cannot_serve_says_why_and_draws_nothing(tmp_path: Path) -> None:
    tables = tables_of(FRONTIER, tmp_path)
    rows = by_name(tables)
    drawn = {row["mechanism"] for row in tables["releases"]}
    assert set(MECHANISMS) - drawn == set(OWN_BOUND_MECHANISMS)
    for name, row in rows.items():
        assert (row["reason"] is None) == (row["rms_std"] is not None) == (name in drawn)
    assert "unit user" in rows["adaptive-flippancy"]["reason"]
    assert by_name(tables_of(WHOLE, tmp_path))["adaptive-flippancy"]["reason"] is None


@pytest.mark.slow
def test_releases_lie_around_what_the_noise_is_added_to(tmp_path: Path) -> None:
    tables = tables_of(WHOLE, tmp_path)
    rows = by_name(tables)
    truths = {tuple(row["truth"] for row in part) for part in by_mechanism(tables).values()}
    assert len(truths) == 1
    for name, part in by_mechanism(tables).items():
        assert len(part) == WHOLE.horizon
        errors = np.array([[row[f"release_{one + 1}"] - row["counted"] for row in part] for one in range(RELEASES)])
        missing = np.array([row["counted"] - row["truth"] for row in part])
        if name not in DATA_DEPENDENT_MECHANISMS:
            assert missing.max() <= 0
            assert math.sqrt(np.mean(missing**2)) == pytest.approx(rows[name]["bias_rms"])
            # Three releases of a month: their errors are not far from what the formula says.
            assert 0.3 < math.sqrt(np.mean(errors**2)) / rows[name]["rms_std"] < 2
    assert rows["sparse-vector"]["bias_rms"] == 0


def by_mechanism(tables: Tables) -> dict[str, list[TableRow]]:
    return {name: list(part) for name, part in itertools.groupby(tables["releases"], lambda row: str(row["mechanism"]))}


@each(("field", "value"), [("metric", "yau"), ("horizon", 5_000), ("w_bound", 0), ("epsilon", 0.0), ("unit", "house")])
def test_an_impossible_field_is_refused_by_its_name(field: str, value: Any, tmp_path: Path) -> None:
    question = msgspec.structs.replace(FRONTIER, **{field: value})
    error = answer(question, tmp_path, lambda state: None, lambda: True).error
    assert error is not None
    assert field in error


def test_every_proof_is_a_section_of_the_guarantees() -> None:
    text = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^#+ ([\d.]+?)\.? ", text, re.MULTILINE))
    assert {family.proof for family in dp.MECHANISMS.values()} <= sections


@pytest.mark.slow
def test_the_charts_draw_every_mechanism_and_ring_the_chosen_one(tmp_path: Path) -> None:
    tables = tables_of(WHOLE, tmp_path)
    charts = mechanisms_charts(WHOLE, tables)
    assert list(charts) == ["frontier-memory", "frontier-time", "releases"]
    for across in ("memory", "time"):
        drawn = frontier_chart(tables["mechanisms"], tables["bound"], across, "optimal").to_dict()
        (data, *others) = drawn["datasets"].values()
        frames = [data, *others]
        assert max(len({row.get("mechanism") for row in frame}) for frame in frames) == len(MECHANISMS)
        assert [frame[0]["mechanism"] for frame in frames if len(frame) == 1 and "mechanism" in frame[0]] == ["optimal"]
        assert [param["name"] for param in drawn["params"]] == [PICKED]
        places = [(row["place"], f"{row['rms_std']:.3g}") for row in max(frames, key=len)]
        assert len(set(places)) == len(places)
    part = by_mechanism(tables)["optimal"]
    assert releases_chart(part, "mau").to_dict()["layer"]
    assert releases_grid(tables["releases"], "mau").to_dict()["facet"]["row"]["sort"] == list(MECHANISMS)


@pytest.mark.slow
def test_one_day_is_drawn_and_times_are_left_out_where_there_is_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(research, "RESULTS", tmp_path)
    tables = tables_of(msgspec.structs.replace(WHOLE, horizon=1), tmp_path)
    assert {row["tick_ms"] for row in tables["mechanisms"]} == {None}
    charts = mechanisms_charts(WHOLE, tables)
    for chart in charts.values():
        chart.to_dict()
    empty = frontier_chart(tables["mechanisms"], tables["bound"], "time").to_dict()
    assert empty["layer"]


def test_sentences_read_the_rows() -> None:
    row: TableRow = {
        "mechanism": "optimal", "rms_std": 12.34, "max_std": 15.0, "from": "formula", "over_bound": 1.05, "memory": 364,
        "tick_ms": 0.25, "proof": "2.6", "unbeaten": True,
    }  # fmt: skip
    assert facts(row) == (
        "**± 12.34 users** (worst day 15; by formula) · 1.05 times the lower bound · remembers 364 numbers · 0.25 ms a "
        "day · proof: docs/guarantees.md, section 2.6."
    )
    lean = {**row, "mechanism": "gaussian", "rms_std": 40.0, "memory": 0}
    nothing = {**row, "mechanism": "adaptive-flippancy", "rms_std": None, "memory": None, "unbeaten": False}
    assert best_of(FRONTIER, [lean, nothing, row]) == (
        "At ε = 1 and δ = 10⁻⁶, over 30 days of WAU, **optimal** has the least error: **12.34 users**, with 364 "
        "numbers remembered; gaussian remembers 0 and has 40."
    )
    assert best_of(FRONTIER, [nothing]) == "No mechanism serves this choice so far."
    assert [shown["Mechanism"] for shown in shown_table([lean, nothing, row])] == [
        "optimal", "gaussian", "adaptive-flippancy",
    ]  # fmt: skip


def script(cache: str) -> None:
    from pathlib import Path

    from workbench.views.mechanisms.page import page
    from workbench.views.strip import draw_strip

    page(draw_strip(), Path(cache))


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_stays_open")
def test_the_page_draws_the_mechanism_of_the_strip(tmp_path: Path) -> None:
    shown = AppTest.from_function(script, args=(str(tmp_path),), default_timeout=PATIENCE_SECONDS)
    tidy(shown.run())
    shown.button_group(key="metric").set_value(FRONTIER.metric)
    shown.button_group(key="unit").set_value(FRONTIER.unit)
    shown.select_slider(key="w_bound").set_value(FRONTIER.w_bound)
    shown.select_slider(key="mechanisms_days").set_value(FRONTIER.horizon)
    shown.select_slider(key="mechanisms_users").set_value(FRONTIER.users)
    tidy(shown.run())
    answered(shown)
    tables = tables_of(FRONTIER, tmp_path)
    assert best_of(FRONTIER, tables["mechanisms"]) in texts(shown)
    assert "damped-square-root" in [one.value for one in shown.header]
    assert facts(by_name(tables)["damped-square-root"]) in texts(shown)
    tidy(shown.selectbox(key="mechanism").set_value("gaussian").run())
    assert facts(by_name(tables)["gaussian"]) in texts(shown)
    tidy(shown.selectbox(key="mechanism").set_value("adaptive-flippancy").run())
    assert "It cannot serve this choice" in texts(shown)
    tidy(shown.button_group(key="across").set_value("time").run())
    assert "Error against time" in [one.value for one in shown.header]
    assert not shown.error


def test_a_click_chooses_the_mechanism_for_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    import streamlit

    from workbench.views.mechanisms.page import _pick

    state: dict[str, Any] = {"mechanism": "gaussian", "chart": {"selection": {PICKED: []}}}
    monkeypatch.setattr(streamlit, "session_state", state)
    _pick("chart")
    assert state["mechanism"] == "gaussian"
    state["chart"]["selection"][PICKED] = [{"mechanism": "optimal"}]
    _pick("chart")
    assert state["mechanism"] == "optimal"
