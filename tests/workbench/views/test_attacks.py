"""The page of attacks, computed for real; its words and its charts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dp.auditing.attacks import ATTACKS, OURS, Setting, run_attack
from dp.auditing.twins import TWINS
from dp.names import ATTACKS as ATTACK_NAMES
from experiments.kinds.attacks.readings import over_limit
from experiments.kinds.attacks.trials import NOW
from tests.laws import each
from tests.patience import PATIENCE_SECONDS
from tests.workbench.pages import answered, texts, tidy
from tests.workbench.views.questions import ATTACK
from workbench.views import committed
from workbench.views.attacks import page as attack_page
from workbench.views.attacks.bounds import TRIALS
from workbench.views.attacks.chart import overview_chart, readings_chart
from workbench.views.attacks.readings import CLIMBING
from workbench.views.attacks.research import AttackQuestion, attack_charts
from workbench.views.attacks.sentences import bound_sentence, reading_sentence, threat_of
from workbench.views.attacks.wording import (
    ATTACK_TITLES,
    COMMITTED_ONLY,
    LIKELIHOOD_RATIO,
    MISTAKE_TITLES,
    SERVICE,
    STRIP_MISTAKE,
)
from workbench.views.jobs.job import JobState
from workbench.views.jobs.process import answer

STRIP = AttackQuestion(
    attack=LIKELIHOOD_RATIO, broken=True, mistake=STRIP_MISTAKE, mechanism="gaussian", metric="dau", unit="user-day",
    epsilon=1.0, delta=1e-6, w_bound=2, days=30,
)  # fmt: skip


def bound(**fields: Any) -> dict[str, Any]:
    usual = {
        "test": "releases", "trials": 1_024, "measured": 0.5, "claimed": 1.0, "mu": 0.2, "claimed_mu": 0.24,
        "confidence": 0.95, "broken": False,
    }  # fmt: skip
    return {**usual, **fields}


def solved(question: msgspec.Struct, folder: Path) -> JobState:
    return answer(question, folder, lambda state: None, lambda: True)


# --- Words -----------------------------------------------------------------------------------------------------------


def test_every_attack_and_every_seeded_bug_has_words() -> None:
    assert list(ATTACK_TITLES) == [LIKELIHOOD_RATIO, *ATTACK_NAMES, SERVICE]
    # Intervals are not measured in ε: they have a page of their own.
    assert set(TWINS) - set(MISTAKE_TITLES) == {"interval-without-delta"}
    assert set(MISTAKE_TITLES) <= set(TWINS)
    assert len(set(MISTAKE_TITLES.values())) == len(MISTAKE_TITLES)
    assert all(threat_of(name).endswith(".") for name in ATTACK_TITLES)
    assert set(attack_page.NOT_HERE) == set(COMMITTED_ONLY)


@each(
    ("rows", "said", "broken"),
    [
        ([bound()], "**Holds:** from 1,024 trials the attacker proves only ε 0.5 where 1 is promised.", False),
        # A bound above a kept promise is no proof before the flag is raised.
        (
            [bound(measured=1.1)],
            "**Holds:** from 1,024 trials the attacker proves ε 1.1 where 1 is promised, which chance explains.",
            False,
        ),
        (
            [bound(), bound(trials=2_048, measured=2.31, broken=True)],
            "**Broken:** the attacker proves at least ε 2.31 where 1 is promised, from 2,048 trials.",
            True,
        ),
        (
            [bound(broken=True, mu=0.3)],
            "**Broken:** the attacker proves at least μ 0.3 where ε 1 stands for 0.24, from 1,024 trials.",
            True,
        ),
        (
            [bound(test="one", measured=9.0, broken=True), bound(test="two"), bound(test="one", measured=0.7)],
            "**Holds:** from 1,024 trials the attacker proves only ε 0.7 where 1 is promised.",
            False,
        ),
    ],
)  # fmt: skip
def test_bounds_say_what_the_newest_trials_prove(rows: Sequence[dict[str, Any]], said: str, broken: bool) -> None:
    assert bound_sentence(rows) == (said, broken)


def test_readings_say_how_many_are_beyond_what_is_allowed() -> None:
    kept = {"what": "charges", "measured": 1.0, "allowed": 1.0, "broken": False}
    free = {"what": "rows", "measured": 8.0, "allowed": None, "broken": False}
    none = {"what": "answers", "measured": 2.0, "allowed": 0.0, "broken": True}
    some = {"what": "flips", "measured": 6.0, "allowed": 1.0, "broken": True}
    assert reading_sentence([kept, free]) == ("**Holds:** all 1 readings are within what is allowed.", False)
    assert reading_sentence([kept, free, some, none]) == (
        "**Broken:** 2 of 3 readings exceed what is allowed. Worst: answers, 2 where 0 is allowed.",
        True,
    )


@each(
    ("measured", "limit", "ratio"),
    [(3.0, 2.0, 1.5), (0.0, 0.0, 0.0), (0.1, 0.0, np.inf), (8.0, None, 0.0), (8.0, float("nan"), 0.0)],
)
def test_a_reading_over_its_limit(measured: float, limit: float | None, ratio: float) -> None:
    assert over_limit(measured, limit) == ratio


# --- Answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("broken", [False, True])
def test_the_proved_epsilon_climbs_and_a_broken_promise_is_found(broken: bool, tmp_path: Path) -> None:
    told: list[JobState] = []
    question = msgspec.structs.replace(STRIP, broken=broken)
    state = answer(question, tmp_path, told.append, lambda: True)
    assert state.error is None
    rows = state.tables["bounds"]
    assert [row["trials"] for row in rows] == list(TRIALS)
    assert rows[-1]["measured"] > rows[0]["measured"]
    assert rows[-1]["broken"] is broken
    assert (rows[-1]["measured"] > 1.0) is broken
    grown = [len(state.tables["bounds"]) for state in told if state.tables.get("bounds")]
    assert set(grown) == set(range(1, len(TRIALS) + 1))
    # What is committed is shown from the beginning.
    assert next(state for state in told if state.tables).tables.keys() == {"committed-audit"}


@pytest.mark.slow
def test_what_cannot_be_attacked_says_why(tmp_path: Path) -> None:
    for changes, named in (
        ({"attack": "guesswork"}, "guesswork"),
        ({"mistake": "guesswork"}, "guesswork"),
        ({"mechanism": None}, "mechanism"),
        ({"mechanism": "sparse-vector"}, "sparse-vector"),
        ({"attack": "support", "mistake": "guesswork"}, "guesswork"),
        ({"attack": "support", "mistake": None}, "Laplace noise drawn in floats"),
    ):
        error = solved(msgspec.structs.replace(STRIP, **changes), tmp_path).error
        assert error is not None
        assert named in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "twin"), [("support", "Laplace noise drawn in floats"), ("adaptive", "half the noise")]
)
def test_attacks_prove_or_read(attack: str, twin: str, tmp_path: Path) -> None:
    tables = solved(AttackQuestion(attack=attack, broken=True, mistake=twin), tmp_path).tables
    assert ("bounds" in tables) == (attack in CLIMBING) != ("readings" in tables)
    rows = tables.get("bounds") or tables["readings"]
    assert any(row["broken"] for row in rows)
    if attack in CLIMBING:
        trials = [row["trials"] for row in rows]
        assert trials == sorted(trials)
        assert len(set(trials)) == 4
        assert {row["test"] for row in rows} == {
            "damped-square-root: the likelihood ratio", "damped-square-root: answers that return",
        }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["repeated-query", "support", *CLIMBING])
def test_climbing_attacks_are_those_that_count_trials(name: str, tmp_path: Path) -> None:
    twin = ATTACKS[name].twins[0]
    outcome = run_attack(name, Setting(np.random.default_rng(1), tmp_path, NOW, quick=True, share=1 / 8), twin)
    counted = {reading.trials is not None for reading in outcome.readings}
    assert counted == {name in CLIMBING}


def test_a_share_of_the_trials_is_made(tmp_path: Path) -> None:
    setting = Setting(np.random.default_rng(0), tmp_path, NOW, quick=True, share=1 / 8)
    assert setting.trials(1_000, 9_000) == 125
    assert setting.trials(2, 9) == 1
    assert OURS in ATTACKS["support"].targets


@pytest.mark.parametrize("name", COMMITTED_ONLY)
def test_what_is_not_made_here_is_shown_from_the_committed_run(name: str, tmp_path: Path) -> None:
    state = solved(AttackQuestion(attack=name, broken=False), tmp_path)
    assert list(state.tables) == ["committed-attacks"]
    assert list(attack_charts(AttackQuestion(attack=name, broken=False), state.tables)) == ["committed-attacks"]


@pytest.mark.slow
def test_without_the_repository_the_page_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(committed, "RESULTS", tmp_path / "nowhere")
    state = solved(ATTACK, tmp_path)
    assert list(state.tables) == ["bounds"]
    assert list(attack_charts(ATTACK, state.tables)) == ["bounds"]
    assert "cannot be shown" in committed.where_from(["audit"], "make audit", here=False)


# --- Charts ----------------------------------------------------------------------------------------------------------


def test_a_table_with_dots_has_words_and_no_code(tmp_path: Path) -> None:
    rows = committed.committed_rows("attacks")
    drawn = overview_chart(rows, "late").to_dict()
    (dots,) = [data for data in drawn["datasets"].values() if len(data) > 1]
    assert [dot["label"] for dot in dots][:1] == ["Report activity late"]
    assert len(dots) == len(rows) == len({dot["row"] for dot in dots})
    assert {dot["verdict"] for dot in dots if dot["label"].startswith("✗")} == {"broken"}
    assert all(len(line) <= 27 for dot in dots for line in dot["label"].split("\n"))


def test_one_reading_is_a_dot() -> None:
    chart = readings_chart([{"what": "charges", "measured": 0.0, "allowed": 1.0, "broken": False}]).to_dict()
    (dots,) = [data for data in chart["datasets"].values() if "note" in data[0]]
    assert dots[0]["place"] > 0
    assert dots[0]["note"] == "0, where 1 is allowed"


# --- The page --------------------------------------------------------------------------------------------------------


def script(cache: str) -> None:
    from pathlib import Path

    from workbench.views.attacks.page import page
    from workbench.views.strip import draw_strip

    page(draw_strip(), Path(cache))


def finished(page: AppTest) -> AppTest:
    answered(page)
    return page


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_stays_open")
def test_every_control_of_the_page(tmp_path: Path) -> None:
    page = AppTest.from_function(script, args=(str(tmp_path),), default_timeout=PATIENCE_SECONDS)
    tidy(page.run())
    page.select_slider(key="attack_days").set_value(30)
    page.segmented_control(key="metric").set_value("dau")
    page.selectbox(key="mechanism").set_value("gaussian")
    page.segmented_control(key="subject").set_value("broken")
    finished(tidy(page.run()))
    assert "at least ε" in page.error[0].value
    assert "Half the noise" in texts(page)
    page.selectbox(key="mechanism").set_value("sparse-vector")
    tidy(page.run())
    assert "depends on the data" in page.warning[0].value
    page.selectbox(key="mistake").set_value("same-coins")
    finished(tidy(page.run()))
    assert "0.434 is promised" in page.error[0].value
    page.segmented_control(key="subject").set_value("honest")
    finished(tidy(page.run()))
    assert "**Holds:**" in page.success[0].value
    page.selectbox(key="attack").set_value("support")
    finished(tidy(page.run()))
    assert "**Holds:** all 8 readings" in page.success[0].value
    page.segmented_control(key="subject").set_value("broken")
    finished(tidy(page.run()))
    assert page.selectbox(key="twin_support").value == "Laplace noise drawn in floats"
    assert "**Broken:** 2 of 2 readings" in page.error[0].value
    assert page.dataframe[0].value["what"].str.contains("off the grid").any()
    page.selectbox(key="attack").set_value(SERVICE)
    finished(tidy(page.run()))
    assert attack_page.NOT_HERE[SERVICE] in texts(page)
