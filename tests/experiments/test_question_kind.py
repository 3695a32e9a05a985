"""Experiments with questions: rows that follow from the noise, and configs that are refused by key."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import dp
from experiments.engine.config import ConfigError
from experiments.engine.tasks import PointTask
from experiments.kinds.loading import load
from experiments.kinds.questions.config import SHARINGS, QuestionConfig, QuestionPoint
from experiments.kinds.questions.figure import SHARING_COLOURS, SHARING_MARKERS, SHARING_TITLES
from experiments.kinds.questions.finding import whole_dashboard
from experiments.kinds.questions.trials import evaluate_question
from tests.laws import each
from tests.places import ROOT

CONFIG = ROOT / "experiments/configs/whole_dashboard.toml"


@cache
def config() -> QuestionConfig:
    found = load(CONFIG)
    assert isinstance(found, QuestionConfig)
    return found


def row(question: str, sharing: str) -> float:
    return float(evaluate_question(PointTask(config(), QuestionPoint(question, sharing, 1.0)))["max_std"])


@pytest.mark.slow
def test_rows_are_what_a_plan_says() -> None:
    asked = config()
    by = [
        dp.breakdown("plan", ["a"], "fixed"),
        dp.breakdown("country", ["a"], "last"),
        dp.breakdown("platform", ["a", "b"], "any", most=2),
    ]
    plan = dp.plan(
        ["dau", "mau"], flows=["mau"], calendar=["week"], by=by, epsilon=1, first="2024-01-01", last="2024-12-30"
    )
    assert len(plan.std) == len({point.question for point in asked.points()}) == 16
    for question in ("mau", "mau/flows/country", "week/platform", "dau/plan"):
        assert row(question, "even") == pytest.approx(plan.std[question], rel=1e-6)


def test_questions_alone_have_their_part_of_the_budget() -> None:
    alone = dp.plan(["mau"], epsilon=1 / 16, delta=1e-6 / 16, first="2024-01-01", last="2024-12-30")
    assert row("mau", "apart") == pytest.approx(alone.std["mau"], rel=1e-6)
    assert row("mau", "equal-error") == pytest.approx(row("week/plan", "equal-error"), rel=1e-3)


@each(
    ("before", "after", "named"),
    [
        ('"even"', '"evn"', "grid.sharing has evn; choose from apart"),
        ('"last"', '"first"', "breakdowns.country is 'first' is none of"),
        ('metrics = ["dau"', 'metrics = ["xau"', "metrics has xau"),
        ('flows = ["mau"]', 'flows = ["xau"]', "flows are asked of 'xau'"),
        ('calendar = ["week"]', 'calendar = ["year"]', "calendar is 'year'"),
        ("segments = 48", "segments = 0", "segments is 0"),
        ("epsilon = [0.25,", "epsilon = [-0.25,", "epsilon is -0.25"),
        ("horizon = 365", "horizon = 3", "no week ends within the 3 ticks"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(tmp_path: Path, before: str, after: str, named: str) -> None:
    text = CONFIG.read_text(encoding="utf-8")
    assert before in text
    path = tmp_path / "config.toml"
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(ConfigError, match=named):
        load(path)


def test_a_table_that_says_otherwise_has_no_finding() -> None:
    table = pd.read_parquet(ROOT / "results/whole_dashboard.parquet")
    assert "one by one" in whole_dashboard(table)
    worse = table.assign(max_std=table["max_std"].where(table["sharing"] != "even", 1e6))
    with pytest.raises(ValueError, match="errs less in one release"):
        whole_dashboard(worse)


def test_every_sharing_has_a_look() -> None:
    assert list(SHARING_COLOURS) == list(SHARING_MARKERS) == list(SHARING_TITLES) == list(SHARINGS)
