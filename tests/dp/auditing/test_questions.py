"""Questions under attack: what one change does to all of their series is found at nearly what was promised."""

from dataclasses import replace

import numpy as np
import pytest

from dp.accounting.calibrate import calibrate_linear
from dp.accounting.composition import Guarantee
from dp.auditing.questions import audit_question, question_cases
from dp.auditing.verdict import audit_cases
from dp.mechanisms.question_design import question_design
from dp.questions import Cell, Question, breakdown
from dp.units import FlowChange, PresenceChange, question_class

MAU = Cell("rolling", "mau", 30)
FLOWS, WEEK = Cell("flows", "mau", 30), Cell("week", "week")
LAST = breakdown("country", ["GB", "DE"], "last")
ANY = breakdown("platform", ["ios", "web"], "any", most=2)
FIXED = breakdown("plan", ["free"], "fixed")
PROMISED = Guarantee(4.0, 1e-6)
QUESTIONS = [Question(cell, by) for cell in (MAU, FLOWS, WEEK) for by in (None, LAST, ANY, FIXED)]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
@pytest.mark.parametrize("unit", ["user-day", "user"])
def test_promises_are_kept_and_nearly_used_up(question: Question, unit: str) -> None:
    w_bound = 2 if unit == "user-day" else 4
    (audit,) = audit_question(
        "damped-square-root", question, unit, w_bound, 60, PROMISED, 40_000, np.random.default_rng(1)
    )
    assert not audit.flagged
    assert audit.worst is not None
    assert 0.9 <= audit.worst <= 1 + 1e-6  # buffers round what they measure
    assert audit.ratio >= 0.9


@pytest.mark.parametrize("name", ["laplace", "gaussian", "binary-tree", "binary-tree-laplace", "buffered-toeplitz"])
def test_other_mechanisms_keep_theirs(name: str) -> None:
    for question in (Question(MAU, LAST), Question(FLOWS)):
        for audit in audit_question(name, question, "user-day", 2, 60, PROMISED, 20_000, np.random.default_rng(2)):
            assert not audit.flagged
            assert audit.worst is not None
            assert 0.9 <= audit.worst <= 1 + 1e-6  # buffers round what they measure


@pytest.mark.parametrize(
    ("question", "believed"),
    [
        # Noise for one series where two change, and for half the entries of the flows.
        (Question(MAU, LAST), lambda change: replace(change, series=change.series[:1], runs=1)),
        (Question(MAU, ANY), lambda change: replace(change, series=change.series[:1], runs=1)),
        (Question(FLOWS), lambda change: FlowChange(change.entries // 2)),
    ],
    ids=["last", "any", "flows"],
)
def test_noise_for_less_is_found_out(question: Question, believed) -> None:
    change = question_class(question, "user-day", 2, 60)
    assert isinstance(change, PresenceChange | FlowChange)
    mechanism = calibrate_linear([question_design("damped-square-root", believed(change))], PROMISED, [1.0])[0]
    generator = np.random.default_rng(3)
    (audit,) = audit_cases(question_cases(mechanism, question.name, change, PROMISED, generator), 40_000, generator)
    assert audit.flagged
    assert audit.ratio > 1.2
