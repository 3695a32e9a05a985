"""The linear mechanisms with the least noise, for a request that asks for the best.

The choice depends on the request alone. A stream is charged for what was chosen, by name: whoever continues it goes
on with these, or is refused (`dp.release.stream`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dp.accounting.calibrate import calibrate_designs
from dp.mechanisms import MECHANISMS
from dp.mechanisms.protocol import NoiseName
from dp.names import BEST_MECHANISM
from dp.questions import Question
from dp.release.designs import design_for, linear_design_for
from dp.release.request import Request

LEVEL = 1e-4
"""Variances that differ by less, relative to each other, count as equal: then the first mechanism is chosen, which is
the simpler one. So that the last digits of an optimisation decide nothing."""

SETTLED = 2**10
"""Ticks over which the noise of a series without an end is looked at."""


def with_best(request: Request) -> Request:
    """The request with the best mechanism for every question; the same where it asks for another, or has them already.

    Of each kind of noise, every question gets the mechanism with the least mean variance. All questions then get the
    kind with which their mean variances add up to less, because series of two kinds cannot share a budget.

    Raises:
        ValueError: what is asked besides needs a certain mechanism, the mechanisms given are for other questions, or
            no mechanism serves a question.
    """
    if request.mechanism != BEST_MECHANISM:
        if request.chosen is not None:
            raise ValueError(f"chosen goes with mechanism {BEST_MECHANISM!r}, and mechanism is {request.mechanism!r}")
        return request
    if request.on_time is not None or request.spend_delta:
        option = "spend_delta" if request.on_time is None else "on_time"
        raise ValueError(f"mechanism is {BEST_MECHANISM!r}, which does not go with {option}: name a mechanism")
    if request.chosen is not None:
        names = {question.name for question in request.asked}
        if set(request.chosen) != names:
            raise ValueError(f"chosen is for {sorted(request.chosen)}; the questions are {sorted(names)}")
        return request
    kinds: tuple[NoiseName, ...] = ("gaussian", "laplace") if request.guarantee.delta else ("laplace",)
    offers = [replace(request, chosen=_chosen(request, noise)) for noise in kinds]
    return min(offers, key=_variance) if len(offers) > 1 else offers[0]


def chosen_before(request: Request, opened: Mapping[str, Any]) -> Request:
    """The request with the mechanisms that its stream was opened with; the same if it does not ask for the best.

    Args:
        opened: the specification of the stream's request.
    """
    chosen = opened.get("chosen")
    known = request.mechanism == BEST_MECHANISM and chosen and set(chosen) == {one.name for one in request.asked}
    return replace(request, chosen=chosen) if known else request


def _chosen(request: Request, noise: NoiseName) -> Mapping[str, str]:
    return {question.name: _best_for(request, question, noise) for question in request.asked}


def _best_for(request: Request, question: Question, noise: NoiseName) -> str:
    """The mechanism with this noise whose releases have the least mean variance."""
    ticks = _ticks(request, question)
    found: dict[str, float] = {}
    refusal: ValueError | None = None
    for name, family in MECHANISMS.items():
        if family.noise != noise or family.data_dependent:
            continue
        try:
            design = linear_design_for(request, question, name)
        except ValueError as error:
            refusal = refusal or error
            continue
        found[name] = design.sensitivity**2 * float(design.strategy.decoder_energy(ticks).mean())
    if not found:
        raise refusal or ValueError(f"no mechanism draws {noise} noise")
    least = min(found.values())
    return next(name for name, variance in found.items() if variance <= least * (1 + LEVEL))


def _variance(request: Request) -> float:
    """The mean variances of all questions, added up."""
    designs = [design_for(request, question, request.mechanism_of(question.name)) for question in request.asked]
    shares = [request.shares[question.name] for question in request.asked]
    mechanisms = calibrate_designs(designs, request.guarantee, shares)
    return math.fsum(
        float((mechanism.standard_deviation(_ticks(request, question)) ** 2).mean())
        for question, mechanism in zip(request.asked, mechanisms, strict=True)
    )


def _ticks(request: Request, question: Question) -> int:
    return max(question.cell.number(request.first, request.horizon or SETTLED), 1)
