"""From a request to calibrated mechanisms: everything but data and randomness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from dp.accounting.calibrate import (
    JOINT_MECHANISM,
    calibrate_designs,
    calibrate_on_time,
    calibrate_spending_delta,
    normalised,
    series_guarantee,
)
from dp.accounting.composition import Guarantee
from dp.counts import Freeze
from dp.mechanisms import Mechanism
from dp.names import METRICS
from dp.noise import validate_level
from dp.questions import Question, SeriesName
from dp.release.best import with_best
from dp.release.designs import design_for, linear_design_for
from dp.release.request import Request, charged, spell_exceptions, uses_w_bound
from dp.release.sample import validate_sketch


@dataclass(frozen=True)
class Series:
    """One series of a plan.

    Attributes:
        question: what it is a part of the answer to.
        name: which part.
        mechanism: calibrated; all series of a question have the same one, and draw noise of their own.
        guarantee: what all series of the question promise together.
    """

    question: Question
    name: SeriesName
    mechanism: Mechanism
    guarantee: Guarantee

    @property
    def metric(self) -> str:
        """Its name in one text, under which counts are given and rows are kept."""
        return self.name.key

    @property
    def window(self) -> int | None:
        """Trailing days; None in a calendar cell."""
        return self.question.cell.window

    @property
    def part(self) -> tuple[Question, SeriesName] | None:
        """As counts say it; None for all users present in a window."""
        total = self.question.cell.kind == "rolling" and self.question.breakdown is None
        return None if total else (self.question, self.name)

    def days(self, first: date, ticks: int) -> list[date]:
        """The days that it publishes among so many ticks from `first` on."""
        return self.question.cell.days(first, first + timedelta(days=ticks - 1))


@dataclass(frozen=True)
class Plan:
    """A request with its noise: everything but data and randomness."""

    request: Request
    series: tuple[Series, ...]

    @property
    def by_question(self) -> dict[str, Series]:
        """Name of each question → one of its series; they differ in nothing but their names."""
        return {series.question.name: series for series in self.series}

    @cached_property
    def freeze(self) -> Freeze:
        """After how many flips the counts must leave a user out.

        None: never, the true counts are needed (for unit user by sparse-vector, and with on_time). A tuple: the counts
        for each of these bounds are needed, and how many users had more flips so far; shape (ticks, 2·bounds).
        """
        for series in self.series:
            if series.mechanism.bounds is not None:
                return series.mechanism.bounds
        return self.request.flip_bound if self.request.unit == "user" else None


def plan_release(request: Request) -> Plan:
    """Choose and calibrate a mechanism for every series.

    Raises:
        ValueError: a parameter is out of range, unknown, or does not fit the mechanism; the message names it.
    """
    names = [question.name for question in request.asked]
    if not names:
        raise ValueError("no metric was asked for; choose one or more of " + ", ".join(METRICS))
    if len(set(names)) < len(names):
        raise ValueError(f"questions are {', '.join(names)}; each can be asked once")
    if set(request.shares) != set(names):
        raise ValueError(f"shares are for {sorted(request.shares)} but the metrics are {sorted(names)}")
    validate_level(request.ci_level)
    if not 0 <= request.guarantee.delta < 1:
        raise ValueError(f"delta is {request.guarantee.delta}; it must lie between 0 and 1, for instance 1e-6")
    request = with_best(request)
    _validate_delta(request)
    validate_sketch(request)
    _validate_questions(request)
    shares = normalised([request.shares[name] for name in names], len(names))
    mechanisms = _mechanisms(request, shares)
    whole = charged(request) if len(mechanisms) == 1 else None
    return Plan(
        request,
        tuple(
            Series(
                question,
                name,
                mechanism,
                whole or apart,
            )
            for question, (mechanism, apart) in zip(request.asked, mechanisms, strict=True)
            for name in question.series
        ),
    )


def _mechanisms(request: Request, shares: Sequence[float]) -> Sequence[tuple[Mechanism, Guarantee]]:
    """The mechanism of each question, with what its series promises on its own."""
    windows = list(request.windows.values())
    if request.on_time is None:
        if request.spend_delta:
            linear = [linear_design_for(request, question, request.mechanism) for question in request.asked]
            return calibrate_spending_delta(linear, request.guarantee, shares)
        designs = [design_for(request, question, request.mechanism_of(question.name)) for question in request.asked]
        return _with_guarantees(calibrate_designs(designs, request.guarantee, shares), request, shares)
    if request.questions:
        raise ValueError("on_time goes with metrics alone: no bound over flows, calendar cells or segments is known")
    if request.unit != "user" or request.horizon is None:
        raise ValueError("on_time protects whole users over a horizon: it goes with unit user and a number of ticks")
    if request.mechanism != JOINT_MECHANISM:
        raise ValueError(f"on_time goes with mechanism {JOINT_MECHANISM!r} only, because its bounds need that strategy")
    if min(request.on_time) < 0:
        raise ValueError(f"on_time is {spell_exceptions(request.on_time)}; both are whole numbers, at least 0")
    if len(set(windows)) < len(windows):
        raise ValueError("on_time needs windows that differ; the same one twice tells nothing more")
    on_time = calibrate_on_time(windows, request.horizon, request.guarantee, shares, request.on_time)
    return _with_guarantees(on_time, request, shares)


def _with_guarantees(
    mechanisms: Sequence[Mechanism], request: Request, shares: Sequence[float]
) -> list[tuple[Mechanism, Guarantee]]:
    return [
        (mechanism, series_guarantee(mechanism, request.guarantee, share))
        for mechanism, share in zip(mechanisms, shares, strict=True)
    ]


def _validate_delta(request: Request) -> None:
    """Refuse a δ that the mechanism cannot spend, or cannot do without."""
    use = request.family.delta
    if use == "needed" and request.guarantee.delta == 0:
        raise ValueError(
            f"delta is 0, but {request.mechanism} draws Gaussian noise, which needs 0 < delta < 1; "
            "for pure epsilon choose subtraction-tree, laplace or sparse-vector"
        )
    if request.spend_delta and use != "none":
        raise ValueError(
            f"spend_delta is for mechanisms that spend no δ without it, such as laplace; {request.mechanism} may spend "
            "it in any case"
        )


def _validate_questions(request: Request) -> None:
    """Refuse what no question but a rolling total can have."""
    if not request.questions:
        return
    if request.sketch != "exact":
        raise ValueError(f"sketch is {request.sketch!r}; flows, calendar cells and segments are counted exactly")
    if not uses_w_bound(request.mechanism):
        raise ValueError(
            f"mechanism is {request.mechanism!r}, whose error depends on the data; flows, calendar cells and segments "
            "need a linear one"
        )
