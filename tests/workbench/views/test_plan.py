"""The page that plans: its settings start a service with the noise that was asked for."""

from __future__ import annotations

import itertools
import json
import math
import shlex
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

import dp
from dp.accounting.composition import Guarantee
from dp.accounting.guessing import guess_under
from dp.names import METRICS
from dp.presence.daily import EPOCH
from dp.release import plan_release
from dp.release.shares import largest_deviations
from tests.examples import examples
from tests.laws import each
from tests.patience import PATIENCE_SECONDS
from tests.workbench.pages import answered, texts, tidy
from tests.workbench.views.questions import DASHBOARD, PLAN
from workbench.cli.options import Pairs
from workbench.cli.plan import plan as plan_command
from workbench.service import Settings, load_settings, open_service
from workbench.service.question_settings import BreakdownSettings
from workbench.views.bundle import question_toml
from workbench.views.jobs.job import Tables
from workbench.views.jobs.process import answer
from workbench.views.jobs.registry import decode_question
from workbench.views.plan.chart import stacked
from workbench.views.plan.dashboard import (
    breakdowns,
    dashboard_rows,
    release_command,
    service_cost,
    service_delta,
    service_settings,
)
from workbench.views.plan.page import IN_USERS, cost_of, epsilon_table, odds, verdict_of
from workbench.views.plan.research import DOTS, EQUAL, EQUAL_RELATIVE, EVENLY, SPLITS, PlanQuestion, plan_charts
from workbench.views.plan.settings import (
    SettingPairs,
    added_up,
    pairs_of,
    rounded_down,
    rounded_up,
    settings_command,
    settings_file,
    settings_of,
)

WHOLE = msgspec.structs.replace(PLAN, unit="user", w_bound=5, epsilon=0.2, horizon=45)
TINY = msgspec.structs.replace(PLAN, errors=(20.0, 1e-9, 20.0))
DAY = date(2026, 1, 1)


def tables_of(question: PlanQuestion, folder: Path) -> Tables:
    state = answer(question, folder, lambda state: None, lambda: True)
    assert state.error is None, state.error
    return state.tables


def given_on_the_command_line(command: str) -> list[tuple[str, str]]:
    """What `dpdau serve` makes of the options of a command."""
    words = shlex.split(command.replace("\\\n", ""))
    assert words[:2] == ["dpdau", "serve"]
    assert set(words[2::2]) == {"--set"}
    return [pair for word in words[3::2] for pair in Pairs(empty=True).convert(word, None, None).items()]


@pytest.mark.slow
@pytest.mark.parametrize("question", [PLAN, WHOLE], ids=lambda one: one.unit)
def test_the_service_starts_with_the_plan_and_its_noise_is_what_was_asked_for(
    question: PlanQuestion, tmp_path: Path
) -> None:
    tables = tables_of(question, tmp_path)
    pairs = pairs_of(tables["settings"])
    file = tmp_path / "dpdau.toml"
    file.write_text(settings_file(pairs), encoding="utf-8")
    settings = load_settings(file, {})
    assert settings == load_settings(None, {}, given_on_the_command_line(settings_command(pairs))) == settings_of(pairs)
    assert (settings.horizon, settings.budget_delta) == (question.horizon, question.delta)
    for row, error in zip(tables["plan"], question.errors, strict=True):
        request = settings.request(row["metric"], EPOCH)
        assert (request.unit, request.w_bound) == (question.unit, question.w_bound)
        deviations = plan_release(request).series[0].mechanism.standard_deviation(question.horizon)
        assert error * (1 - 1e-4) <= deviations.max() <= error
        assert row["max_std"] == deviations.max()
        assert row["rms_std"] == pytest.approx(math.sqrt(np.mean(deviations**2)))


@pytest.mark.slow
def test_a_service_publishes_with_a_plan_that_needs_its_whole_budget(tmp_path: Path) -> None:
    tables = tables_of(msgspec.structs.replace(WHOLE, epsilon=0.01), tmp_path)
    assert tables["total"][0]["fits"] is False
    places = {"store": str(tmp_path / "store"), "ledger": str(tmp_path / "ledger"), "first_day": DAY}
    settings: Settings = msgspec.structs.replace(settings_of(pairs_of(tables["settings"])), **places, future_days=True)
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        service.close(DAY)
        budget = service.budget()
    assert budget.cap.epsilon == tables["total"][0]["epsilon"]
    assert budget.remaining.epsilon == 0


