"""What a service does with its ledger: its streams, their charges, its budget, and whether ledger and store agree."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime

from dp.accounting.composition import Guarantee, basic
from dp.ledger import Budget, BudgetExhausted, Charge, Ledger, OtherParameters, has_ledger, open_ledger
from dp.release import Plan, charged, plan_release
from dp.release.request import request_of
from workbench.service.errors import Refused
from workbench.service.labels import LabelCodes
from workbench.service.periods import Period, check_same_series, codes_of, period_of
from workbench.service.same_file import SameFile
from workbench.service.settings import SERIES, Settings
from workbench.service.store import Store

Clock = Callable[[], datetime]
LIVE = "live-"
QUESTIONS = "questions"
"""In the names of streams, where a metric stands otherwise."""


class Account:
    """The streams and the budget of one store in its ledger.

    Methods that take a `ledger` work in the caller's transaction; the others open it for a moment, where there is one.
    """

    def __init__(self, settings: Settings, clock: Clock, store_name: str) -> None:
        self._settings = settings
        self._clock = clock
        self._store_name = store_name
        self._file = SameFile(settings.ledger_place, "ledger")

    @property
    def fresh_budget(self) -> str:
        """The budget that fresh releases are charged to."""
        return self._settings.fresh_budget or self._settings.budget

    def today(self) -> date:
        """The calendar day in the service's time zone."""
        today = self._settings.zone.day(self._clock())
        assert today is not None, "a clock shows times of the calendar"
        return today

    def stream(self, name: str, period: int = 1) -> str:
        """The stream of a metric, or of a question, in a period."""
        own = f"{LIVE}{self._store_name}/"
        if name not in SERIES:
            return f"{own}{QUESTIONS}/{period}/{name}"
        return f"{own}{name}" if period == 1 else f"{own}{name}/{period}"

    def fresh_stream(self, metric: str, day: date, request_id: str) -> str:
        """The stream of a fresh release of one day."""
        return f"{self.stream(metric)}/{day}/{request_id}"

    def plans(self, period: Period) -> dict[str, Plan]:
        """Metric → the plan of its series in a period.

        Raises:
            Refused: there is none, such as of weeks in a period in which no week ends.
        """
        specifications = {metric: request.specification() for metric, request in period.requests.items()}
        try:
            return {metric: _plan_of(json.dumps(plain, sort_keys=True)) for metric, plain in specifications.items()}
        except ValueError as error:
            # Settings are checked before anybody knows on which day they begin.
            raise Refused("other-settings", f"{period.days} cannot be published as it is set: {error}") from error

    @contextmanager
    def open(self) -> Iterator[Ledger]:
        """The ledger; streams that were opened with other settings are refused in the service's own words."""
        with self._same_ledger() as ledger:
            try:
                yield ledger
            except OtherParameters as error:
                raise Refused(
                    "other-settings",
                    f"what was published so far was published with other settings ({error.differences}); they are "
                    "fixed by the first close, or by the last renewal: set them back, or begin with a new store and a "
                    "new budget",
                ) from error

    def has_ledger(self) -> bool:
        """Whether there is a ledger; refuses if it was there and is gone."""
        self._file.check()
        if has_ledger(self._settings.ledger_place):
            return True
        self._file.check_held(None)
        return False

    @contextmanager
    def opened(self) -> Iterator[Ledger | None]:
        """The ledger, where there is one."""
        if not self.has_ledger():
            yield None
            return
        with self._same_ledger() as ledger:
            yield ledger

    @contextmanager
    def _same_ledger(self) -> Iterator[Ledger]:
        """The ledger; refuses another one than at first."""
        self._file.check()
        with open_ledger(self._settings.ledger_place, make=not self._file.is_known) as ledger:
            self._file.check()
            self._file.check_held(ledger.name)
            yield ledger

    # What it holds

    def budgets(self) -> list[Budget]:
        """The budget, if nothing was charged yet as the first close would open it, and that of fresh releases."""
        settings = self._settings
        cap = Guarantee(settings.budget_epsilon, settings.budget_delta)
        found = {settings.budget: Budget(settings.budget, self.today(), None, cap, Guarantee(0.0, 0.0), cap)}
        if self.has_ledger():
            with self._same_ledger() as ledger:
                names = (settings.budget, settings.fresh_budget)
                found |= {budget.name: budget for budget in ledger.budgets() if budget.name in names}
        return list(found.values())

    def charges(self) -> list[Charge]:
        """What was charged to the budget or for this store, oldest first."""
        if not self.has_ledger():
            return []
        with self._same_ledger() as ledger:
            budget = self._settings.budget
            return [charge for charge in ledger.charges() if charge.budget == budget or self._owns(charge)]

    def releases(self, metric: str) -> list[str]:
        """All published rows of a metric, of all periods, oldest first."""
        if not self.has_ledger():
            return []
        with self._same_ledger() as ledger:
            return [
                row
                for period in self.periods(ledger)
                for row in ledger.releases(self.stream(metric, period.number), metric)
            ]

    def answered(self, name: str) -> list[tuple[Period, dict[str, list[str]]]]:
        """The published rows of a question, by period and series, oldest first; periods in which it was asked."""
        if not self.has_ledger():
            return []
        with self._same_ledger() as ledger:
            return [
                (period, {
                    series.key: ledger.releases(self.stream(name, period.number), series.key)
                    for question in period.requests[name].questions for series in question.series
                })
                for period in self.periods(ledger) if name in period.requests
            ]  # fmt: skip

    def released_fresh(self, metric: str, day: date, request_id: str) -> str | None:
        """The row of a fresh release, where it was drawn before."""
        if not self.has_ledger():
            return None
        with self._same_ledger() as ledger:
            rows = ledger.releases(self.fresh_stream(metric, day, request_id), metric)
        return rows[0] if rows else None

    def published_days(self) -> int:
        """How many days are published."""
        if not self.has_ledger():
            return 0
        with self._same_ledger() as ledger:
            return self.published_in(ledger)

    def published_in(self, ledger: Ledger) -> int:
        """How many days are published."""
        return min(self._released(ledger))

    def own_charges(self, ledger: Ledger) -> list[Charge]:
        """What was charged for this store, oldest first."""
        return [charge for charge in ledger.charges() if self._owns(charge)]

    def pays_others(self, ledger: Ledger) -> bool:
        """Whether the budget has paid for another store."""
        paid = [charge for charge in ledger.charges() if charge.budget == self._settings.budget]
        return any(charge.stream.startswith(LIVE) and not self._owns(charge) for charge in paid)

    # Periods

    def periods(self, ledger: Ledger) -> list[Period]:
        """The periods that were charged for, oldest first."""
        found: list[Period] = []
        questions = self._charged_questions(ledger)
        while True:
            number = len(found) + 1
            charges = {metric: ledger.find_charge(self.stream(metric, number)) for metric in SERIES}
            made = {metric: charge for metric, charge in charges.items() if charge is not None}
            if not made:
                return found
            found.append(Period.of_charges(number, {**made, **questions.get(number, {})}))

    def _charged_questions(self, ledger: Ledger) -> dict[int, dict[str, Charge]]:
        """Period → question → its charge; also of questions that are set no more, because they were promised."""
        found: dict[int, dict[str, Charge]] = {}
        begin = f"{LIVE}{self._store_name}/{QUESTIONS}/"
        for charge in ledger.charges():
            if charge.stream.startswith(begin):
                number, _, name = charge.stream.removeprefix(begin).partition("/")
                found.setdefault(int(number), {})[name] = charge
        return found

    def all_periods(self) -> list[Period]:
        """`periods`, where there is a ledger."""
        if not self.has_ledger():
            return []
        with self._same_ledger() as ledger:
            return self.periods(ledger)

    def period_by_settings(self, number: int, first: date) -> Period:
        """The period that would begin on a day as things are set now."""
        return Period.by_settings(self._settings, self._store_name, number, first)

    def period_to_charge(self, periods: list[Period], first: date, day: date) -> Period:
        """The period of a day that is to be closed, as it is to be charged for.

        The last one is as things are set now, so that `charge` refuses other settings than it was charged for.

        Args:
            first: the first tick of all.

        Raises:
            Refused: the horizon is over.
        """
        if not periods:
            return self.period_by_settings(1, first)
        found = period_of(periods, day)
        if found is None:
            last = periods[-1]
            raise Refused(
                "horizon-over",
                f"the guarantee covers {last.horizon} days from {last.first}, and {day} is after them: "
                "begin the next period, which is charged on its own (dpdau renew)",
            )
        return found if found is not periods[-1] else self._as_set(found)

    def _as_set(self, made: Period) -> Period:
        """A period as it would be charged for now; refuses to ask other questions than it was charged for."""
        as_set = self.period_by_settings(made.number, made.first)
        if as_set.requests.keys() != made.requests.keys():
            differ = ", ".join(sorted(as_set.requests.keys() ^ made.requests.keys()))
            raise Refused(
                "other-settings",
                f"the questions of the period {made.days} are {', '.join(made.requests)}, and those that are set now "
                f"differ ({differ}); they are fixed by the first close, or by the last renewal: set them back, or "
                "renew with them when the period is over",
            )
        return as_set

    def codes(self, open_day: date | None) -> LabelCodes:
        """What operations can say of segments, as things are set and for the days of periods that are charged.

        The next period may be charged, and set, while days of the one before are open.
        """
        periods = [period for period in self.all_periods() if not period.is_over(open_day)]
        return codes_of([self.period_by_settings(len(periods) + 1, self.today()), *periods])

    def expected_period(self, day: date) -> Period:
        """The period of a day; the one that would begin on it if it has none yet."""
        periods = self.all_periods()
        return period_of(periods, day) or self.period_by_settings(len(periods) + 1, day)

    def check_settings(self, ledger: Ledger, periods: list[Period], open_day: date | None) -> None:
        """Refuse settings that differ from what the last period was charged for; once it is over, some may.

        Raises:
            Refused, OtherParameters: they differ; the message names them.
        """
        for last in periods[-1:]:
            if last.is_over(open_day):
                check_same_series(periods, self.period_by_settings(last.number, last.first))
            else:
                self.charge(ledger, self._as_set(last))

    # Charging

    def open_budget(self, ledger: Ledger) -> None:
        """Make the budget where there is none."""
        settings = self._settings
        with ledger.transaction():
            if settings.budget not in [budget.name for budget in ledger.budgets()]:
                cap = Guarantee(settings.budget_epsilon, settings.budget_delta)
                ledger.create_budget(settings.budget, cap, self._clock().date(), None)

    def charge(self, ledger: Ledger, period: Period) -> None:
        """Charge all series of a period, or none; free when it was done before.

        Raises:
            BudgetExhausted: nothing was charged.
            OtherParameters: the period was charged for other settings.
        """
        plans = {self.stream(metric, period.number): plan for metric, plan in self.plans(period).items()}
        total = basic([charged(plan.request) for stream, plan in plans.items() if ledger.find_charge(stream) is None])
        # Asked for as a whole, so that a refusal names the whole; the ledger itself decides to the last digit.
        if total.epsilon > 0:
            standing = ledger.budget(period.budget)
            if any(wanted > left * (1 + 1e-9) for wanted, left in zip(total, standing.remaining, strict=True)):
                raise BudgetExhausted(standing, total)
        for stream, plan in plans.items():
            specification = {**plan.request.specification(), "data": period.data}
            ledger.charge(stream, period.budget, charged(plan.request), specification, self._clock())

    # Whether store and ledger belong together

    def check(self, ledger: Ledger, store: Store) -> None:
        """Refuse to go on where store and ledger do not belong together: a published day would be drawn again.

        Called under the ledger's lock. Others commit to the ledger before they note it in the store, and count a day
        in the store before they publish it, so a healthy pair passes wherever they are interrupted.
        """
        bound, published, noted, days = store.ledger, store.published, store.charged, store.progress().days
        self.check_bound(bound, ledger.name)
        released = self._released(ledger)
        charges = len(self.own_charges(ledger))
        if charges < noted or min(released) < published or max(released) > days:
            older = "store" if max(released) > days else "ledger"
            raise Refused(
                "other-store",
                f"the store {self._settings.store_place} has closed {days} days, published {published} and made "
                f"{noted} charges, the ledger {self._settings.ledger_place} holds {min(released)} days and {charges} "
                f"charges of it: the {older} is missing or an old copy; put the newest one back, or begin with a new "
                "store and a new budget",
            )

    def check_bound(self, bound: str | None, name: str) -> None:
        """Refuse a ledger of that `name` where the store is `bound` to another one."""
        if bound not in (None, name):
            raise Refused(
                "other-store",
                f"the store {self._settings.store_place} publishes to another ledger than "
                f"{self._settings.ledger_place}: the one it began with is missing or has another name; put it back or "
                "name it, or days would be drawn twice",
            )

    def _released(self, ledger: Ledger) -> list[int]:
        numbers = [period.number for period in self.periods(ledger)]
        return [
            sum(ledger.count_releases(self.stream(metric, number), metric) for number in numbers) for metric in SERIES
        ]

    def _owns(self, charge: Charge) -> bool:
        return charge.stream.startswith(f"{LIVE}{self._store_name}/")


@functools.lru_cache(maxsize=256)
def _plan_of(specification: str) -> Plan:
    return plan_release(request_of(json.loads(specification)))
