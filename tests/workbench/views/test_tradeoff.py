"""The page of the trade-off, computed for real, and the charts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import pytest
from streamlit.testing.v1 import AppTest

from tests.workbench.pages import texts, tidy
from tests.workbench.views.questions import TRADEOFF
from workbench.views.jobs.process import answer
from workbench.views.tradeoff.chart import error_chart
from workbench.views.tradeoff.page import sentence
from workbench.words import WORDS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_stays_open")]


def test_the_trade_off_is_computed_and_shown(tmp_path: Path) -> None:
    def script(cache: str) -> None:
        from pathlib import Path

        from workbench.views.strip import draw_strip
        from workbench.views.tradeoff.page import page

        page(draw_strip(), Path(cache))

    page = AppTest.from_function(script, args=(str(tmp_path),), default_timeout=60)
    tidy(page.run())
    assert all(f"{word}: {WORDS[word]}" in texts(page) for word in ("flip", "W_BOUND"))
    page.select_slider(key="users").set_value(1_000)
    page.select_slider(key="days").set_value(30)
    page.select_slider(key="w_bound").set_value(4)
    page.multiselect(key="compared").set_value(["gaussian"])
    tidy(page.run())
    deadline = time.monotonic() + 90
    while not page.get("download_button"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
        tidy(page.run())
    state = answer(TRADEOFF, tmp_path, lambda state: None, lambda: True)
    best = min((row for row in state.tables["by-epsilon"] if row["epsilon"] == 1.0), key=lambda row: row["rmse"])
    assert [one.value for one in page.metric] == [f"{best[name]:,.1f}" for name in ("rmse", "noise_rmse", "bias_rms")]
    assert sentence(best, 2) in texts(page)
    page.selectbox(key="mechanism").set_value("adaptive-flippancy")
    tidy(page.multiselect(key="compared").set_value([]).run())
    assert "finds its W_BOUND itself" in page.warning[0].value


def test_a_sentence_reads_a_row() -> None:
    row: dict[str, Any] = {
        "epsilon": 0.5, "w_bound": 8, "mechanism": "square-root", "metric": "mau", "rmse": 12.34, "horizon": 30,
        "relative_rmse": 0.05, "noise_rmse": 12.0, "bias_rms": 2.9,
    }  # fmt: skip
    assert sentence(row, 3) == (
        "At ε = 0.5 and W_BOUND = 8, **square-root**, the best of the 3 chosen, misses a released MAU by "
        "**12.3 users** (RMSE over 30 days, 5.0% of the mean count): 12.0 are noise and 2.9 are truncation bias, "
        "because users are frozen after 8 flips."
    )
    assert "and nothing is truncation bias" in sentence({**row, "bias_rms": 0.0}, 1)


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
    base = {"epsilon": 1.0, "w_bound": 2, "rmse": 5.0, "rmse_p05": 4.0, "rmse_p95": 6.0, "noise_rmse": 5.0}
    rows = [
        {**base, "mechanism": name, "epsilon": epsilon, "bias_rms": 0.0 if name == "sparse-vector" else 3.0}
        for name in ("sparse-vector", "gaussian", "optimal") for epsilon in (1.0, 2.0)
    ]  # fmt: skip
    drawn = error_chart(rows, "epsilon", 1.0, "ε").to_dict()
    found = set(strings(drawn))
    assert {"circle", "triangle-up", "diamond"} <= found
    datasets = [[row for row in data if row.get("part") == "truncation bias"] for data in drawn["datasets"].values()]
    (bias,) = [data for data in datasets if data]
    assert sorted(row["epsilon"] for row in bias) == [1.0, 2.0]


def test_every_axis_has_a_unit() -> None:
    row = {"mechanism": "gaussian", "epsilon": 1.0, "w_bound": 2, "rmse": 5.0, "rmse_p05": 4.0, "rmse_p95": 6.0,
           "noise_rmse": 5.0, "bias_rms": 0.0}  # fmt: skip
    chart = error_chart([row, {**row, "epsilon": 2.0}], "epsilon", 1.0, "ε of the whole series", logarithmic=True)
    assert isinstance(chart, alt.LayerChart)
    found = set(strings(chart.to_dict()))
    assert {"RMSE of a released day [users]", "ε of the whole series"} <= found
