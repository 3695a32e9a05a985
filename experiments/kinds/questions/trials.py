"""The row of a point: the error of one question. It follows from the noise, so that nothing is simulated."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import lru_cache
from typing import Any

import msgspec

from dp.accounting.composition import Guarantee
from dp.names import METRICS
from dp.questions import Breakdown, Question, breakdown, kind_of, questions_of, totals_of
from dp.release import Plan, Request, plan_release
from dp.release.shares import equal_shares, largest_deviations
from experiments.engine.grid import refuse_unknown
from experiments.engine.tasks import PointTask
from experiments.kinds.questions.config import QuestionConfig, QuestionPoint

FIRST = date(2024, 1, 1)
"""A Monday."""


def evaluate_question(task: PointTask[QuestionConfig, QuestionPoint]) -> dict[str, Any]:
    """One row: the largest standard deviation of the question's series over the horizon, in users."""
    point, config = task.point, task.config
    (question,) = [one for one in asked(config) if one.name == point.question]
    return {
        "question": point.question,
        "cell": question.cell.name,
        "breakdown": "" if question.breakdown is None else question.breakdown.name,
        "kind": "" if question.breakdown is None else config.breakdowns[question.breakdown.name],
        "sharing": point.sharing,
        "epsilon": point.epsilon,
        "delta": config.delta,
        "max_std": deviations(msgspec.json.encode(config), point.sharing, point.epsilon)[point.question],
    }


@lru_cache(maxsize=256)
def deviations(encoded: bytes, sharing: str, epsilon: float) -> dict[str, float]:
    """The largest standard deviation of every question; the config is encoded, so that it can be remembered."""
    config = msgspec.json.decode(encoded, type=QuestionConfig)
    if sharing == "apart":
        questions = asked(config)
        part = Guarantee(epsilon / len(questions), config.delta / len(questions))
        alone = (plan_release(_request(config, part, (question,))) for question in questions)
        return {name: deviation for plan in alone for name, deviation in largest_deviations(plan).items()}
    plan = planned(config, epsilon)
    if sharing == "equal-error":
        plan = plan_release(replace(plan.request, shares=equal_shares(plan)))
    return largest_deviations(plan)


def planned(config: QuestionConfig, epsilon: float) -> Plan:
    """All questions in one release, with equal shares.

    Raises:
        ValueError: a value of the config is out of range or unknown.
    """
    return plan_release(_request(config, Guarantee(epsilon, config.delta), asked(config)))


def names_of(config: QuestionConfig) -> list[str]:
    """The names of all questions."""
    return [question.name for question in asked(config)]


def asked(config: QuestionConfig) -> tuple[Question, ...]:
    """All questions of the dashboard.

    Raises:
        ValueError: a value of the config is unknown.
    """
    refuse_unknown("metrics", config.metrics, METRICS)
    windows = {metric: METRICS[metric] for metric in config.metrics}
    by = [_breakdown(name, kind, config.segments) for name, kind in config.breakdowns.items()]
    return (*totals_of(windows), *questions_of(windows, config.flows, config.calendar, by))


def _breakdown(name: str, kind: str, segments: int) -> Breakdown:
    try:
        which, most = kind_of(kind)
    except ValueError as error:
        raise ValueError(f"breakdowns.{name} is {error}") from error
    return breakdown(name, [str(number) for number in range(segments)], which, most=most)


def _request(config: QuestionConfig, guarantee: Guarantee, questions: tuple[Question, ...]) -> Request:
    return Request(
        windows={},
        unit=config.unit,
        w_bound=config.w_bound,
        guarantee=guarantee,
        mechanism=config.mechanism,
        first=FIRST,
        horizon=config.horizon,
        shares={question.name: 1.0 for question in questions},
        questions=questions,
    )
