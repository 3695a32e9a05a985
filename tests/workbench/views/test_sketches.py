"""The page of sketches, computed for real; its words and its charts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from streamlit.testing.v1 import AppTest

from dp.names import SKETCHES
from experiments.engine.population import Population
from experiments.engine.style import SHAPES, SKETCH_MARKERS
from experiments.kinds.sketches.designs import SIZE_PARAMETERS
from experiments.kinds.sketches.trials import PRIVACY, evaluate_sketch, sketch_tasks
from tests.laws import each
from tests.patience import PATIENCE_SECONDS
from tests.workbench.pages import answered, texts, tidy
from tests.workbench.views.questions import SKETCH
from workbench.views import committed
from workbench.views.jobs.job import JobState
from workbench.views.jobs.process import answer
from workbench.views.sketches import page as sketch_page
from workbench.views.sketches.chart import days_chart, errors_chart, multiples_chart, panel_chart
from workbench.views.sketches.page import MEMORIES, USERS, best_sentence, privacy_sentence
from workbench.views.sketches.trials import ROUNDS, TRIALS_A_ROUND, config_of, size_of


def row(sketch: str, **fields: Any) -> dict[str, Any]:
    usual = {
        "sketch": sketch, "privacy": PRIVACY["sensitivity"], "bytes": 4_000.0, "rmse": 0.02, "rmse_low": 0.01,
        "rmse_high": 0.03, "formula": 0.02, "bias": 0.0, "missed": 0.0, "trials": 24,
    }  # fmt: skip
    return {**usual, **fields}


# --- Sizes and words -------------------------------------------------------------------------------------------------


@each("memory", MEMORIES)
@each("users", [USERS[0], USERS[-1]])
def test_every_sketch_has_a_size_at_every_memory(memory: int, users: int) -> None:
    config = config_of(msgspec.structs.replace(SKETCH, sketches=SKETCHES, memory=memory, users=users))
    config.check()
    assert [point.sketch for point in config.points()] == list(SKETCHES)
    for point in config.points():
        assert (point.size is None) == (SIZE_PARAMETERS[point.sketch] is None)


@pytest.mark.slow
def test_a_sketch_takes_about_the_memory_that_was_chosen(tmp_path: Path) -> None:
    question = msgspec.structs.replace(SKETCH, sketches=SKETCHES, memory=4_096, users=5_000)
    config = config_of(question)
    once = msgspec.structs.replace(config, population=Population(users=5_000, days=1, seed=7), window=1, ticks=1)
    rows = [evaluate_sketch(task) for task in sketch_tasks(once, list(once.points()), tmp_path)]
    sized = {one["sketch"]: one["bytes"] for one in rows if one["size"] is not None}
    assert set(sized) == {name for name, parameter in SIZE_PARAMETERS.items() if parameter}
    # Apache's sketches have heads of some bytes.
    assert all(0.2 * question.memory < taken < 1.1 * question.memory for taken in sized.values()), sized


def test_a_sample_of_few_users_is_all_of_them() -> None:
    assert size_of("fixed-rate", 16_384, 1_000) == 1.0
    assert size_of("exact", 1_024, 1_000) is None


def test_sentences_name_the_best_the_stuck_and_the_private() -> None:
    rows = [
        row("exact", bytes=8_000.0, rmse=0.001),
        row("hll", privacy=PRIVACY["none"], rmse=0.2, missed=0.19),
        row("fm", privacy=PRIVACY["intrinsic"], rmse=0.21, missed=0.19),
    ]
    assert best_sentence(rows) == (
        "**exact** errs least: by 0.1 % in 8.0 kB. hll and fm count 19 % too many at any size, because nobody can be "
        "taken out."
    )
    assert best_sentence(rows[:1]).endswith("8.0 kB.")
    said = privacy_sentence(rows)
    assert "exact is private" in said
    assert "hll is **not private**" in said
    assert "exact, bitmap and fixed-rate" in said
    assert set(sketch_page.PROMISES) == set(PRIVACY.values())


# --- Answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_errors_are_refined_and_users_who_left_are_counted_still(tmp_path: Path) -> None:
    told: list[JobState] = []
    question = msgspec.structs.replace(SKETCH, users=1_000)
    done = answer(question, tmp_path, told.append, lambda: True)
    assert done.error is None
    trials = sorted({one["trials"] for state in told for one in state.tables.get("errors", [])})
    assert trials == [TRIALS_A_ROUND * number for number in range(1, ROUNDS + 1)]
    exact, hll = done.tables["errors"]
    assert exact["missed"] == 0
    assert exact["rmse_low"] <= exact["rmse"] <= exact["rmse_high"]
    assert exact["formula"] == pytest.approx(exact["rmse"], rel=0.3)
    assert hll["missed"] > 0.05
    assert hll["bias"] == pytest.approx(hll["missed"], abs=0.03)
    truth = [one["users"] for one in done.tables["days"] if one["sketch"] == "truth"]
    assert math.isclose(sum(truth) / len(truth), exact["users"])
    assert next(state for state in told if state.tables).tables.keys() == {
        "committed-sketch_memory", "committed-sketch_turnstile",
    }  # fmt: skip


@each(
    ("changes", "named"),
    [
        ({"sketches": ("tally",)}, "tally"),
        ({"sketches": ()}, "sketch"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"memory": 3}, "lg_k"),
    ],
)
def test_what_cannot_be_counted_says_why(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    error = answer(msgspec.structs.replace(SKETCH, **changes), tmp_path, lambda state: None, lambda: True).error
    assert error is not None
    assert named in error


# --- Charts ----------------------------------------------------------------------------------------------------------


def test_every_axis_has_a_unit_and_every_sketch_a_mark() -> None:
    assert set(SKETCH_MARKERS.values()) <= set(SHAPES)
    errors = json.dumps(errors_chart([row("exact", rmse_low=0.0), row("hll")]).to_dict())
    assert "RMSE of a published count [%]" in errors
    assert "Size of one sketch [bytes]" in errors
    days = [{"sketch": name, "day": 0, "users": 5.0} for name in ("truth", "hll")]
    assert "Users in the window" in json.dumps(days_chart(days).to_dict())


@pytest.mark.slow
def test_small_multiples_have_a_panel_for_every_committed_sketch() -> None:
    memory, turnstile = (committed.committed_rows(name) for name in ("sketch_memory", "sketch_turnstile"))
    assert [panel["title"] for panel in multiples_chart(memory, turnstile).to_dict(validate=False)["concat"]] == list(
        SKETCHES
    )
    drawn = panel_chart("gf2", memory, turnstile).to_dict()
    (data,) = drawn["datasets"].values()
    assert {one["log"] for one in data} == {"all at once", "users leave"}
    assert {one["sketch"] for one in data} == {"gf2"}


# --- The page --------------------------------------------------------------------------------------------------------


def script(cache: str) -> None:
    from pathlib import Path

    from workbench.views.sketches.page import page
    from workbench.views.strip import draw_strip

    page(draw_strip(), Path(cache))


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_stays_open")
def test_every_control_of_the_page(tmp_path: Path) -> None:
    page = AppTest.from_function(script, args=(str(tmp_path),), default_timeout=PATIENCE_SECONDS)
    tidy(page.run())
    page.select_slider(key="sketched_users").set_value(1_000)
    page.select_slider(key="memory").set_value(1_024)
    page.slider(key="deletions").set_value(50)
    page.button_group(key="sketches").set_value(["exact", "gf2"])
    tidy(page.run())
    answered(page)
    shown = texts(page)
    assert "**exact** errs least" in shown
    assert "gf2 is private without further noise" in shown
    assert "50% of the active days" in shown
    assert "results/sketch_turnstile.parquet" in shown
    page.button_group(key="sketches").set_value([])
    tidy(page.run())
    assert "at least one sketch" in page.info[0].value
