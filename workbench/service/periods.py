"""Periods: days that are charged for together. One follows the other without a gap, over the same store.

The first close begins the first period, and a renewal every later one. The ledger holds what each was charged for; the
settings say how the next one is to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from dp.accounting.composition import Guarantee, basic
from dp.arrays import Integers
from dp.counts import Counts
from dp.ledger import Charge
from dp.release import Request, charged, freezes
from dp.release.request import request_of
from workbench.service.counted_questions import CountedQuestion
from workbench.service.errors import Refused
from workbench.service.folding import Count
from workbench.service.labels import LabelCodes
from workbench.service.settings import Settings, counted_question


@dataclass(frozen=True)
class Period:
    """Days that are charged for together.

    Attributes:
        number: 1 for the first.
        first: its first tick.
        horizon: how many days it has; None for no end.
        budget: the ledger's budget that pays.
        data: what its counts come from: the store and the time zone.
        requests: what is published in it, by metric, then by question.
    """

    number: int
    first: date
    horizon: int | None
    budget: str
    data: str
    requests: Mapping[str, Request]

    @classmethod
    def by_settings(cls, settings: Settings, store_name: str, number: int, first: date) -> Period:
        """The period that would begin on a day as things are set now."""
        requests = settings.requests(first)
        data = f"{store_name} {settings.timezone}"
        return cls(number, first, settings.horizon, settings.budget, data, requests)

    @classmethod
    def of_charges(cls, number: int, charges: Mapping[str, Charge]) -> Period:
        """The period whose series, by metric and question, were charged for."""
        requests = {name: request_of(charge.specification) for name, charge in charges.items()}
        charge, request = next(iter(charges.values())), next(iter(requests.values()))
        data = charge.specification["data"]
        return cls(number, request.first, request.horizon, charge.budget, data, requests)

    @property
    def last(self) -> date | None:
        """Its last day; None where it has no end."""
        return None if self.horizon is None else self.first + timedelta(days=self.horizon - 1)

    @property
    def following(self) -> date | None:
        """The day after its last one."""
        return None if self.last is None else self.last + timedelta(days=1)

    def is_over(self, open_day: date | None) -> bool:
        """Whether all of its days are closed."""
        return self.last is not None and open_day is not None and open_day > self.last

    @property
    def bounds(self) -> dict[int, int | None]:
        """Window → after how many flips since the first tick its users are frozen; None where nobody is."""
        return {
            window: request.w_bound if freezes(request.unit, request.mechanism) else None
            for request in self.requests.values()
            for window in request.windows.values()
        }

    @property
    def asked(self) -> tuple[CountedQuestion, ...]:
        """What is asked besides how many are present in each window, in alphabetical order."""
        return tuple(
            counted_question(question, request)
            for _, request in sorted(self.requests.items())
            for question in request.questions
        )

    def answers(self, name: str, found: Sequence[Integers]) -> dict[str, Counts]:
        """The counts of a question's series on the period's closed days, as they are published.

        Args:
            found: the counts of all series on each day of the question's; each of shape (series,).
        """
        request = self.requests[name]
        (question,) = request.questions
        freeze = request.w_bound if freezes(request.unit, request.mechanism) else None
        values = np.array(found, dtype=np.int64).reshape(len(found), len(question.series))
        return {
            series.key: Counts(values[:, place], question.cell.window, self.first, freeze, part=(question, series))
            for place, series in enumerate(question.series)
        }

    def counts(self, metric: str, first: date, closed: Mapping[int, Sequence[Count]]) -> Counts:
        """The counts of a metric on the period's closed days, as they are published.

        Args:
            first: the first closed day of all.
            closed: window → the counts of all closed days.
        """
        (window,) = self.requests[metric].windows.values()
        start = (self.first - first).days
        own = closed[window][start : None if self.horizon is None else start + self.horizon]
        # The charge of its series, which a day is counted after, holds W_BOUND fast.
        values = np.array([count.bounded for count in own], dtype=np.int64)
        return Counts(values, window, self.first, self.bounds[window])

    @property
    def charge(self) -> Guarantee:
        """What all of its series are charged together."""
        return basic([charged(request) for request in self.requests.values()])

    @property
    def days(self) -> str:
        """Its days in words."""
        return f"{self.first} to {self.last}" if self.last else f"all days from {self.first} on"


def period_of(periods: Iterable[Period], day: date) -> Period | None:
    """The period that a day belongs to; None if it is after all of them, or before."""
    for period in periods:
        if period.first <= day and (period.last is None or day <= period.last):
            return period
    return None


def check_same_series(before: Sequence[Period], after: Period) -> None:
    """Refuse a period that could not go on with the series of those before; a question may have been left out of some.

    Raises:
        Refused: windows, units, levels, the metrics or the time zone differ; the message names them.
    """
    found = []
    published = {name: request for period in before for name, request in period.requests.items()}
    if before[-1].data != after.data:
        zones = [period.data.partition(" ")[2] for period in (after, before[-1])]
        found.append(f"timezone is {zones[0]!r} now and was {zones[1]!r}")
    for metric, request in after.requests.items():
        # A question may be new. What it is called says its window.
        was = published.get(metric, request)
        pairs = {
            **({f"{metric}.window": (request.windows[metric], was.windows[metric])} if request.windows else {}),
            f"{metric}.unit": (request.unit, was.unit),
            "ci_level": (request.ci_level, was.ci_level),
        }
        found += [f"{name} is {now!r} now and was {then!r}" for name, (now, then) in pairs.items() if now != then]
    if found:
        raise Refused(
            "other-settings",
            f"the days before were published with other settings ({'; '.join(dict.fromkeys(found))}), which a renewal "
            "keeps: set them back, or begin with a new store and a new budget. A renewal may change horizon, "
            "budget and questions, and of a series epsilon, delta, w_bound and mechanism",
        )


def codes_of(periods: Iterable[Period]) -> LabelCodes:
    """What operations can say of segments in any of some periods.

    Raises:
        ValueError: they tell too many labels apart.
    """
    found = (one.question.breakdown for period in periods for one in period.asked if one.by_activity)
    return LabelCodes.of(one for one in found if one is not None)


def costs(periods: Sequence[Period]) -> Guarantee:
    """What is promised over all periods together, to whom a series protects (docs/guarantees.md, section 9.5).

    A series of the unit user costs its charge in every period. One of the unit user-day costs a user-day its charge
    only in the periods that the window which begins on that day reaches.
    """
    firsts = {period.first for period in periods}
    reaches = {reach_of(request) for period in periods for request in period.requests.values()}
    # Which periods are reached changes only on these days.
    days = firsts | {first - timedelta(days=reach - 1) for first in firsts for reach in reaches}
    worst = [_cost_of_day(periods, day) for day in days]
    return Guarantee(max(one.epsilon for one in worst), max(one.delta for one in worst))


def _cost_of_day(periods: Sequence[Period], day: date) -> Guarantee:
    return basic(
        [
            charged(request)
            for period in periods
            for request in period.requests.values()
            if request.unit == "user"
            or (
                period.first <= day + timedelta(days=reach_of(request) - 1)
                and (period.last is None or day <= period.last)
            )
        ]
    )


def reach_of(request: Request) -> int:
    """Days of the longest cell that a series of a service counts over."""
    return max(*request.windows.values(), *(CountedQuestion(question).reach for question in request.questions), 1)
