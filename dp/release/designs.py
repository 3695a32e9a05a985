"""The design that a mechanism has for a question of a request."""

from __future__ import annotations

from dp.mechanisms import Design, LinearDesign, design, linear_design
from dp.mechanisms.question_design import question_design
from dp.questions import Question
from dp.release.request import Request
from dp.units import ProtectedClass, protected_class, question_class


def design_for(request: Request, question: Question, name: str) -> Design:
    """The design of the mechanism of this name for one of the questions asked.

    Raises:
        ValueError: it is unknown, or cannot serve the question.
    """
    if question in request.questions:
        return linear_design_for(request, question, name)
    return design(name, _class_of_total(request, question))


def linear_design_for(request: Request, question: Question, name: str) -> LinearDesign:
    """The same of a linear mechanism.

    Raises:
        ValueError: it is unknown or not linear, or cannot serve the question.
    """
    if question not in request.questions:
        return linear_design(name, _class_of_total(request, question))
    horizon = request.horizon
    if horizon is not None:
        horizon = question.cell.number(request.first, horizon)
        if not horizon:
            raise ValueError(f"no {question.cell.name} ends within the {request.horizon} ticks from {request.first} on")
    return question_design(name, question_class(question, request.unit, request.w_bound, horizon))


def _class_of_total(request: Request, question: Question) -> ProtectedClass:
    return protected_class(request.unit, request.windows[question.name], request.w_bound, request.horizon)
