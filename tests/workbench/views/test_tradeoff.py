"""The page of the trade-off, computed for real, and the charts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from experiments.engine.runner import run, tabulate
from experiments.engine.style import MARKERS, SHAPES
from experiments.kinds.loading import load
from tests.patience import PATIENCE_SECONDS
from tests.workbench.pages import answered, texts, tidy
from tests.workbench.views.questions import TRADEOFF
from workbench.views.axes import EPSILONS, W_BOUNDS
from workbench.views.bundle import COMMAND, question_toml
from workbench.views.jobs.process import answer
from workbench.views.jobs.registry import decode_question
from workbench.views.text import users_text
from workbench.views.tradeoff import research
from workbench.views.tradeoff.chart import error_chart
from workbench.views.tradeoff.page import least_words, sentence
from workbench.views.tradeoff.research import least, tradeoff_experiment
from workbench.words import WORDS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_stays_open")]


def test_the_trade_off_is_computed_and_shown(tmp_path: Path) -> None:
    def script(cache: str) -> None:
        from pathlib import Path

        from workbench.views.strip import draw_strip
        from workbench.views.tradeoff.page import page

        page(draw_strip(), Path(cache))

    page = AppTest.from_function(script, args=(str(tmp_path),), default_timeout=PATIENCE_SECONDS)
    tidy(page.run())
    assert all(f"{word}: {WORDS[word]}" in texts(page) for word in ("flip", "W_BOUND"))
    page.select_slider(key="users").set_value(1_000)
    page.select_slider(key="days").set_value(30)
    page.select_slider(key="w_bound").set_value(4)
    page.multiselect(key="compared").set_value(["gaussian"])
    tidy(page.run())
    answered(page)
    state = answer(TRADEOFF, tmp_path, lambda state: None, lambda: True)
    best = min((row for row in state.tables["by-epsilon"] if row["epsilon"] == 1.0), key=lambda row: row["total_rms"])
    assert [one.value for one in page.metric] == [
        users_text(best[name]) for name in ("total_rms", "noise_rms", "bias_rms")
    ]
    assert sentence(best, 2) in texts(page)
    assert least_words(least(state.tables["by-w-bound"])) in texts(page)
    assert question_toml(TRADEOFF).strip() in texts(page)
    assert COMMAND in [one.value for one in page.code]
    assert tradeoff_experiment(TRADEOFF, state.tables).strip() in [one.value.strip() for one in page.code]
    assert [len(one.value) for one in page.dataframe] == [len(rows) for rows in state.tables.values()]
    page.selectbox(key="mechanism").set_value("adaptive-flippancy")
    tidy(page.multiselect(key="compared").set_value([]).run())
    assert "finds its W_BOUND itself" in page.warning[0].value


ROW: dict[str, Any] = {
    "epsilon": 0.5, "w_bound": 8, "mechanism": "square-root", "metric": "mau", "unit": "user", "horizon": 30,
    "total_rms": 13.0, "noise_rms": 12.0, "bias_rms": 5.0, "rmse": 12.5, "relative_rmse": 0.05,
}  # fmt: skip


def test_a_sentence_reads_a_row() -> None:
    assert sentence(ROW, 3) == (
        "At ε = 0.5 and W_BOUND = 8, **square-root**, the best of the 3 chosen, misses a released MAU by "
        "**13.0 users** (root mean square over 30 days, 5.2 % of the mean count). Noise makes 12.0 of them, and "
        "truncation bias 5, because users are frozen after 8 flips; squares add up: 13.0² = 12.0² + 5²."
    )
    assert "nothing is truncation bias" in sentence({**ROW, "bias_rms": 0.0}, 1)


@pytest.mark.parametrize("unit", ["user", "user-day"])
def test_the_parts_of_an_error_add_up_and_are_those_of_the_trials(
    unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(research, "EPSILONS", EPSILONS[::4])
    monkeypatch.setattr(research, "W_BOUNDS", W_BOUNDS[::3])
    question = msgspec.structs.replace(TRADEOFF, unit=unit, mechanisms=("gaussian", "optimal", "sparse-vector"))
    tables = answer(question, tmp_path, lambda state: None, lambda: True).tables
    for row in (row for rows in tables.values() for row in rows):
        assert row["total_rms"] ** 2 == pytest.approx(row["noise_rms"] ** 2 + row["bias_rms"] ** 2, rel=1e-12)
        # 200 trials of 30 days find the formula.
        assert row["noise_rms"] == pytest.approx(row["noise_rmse"], rel=0.2)
        if row["analytic_rmse"] is not None:
            assert row["total_rms"] == pytest.approx(row["analytic_rmse"], rel=1e-9)


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["gaussian", "optimal", "sparse-vector"]), st.sampled_from(["user", "user-day"]),
            st.integers(2, 36), st.floats(0.1, 1e6), st.sampled_from([0.0, 3.0]),
        )
    )
)  # fmt: skip
def test_the_least_error_is_that_of_a_row_no_other_beats(rows: list[tuple[str, str, int, float, float]]) -> None:
    names = ("mechanism", "unit", "w_bound", "total_rms", "bias_rms")
    table: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in rows]
    found = least(table)
    for mechanism in {row["mechanism"] for row in table}:
        own = [row for row in table if row["mechanism"] == mechanism]
        frozen = [row for row in own if row["unit"] == "user"]
        if frozen and any(row["bias_rms"] > 0 for row in own):
            assert found[mechanism]["total_rms"] == min(row["total_rms"] for row in frozen)
        else:
            assert mechanism not in found


def test_the_least_of_all_is_ringed_and_named() -> None:
    base = {**ROW, "rmse_p05": 10.0, "rmse_p95": 16.0}
    rows = [
        {**base, "mechanism": name, "w_bound": bound, "total_rms": total}
        for name, totals in (("gaussian", (30.0, 21.0, 24.0)), ("optimal", (29.0, 14.0, 12.0)))
        for bound, total in zip((2, 4, 8), totals, strict=True)
    ]
    drawn = error_chart(rows, "w_bound", 4, "W_BOUND", ringed=least(rows)).to_dict()
    (rings,) = [data for data in drawn["datasets"].values() if data and "words" in data[0]]
    assert {(one["mechanism"], one["w_bound"], one["best"]) for one in rings} == {
        ("gaussian", 4, False), ("optimal", 8, True),
    }  # fmt: skip
    assert {one["words"] for one in rings} == {"least: 8"}
    assert least_words(least(rows)).startswith("Of the W_BOUNDs shown, **8** has the least error at this ε: 12.0 users")
    assert least_words({}) == ""


def test_the_experiment_has_the_rows_of_the_page(tmp_path: Path) -> None:
    tables = answer(TRADEOFF, tmp_path / "page", lambda state: None, lambda: True).tables
    path = tmp_path / "tradeoff.toml"
    path.write_text(tradeoff_experiment(TRADEOFF, tables))
    config = load(path)
    run(config, path, tmp_path / "results", tmp_path / "cache", jobs=1)
    shown = {identity(row): row for rows in tables.values() for row in rows}
    made = tabulate(config, tmp_path / "cache").rows
    assert {identity(row) for row in made} == set(shown)
    for row in made:
        assert row.items() <= shown[identity(row)].items()
    assert {path.suffix for path in (tmp_path / "results").iterdir()} >= {".parquet", ".svg"}


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["mechanism"], row["epsilon"], row["w_bound"]


@pytest.mark.parametrize(
    "changes",
    [
        {"users": None},
        {"log_file": "log.csv"},
        {"log_file": "log.csv", "log_sha256": "0" * 64},
        {"users": None, "days": None, "delete_rate": None},
        {"users": None, "days": None, "delete_rate": None, "log_file": "log.csv"},
    ],
)
def test_a_question_is_about_a_population_or_about_a_log(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either users, days and delete_rate, or log_file"):
        decode_question({**msgspec.to_builtins(TRADEOFF), **changes})


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def test_every_mechanism_has_a_line_of_its_own_and_the_bias_is_drawn_once() -> None:
    base = {"epsilon": 1.0, "w_bound": 2, "total_rms": 5.0, "rmse_p05": 4.0, "rmse_p95": 6.0, "noise_rms": 5.0}
    rows = [
        {**base, "mechanism": name, "epsilon": epsilon, "bias_rms": 0.0 if name == "sparse-vector" else 3.0}
        for name in ("sparse-vector", "gaussian", "optimal") for epsilon in (1.0, 2.0)
    ]  # fmt: skip
    drawn = error_chart(rows, "epsilon", 1.0, "ε").to_dict()
    found = set(strings(drawn))
    assert {SHAPES[MARKERS[name]] for name in ("sparse-vector", "gaussian", "optimal")} <= found
    datasets = [[row for row in data if row.get("part") == "truncation bias"] for data in drawn["datasets"].values()]
    (bias,) = [data for data in datasets if data]
    assert sorted(row["epsilon"] for row in bias) == [1.0, 2.0]


def test_every_axis_has_a_unit() -> None:
    row = {"mechanism": "gaussian", "epsilon": 1.0, "w_bound": 2, "total_rms": 5.0, "rmse_p05": 4.0, "rmse_p95": 6.0,
           "noise_rms": 5.0, "bias_rms": 0.0}  # fmt: skip
    chart = error_chart([row, {**row, "epsilon": 2.0}], "epsilon", 1.0, "ε of the whole series", logarithmic=True)
    assert isinstance(chart, alt.LayerChart)
    found = set(strings(chart.to_dict()))
    assert {"RMSE of a released day [users]", "ε of the whole series"} <= found