@pytest.mark.slow
@pytest.mark.parametrize("question", [PLAN, WHOLE], ids=lambda one: one.unit)
def test_the_plan_takes_the_least_epsilon_that_calibrate_finds(question: PlanQuestion, tmp_path: Path) -> None:
    tables = tables_of(question, tmp_path)
    for row, error in zip(tables["plan"], question.errors, strict=True):
        table = dp.calibrate(
            row["metric"], target_std=error, delta=rounded_down(question.delta / 3), unit=question.unit,
            w_bound=question.w_bound, horizon=question.horizon,
        ).set_index("mechanism")["epsilon"]  # fmt: skip
        assert table.min() <= row["epsilon"] <= table.min() * 1.001 * (1 + 1e-5)
        assert row["epsilon"] == pytest.approx(table[row["mechanism"]], rel=1e-5)
    (total,) = tables["total"]
    assert total["epsilon"] == pytest.approx(sum(row["epsilon"] for row in tables["plan"]))
    assert total["delta"] == pytest.approx(sum(row["delta"] for row in tables["plan"]))
    assert total["delta"] <= question.delta
    assert total["fits"] is (total["epsilon"] <= question.epsilon)
    assert 0.5 < total["guess"] <= guess_under(Guarantee(total["epsilon"], total["delta"]))
    assert sum(row["share"] for row in tables["plan"]) == pytest.approx(1)


@pytest.mark.slow
def test_errors_that_are_larger_by_the_factor_fit_and_by_less_do_not(tmp_path: Path) -> None:
    question = msgspec.structs.replace(PLAN, epsilon=0.1)
    (total,) = tables_of(question, tmp_path)["total"]
    assert total["fits"] is False

    def fits(factor: float) -> bool:
        errors = tuple(error * factor for error in question.errors)
        wider = msgspec.structs.replace(question, errors=errors)
        return bool(tables_of(wider, tmp_path)["total"][0]["fits"])

    assert fits(total["factor"])
    assert not fits(total["factor"] * 0.98)


@pytest.mark.slow
def test_what_no_mechanism_reaches_is_said_and_draws_nothing(tmp_path: Path) -> None:
    tables = tables_of(TINY, tmp_path)
    verdict, _ = verdict_of(TINY, tables["plan"], tables["total"][0])
    assert "WAU ± 1e-09 users" in verdict
    assert "epsilon above 100" in verdict.replace("\\", "")
    assert "DAU ±" not in verdict
    assert plan_charts(TINY, tables) == {}
    assert tables["settings"] == tables["dots"] == []


@pytest.mark.slow
def test_dots_are_the_quantiles_of_the_noise(tmp_path: Path) -> None:
    tables = tables_of(PLAN, tmp_path)
    for row in tables["plan"]:
        dots = [dot["published"] for dot in tables["dots"] if dot["metric"] == row["metric"]]
        assert len(dots) == DOTS
        assert dots == sorted(dots)
        middle = [2 * row["expected"] - dot for dot in reversed(dots)]
        assert middle == pytest.approx(dots)
        inside = sum(abs(dot - row["expected"]) <= row["half_width"] for dot in dots)
        assert inside == pytest.approx(0.95 * DOTS, abs=1)
    assert list(plan_charts(PLAN, tables)) == ["dots-dau", "dots-wau", "dots-mau", "split"]


@each(("field", "value"), [("delta", 1.0), ("w_bound", 0), ("horizon", 0), ("errors", (1.0, -1.0, 1.0))])
def test_an_impossible_field_is_refused_by_its_name(field: str, value: Any, tmp_path: Path) -> None:
    question = msgspec.structs.replace(PLAN, **{field: value})
    error = answer(question, tmp_path, lambda state: None, lambda: True).error
    assert error is not None
    assert {"errors": "target_std"}.get(field, field) in error


@given(st.floats(1e-9, 100))
@examples(50)
def test_rounding_keeps_six_digits_and_its_side(value: float) -> None:
    up, down = rounded_up(value), rounded_down(value)
    assert down <= value <= up
    assert up - down <= value * 1e-5
    assert (float(f"{up:.6g}"), float(f"{down:.6g}")) == (up, down)


