"""The page of the trade-off, computed for real, and the charts."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import altair as alt
import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from tests.workbench.pages import texts, tidy
from workbench.views import charts, tradeoff
from workbench.views.error_chart import error_chart
from workbench.views.tradeoff_process import (
    EPSILONS,
    W_BOUNDS,
    Inbox,
    Question,
    QuestionState,
    Superseded,
    Workshop,
    answer,
    answer_lines,
)
from workbench.words import WORDS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_stays_open")]

QUESTION = Question("mau", "user", ("gaussian", "damped-square-root"), 1.0, 4, 1e-6, 1_000, 30, 0.15)


def wait_for(look: Callable[[], QuestionState]) -> QuestionState:
    deadline = time.monotonic() + 90
    while not (state := look()).finished:
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    return state


def test_the_trade_off_is_computed_and_shown(tmp_path: Path) -> None:
    def script(cache: str) -> None:
        from pathlib import Path

        from workbench.views import tradeoff

        tradeoff.page(Path(cache))

    page = AppTest.from_function(script, args=(str(tmp_path),), default_timeout=60)
    tidy(page.run())
    assert all(f"{word}: {WORDS[word]}" in texts(page) for word in ("flip", "W_BOUND"))
    page.select_slider(key="users").set_value(1_000)
    page.select_slider(key="days").set_value(30)
    page.select_slider(key="w_bound").set_value(4)
    page.multiselect(key="mechanisms").set_value(list(QUESTION.mechanisms))
    tidy(page.run())
    assert not page.metric
    deadline = time.monotonic() + 90
    while not page.metric:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        tidy(page.run())
    state = answer(QUESTION, tmp_path, lambda state: None, lambda: True)
    best = min((row for row in state.by_epsilon if row["epsilon"] == 1.0), key=lambda row: row["rmse"])
    assert [one.value for one in page.metric] == [f"{best[name]:,.1f}" for name in ("rmse", "noise_rmse", "bias_rms")]
    assert tradeoff.sentence(best, 2) in texts(page)
    tidy(page.multiselect(key="mechanisms").set_value([]).run())
    assert "at least one mechanism" in page.warning[0].value


def test_a_newer_question_supersedes_and_an_answer_is_remembered(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    large = msgspec.structs.replace(QUESTION, users=50_000, days=365)
    try:
        assert not workshop.ask("me", large).finished
        other = wait_for(lambda: workshop.ask("me", QUESTION))
        assert [row["epsilon"] for row in other.by_epsilon] == list(EPSILONS) * 2
        assert [row["w_bound"] for row in other.by_w_bound][::2] == [value for value in W_BOUNDS]
        assert not workshop.ask("you", large).finished
    finally:
        workshop.stop()
    assert workshop.ask("me", QUESTION) == other


def test_a_computation_that_dies_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    try:
        workshop.ask("me", msgspec.structs.replace(QUESTION, users=50_000, days=365))
        child = workshop._child
        assert child is not None
        child.kill()
        state = wait_for(lambda: workshop.ask("me", msgspec.structs.replace(QUESTION, users=50_000, days=365)))
        assert state.error == "the computation ended unexpectedly"
    finally:
        workshop.stop()


def test_nobody_computes_what_nobody_wants(tmp_path: Path) -> None:
    told: list[QuestionState] = []
    with pytest.raises(Superseded):
        answer(QUESTION, tmp_path, told.append, lambda: len(told) < 4)
    shards = {path.name for path in tmp_path.glob("*.json")}
    assert 0 < len(shards) < len(EPSILONS) * 2
    done = answer(QUESTION, tmp_path, told.append, lambda: True)
    assert done.finished
    assert shards < {path.name for path in tmp_path.glob("*.json")}
    fractions = [state.fraction for state in told[4:]]
    assert fractions == sorted(fractions)


def test_what_cannot_be_computed_says_why(tmp_path: Path) -> None:
    state = answer(msgspec.structs.replace(QUESTION, epsilon=-1.0), tmp_path, lambda state: None, lambda: True)
    assert state.finished
    assert state.error is not None
    assert "epsilon" in state.error


def test_the_child_answers_the_newest_line(tmp_path: Path) -> None:
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    told: list[QuestionState] = []
    bad = msgspec.structs.replace(QUESTION, epsilon=-1.0)
    worse = msgspec.structs.replace(QUESTION, epsilon=-2.0)

    def tell(state: QuestionState) -> None:
        told.append(state)
        if state.error:
            lines.put(msgspec.json.encode([worse]) if state.question == bad else None)

    lines.put(msgspec.json.encode([bad]))
    thread = threading.Thread(target=answer_lines, args=(tmp_path, iter(lines.get, None), tell))
    thread.start()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert [state.question for state in told if state.error] == [bad, worse]


def test_the_inbox_forgets_what_a_newer_line_does_not_name() -> None:
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    inbox = Inbox(iter(lines.get, None))
    other = msgspec.structs.replace(QUESTION, epsilon=2.0)
    lines.put(msgspec.json.encode([QUESTION, other]))
    assert inbox.next() == QUESTION
    inbox.drop(QUESTION)
    assert inbox.next() == other
    assert not inbox.wants(QUESTION)
    lines.put(None)
    while inbox.wants(other):
        time.sleep(0.001)
    assert inbox.next() is None


def test_a_sentence_reads_a_row() -> None:
    row: dict[str, Any] = {
        "epsilon": 0.5, "w_bound": 8, "mechanism": "square-root", "metric": "mau", "rmse": 12.34, "horizon": 30,
        "relative_rmse": 0.05, "noise_rmse": 12.0, "bias_rms": 2.9,
    }  # fmt: skip
    assert tradeoff.sentence(row, 3) == (
        "At ε = 0.5 and W_BOUND = 8, **square-root**, the best of the 3 chosen, misses a released MAU by "
        "**12.3 users** (RMSE over 30 days, 5.0% of the mean count): 12.0 are noise and 2.9 are truncation bias, "
        "because users are frozen after 8 flips."
    )
    assert "and nothing is truncation bias" in tradeoff.sentence({**row, "bias_rms": 0.0}, 1)


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def test_the_truth_is_drawn_only_where_it_is_asked_for() -> None:
    row = {"day": "2026-01-01", "estimate": 7.4, "ci_low": 2.0, "ci_high": 12.8}
    private = charts.series_table([row], None)
    assert private.astype(str).to_dict("records") == [
        {"day": "2026-01-01", "estimate": "7", "low": "2", "high": "13", "interval": "2 to 13"}
    ]
    assert charts.series_table([row], {"2026-01-01": 9})["truth"].tolist() == [9]
    without = set(strings(charts.series_chart("dau", 0.95, truth=False, height=100).to_dict()))
    assert not any("truth" in text.lower() or "PRIVATE" in text for text in without)
    shown = set(strings(charts.series_chart("dau", 0.95, truth=True, height=100).to_dict()))
    assert {"truth", "Truth, NOT PRIVATE", "DAU [users]", "95% interval [users]"} <= shown


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


def test_the_page_offers_what_can_be_computed(tmp_path: Path) -> None:
    only = msgspec.structs.replace(QUESTION, mechanisms=("guesswork",))
    state = answer(only, tmp_path, lambda state: None, lambda: True)
    assert state.error is not None
    assert "guesswork" in state.error
    told = answer(
        msgspec.structs.replace(QUESTION, mechanisms=("sparse-vector",)), tmp_path, lambda s: None, lambda: True
    )
    assert msgspec.json.decode(msgspec.json.encode(told), type=QuestionState) == told
    assert tradeoff.sentence(told.by_epsilon[0], 1).endswith("are noise and nothing is truncation bias.")


def test_every_axis_has_a_unit() -> None:
    row = {"mechanism": "gaussian", "epsilon": 1.0, "w_bound": 2, "rmse": 5.0, "rmse_p05": 4.0, "rmse_p95": 6.0,
           "noise_rmse": 5.0, "bias_rms": 0.0}  # fmt: skip
    chart = error_chart([row, {**row, "epsilon": 2.0}], "epsilon", 1.0, "ε of the whole series", logarithmic=True)
    assert isinstance(chart, alt.LayerChart)
    found = set(strings(chart.to_dict()))
    assert {"RMSE of a released day [users]", "ε of the whole series"} <= found