@given(st.lists(st.integers(1, 10**6).map(lambda digits: digits / 10**6), min_size=1, max_size=3))
@examples(50)
def test_decimals_add_up_as_they_are_written(values: list[float]) -> None:
    assert added_up(values) == sum(round(value * 10**6) for value in values) / 10**6


@given(
    st.lists(st.integers(-300, 300), min_size=1, max_size=60).map(sorted), st.integers(0, 10**6), st.floats(0.5, 100)
)
@examples(50)
def test_no_two_dots_lie_upon_each_other(moved: list[int], expected: int, deviation: float) -> None:
    table = stacked([expected + one for one in moved], expected, deviation)
    places = list(zip(table["place"], table["height"], strict=True))
    assert len(set(places)) == len(moved)
    assert np.abs(table["place"] - table["published"]).max() <= 6.6 * deviation / 24 / 2 + 1e-6 * (1 + expected)
    for _, column in table.groupby("place"):
        assert sorted(column["height"]) == [0.5 + level for level in range(len(column))]


def test_sentences_read_the_rows() -> None:
    rows = [
        {"metric": metric, "epsilon": epsilon, "error": error, "reason": None, "delta": delta, "share": 0.25,
         "mechanism": "optimal", "max_std": error, "expected": 1000, "half_width": 1.96 * error}
        for metric, epsilon, error, delta in (("dau", 0.1, 10.0, 0), ("wau", 0.2, 20.0, 3e-7), ("mau", 0.3, 30.0, 3e-7))
    ]  # fmt: skip
    total = {"epsilon": 0.6, "delta": 6e-7, "fits": True, "factor": None}
    fits, _ = verdict_of(PLAN, rows, total)
    assert fits == (
        "**Fits**: DAU, WAU and MAU together take ε 0.1 + 0.2 + 0.3 = **0.6** of 1, and δ 6 × 10⁻⁷, over 30 days."
    )
    tight = msgspec.structs.replace(PLAN, epsilon=0.5)
    not_fitting, _ = verdict_of(tight, rows, {**total, "fits": False, "factor": 1.5})
    assert not_fitting == (
        "**Does not fit**: DAU, WAU and MAU together take ε 0.1 + 0.2 + 0.3 = **0.6**, where the strip allows 0.5: "
        "0.1 too much. It fits if every error is 1.5 times as large (DAU 15, WAU 30, MAU 45 users)."
    )
    assert cost_of(rows[0]).startswith(
        "by **optimal**, pure (δ = 0), 25% of the plan's ε. Error on the worst day 10 users (1.00%)"
    )
    assert "δ 3 × 10⁻⁷" in cost_of(rows[1])
    assert "whether a person was active on one given day" in odds(PLAN, 0.5124)
    assert "at most **52** are right" in odds(PLAN, 0.5124)
    assert "whether a person was ever active" in odds(WHOLE, 0.6)
    assert "at most **60** are right" in odds(WHOLE, 0.6)


def test_the_table_of_mechanisms_has_one_row_each() -> None:
    rows = [
        {"mechanism": mechanism, "metric": metric, "epsilon": epsilon, "reason": reason}
        for (mechanism, epsilon, reason), metric in itertools.product(
            [("optimal", 0.5, None), ("sparse-vector", None, "the data decides")], METRICS
        )
    ]
    assert epsilon_table(rows) == [
        {"mechanism": "optimal", "DAU [ε]": 0.5, "without ε, because": None, "WAU [ε]": 0.5, "MAU [ε]": 0.5},
        {"mechanism": "sparse-vector", "DAU [ε]": None, "without ε, because": "the data decides", "WAU [ε]": None,
         "MAU [ε]": None},
    ]  # fmt: skip


# --- The whole dashboard ---------------------------------------------------------------------------------------------

ANY = msgspec.structs.replace(
    DASHBOARD, unit="user", w_bound=4, flows=(), by={"where": BreakdownSettings(kind="any:2", values=("a", "b", "c"))}
)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("question", [DASHBOARD, ANY], ids=["last", "any"])
def test_a_dashboard_has_the_noise_of_its_release(question: PlanQuestion, split: str) -> None:
    question = msgspec.structs.replace(question, split=split)
    rows = dashboard_rows(question)
    plan = dp.plan(
        list(METRICS), flows=list(question.flows), calendar=list(question.calendar), by=breakdowns(question),
        epsilon=question.epsilon, delta=question.delta, unit=question.unit, w_bound=question.w_bound,
        mechanism=question.mechanism, first="2024-01-01", last="2024-01-30",
        split={row["name"]: row["share"] for row in rows},
    )  # fmt: skip
    assert {row["name"]: row["std"] for row in rows} == pytest.approx(plan.std, rel=1e-6)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    spread = {EVENLY: "share", EQUAL: "std", EQUAL_RELATIVE: "std_percent"}[split]
    assert [row[spread] for row in rows] == pytest.approx([rows[0][spread]] * len(rows), rel=1e-2)


def test_the_command_and_the_file_ask_for_the_dashboard(tmp_path: Path) -> None:
    rows = dashboard_rows(DASHBOARD)
    words = shlex.split(release_command(DASHBOARD, rows).replace("\\\n", ""))
    assert words[:3] == ["dpdau", "release", "log.csv"]
    ticks = ["--from", "2024-01-01", "--to", "2024-01-30"]
    result = CliRunner().invoke(plan_command, [*words[3:-4], *ticks, "--format", "json"])
    assert result.exit_code == 0, result.output
    assert [row["std"] for row in json.loads(result.stdout)] == pytest.approx([row["std"] for row in rows], rel=1e-3)
    file = tmp_path / "dpdau.toml"
    file.write_text(
        "horizon = 30\nbudget_epsilon = 9.0\nbudget_delta = 0.1\n" + service_settings(DASHBOARD, rows), encoding="utf-8"
    )
    settings = load_settings(file, {})
    assert set(settings.asked) == {row["name"] for row in rows} - set(METRICS)
    request = settings.requests(EPOCH)
    for row in rows:
        if row["name"] not in METRICS:
            deviation = largest_deviations(plan_release(request[row["name"]]))[row["name"]]
            assert deviation == pytest.approx(row["std"], rel=1e-3)
    charged = [one.guarantee for name, one in request.items() if name not in METRICS]
    assert service_cost(rows) == pytest.approx(sum(one.epsilon for one in charged))
    assert service_delta(DASHBOARD, rows) == pytest.approx(sum(one.delta for one in charged))


def test_sizes_are_guessed_from_what_is_expected() -> None:
    sizes = {row["name"]: row["expected"] for row in dashboard_rows(DASHBOARD)}
    dau, wau, mau = DASHBOARD.expected
    assert (sizes["dau"], sizes["wau"], sizes["mau"]) == (dau, wau, mau)
    assert sizes["week"] == wau
    assert sizes["mau/flows"] == pytest.approx(mau / 30)
    assert sizes["mau/platform"] == mau / 2
    assert sizes["mau/flows/platform"] == pytest.approx(mau / 30 / 2)


def test_a_split_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="split is 'fairly'; choose evenly, equal errors, equal relative errors"):
        dashboard_rows(msgspec.structs.replace(DASHBOARD, split="fairly"))


@pytest.mark.slow
def test_the_answer_has_the_dashboard_where_it_is_asked_for(tmp_path: Path) -> None:
    assert "dashboard" not in tables_of(PLAN, tmp_path)
    tables = tables_of(DASHBOARD, tmp_path)
    assert tables["dashboard"] == dashboard_rows(DASHBOARD)
    assert "dashboard" in plan_charts(DASHBOARD, tables)
    decoded = decode_question(tomllib.loads(question_toml(DASHBOARD)))
    assert decoded == DASHBOARD
    # What is expected of the metrics does not fit, and the dashboard is shown all the same.
    assert "dashboard" in plan_charts(TINY, tables_of(msgspec.structs.replace(DASHBOARD, errors=TINY.errors), tmp_path))


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_stays_open")
def test_the_page_adds_what_is_chosen_and_says_what_cannot_be_added(tmp_path: Path) -> None:
    page = AppTest.from_function(script, args=(str(tmp_path),), default_timeout=PATIENCE_SECONDS)
    page.query_params["plan_days"] = "30"
    page.query_params["plan_cells"] = ["flows of MAU", "week"]
    page.query_params["plan_by_1"] = "platform"
    page.query_params["plan_values_1"] = "ios, web"
    shown(page)
    assert "The whole dashboard" in [one.value for one in page.header]
    assert "One release of all 10 questions with 28 series" in texts(page)
    assert list(next(one.value for one in page.dataframe if "question" in one.value)["question"]) == [
        "DAU", "WAU", "MAU", "MAU/flows", "week", "DAU/platform", "WAU/platform", "MAU/platform", "MAU/flows/platform",
        "week/platform",
    ]  # fmt: skip
    page.text_input(key="plan_by_2").set_value("a/b")
    page.text_input(key="plan_values_2").set_value("x")
    tidy(page.run())
    assert "a breakdown cannot be called" in page.error[0].value
    page.text_input(key="plan_by_2").set_value("platform")
    tidy(page.run())
    assert "is given twice" in page.error[0].value
    page.text_input(key="plan_by_2").set_value("plan")
    page.selectbox(key="plan_kind_2").set_value("fixed")
    shown(page)
    assert not page.error
    assert "publishes no breakdown of kind fixed" in texts(page)
    assert "--users users.csv" in texts(page)
    # Values are text and never the name of a file.
    page.text_input(key="plan_values_2").set_value("@/etc/hostname")
    shown(page)
    assert "plan=@/etc/hostname:fixed" in texts(page)


def test_a_file_of_settings_has_a_table_a_series() -> None:
    pairs: SettingPairs = {"horizon": 30, "dau.epsilon": 0.25, "dau.mechanism": "laplace", "mau.epsilon": 1e-06}
    assert tomllib.loads(settings_file(pairs)) == {
        "horizon": 30, "dau": {"epsilon": 0.25, "mechanism": "laplace"}, "mau": {"epsilon": 1e-06},
    }  # fmt: skip
    assert settings_command(pairs) == (
        "dpdau serve \\\n  --set horizon=30 \\\n  --set dau.epsilon=0.25,dau.mechanism=laplace \\\n"
        "  --set mau.epsilon=1e-06"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_stays_open")
def test_the_page_shows_the_plan_of_its_controls(tmp_path: Path) -> None:
    page = AppTest.from_function(script, args=(str(tmp_path),), default_timeout=PATIENCE_SECONDS)
    tidy(page.run())
    page.button_group(key="unit").set_value(PLAN.unit)
    page.select_slider(key="w_bound").set_value(PLAN.w_bound)
    page.select_slider(key="plan_days").set_value(PLAN.horizon)
    tidy(page.button_group(key="plan_in").set_value(IN_USERS).run())
    for metric, expected, error in zip(METRICS, PLAN.expected, PLAN.errors, strict=True):
        page.number_input(key=f"plan_{metric}").set_value(expected)
        page.number_input(key=f"plan_{metric}_users").set_value(error)
    shown(page)
    tables = tables_of(PLAN, tmp_path)
    (total,) = tables["total"]
    assert [one.value for one in page.success] == [verdict_of(PLAN, tables["plan"], total)[0]]
    assert [one.value for one in page.metric] == [f"{row['epsilon']:.4g}" for row in tables["plan"]]
    pairs = pairs_of(tables["settings"])
    assert [one.value for one in page.code][:2] == [settings_command(pairs), settings_file(pairs).strip()]
    assert odds(PLAN, total["guess"]) in texts(page)
    # The same errors in per cent ask the same question.
    page.button_group(key="plan_in").set_value("per cent")
    tidy(page.run())
    for metric, expected, error in zip(METRICS, PLAN.expected, PLAN.errors, strict=True):
        page.number_input(key=f"plan_{metric}_percent").set_value(100 * error / expected)
    shown(page)
    assert [one.value for one in page.metric] == [f"{row['epsilon']:.4g}" for row in tables["plan"]]
    page.number_input(key="plan_dau_percent").set_value(0.01)
    page.select_slider(key="epsilon").set_value(0.1)
    shown(page)
    assert "Does not fit" in page.warning[0].value


def script(cache: str) -> None:
    from pathlib import Path

    from workbench.views.plan.page import page
    from workbench.views.strip import draw_strip

    page(draw_strip(), Path(cache))


def shown(page: AppTest) -> None:
    """Run the page until its answer is there."""
    tidy(page.run())
    answered(page)
