"""What a service does with its ledger: its streams, their charges, its budget, and whether ledger and store agree."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime

from dp.accounting.composition import Guarantee, basic
from dp.ledger import Budget, BudgetExhausted, Charge, Ledger, OtherParameters, has_ledger, open_ledger
from dp.release import Plan, charged, plan_release
from workbench.service.errors import Refused
from workbench.service.same_file import SameFile
from workbench.service.settings import Settings
from workbench.service.store import Store

Clock = Callable[[], datetime]
LIVE = "live-"


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
    def data(self) -> str:
        """What a stream's counts come from, besides its request: where a day is a day is fixed, too."""
        return f"{self._store_name} {self._settings.timezone}"

    @property
    def fresh_budget(self) -> str:
        """The budget that fresh releases are charged to."""
        return self._settings.fresh_budget or self._settings.budget

    def today(self) -> date:
        """The calendar day in the service's time zone."""
        today = self._settings.zone.day(self._clock())
        assert today is not None, "a clock shows times of the calendar"
        return today

    def stream(self, metric: str) -> str:
        """The stream of a series."""
        return f"{LIVE}{self._store_name}/{metric}"

    def fresh_stream(self, metric: str, day: date, request_id: str) -> str:
        """The stream of a fresh release of one day."""
        return f"{self.stream(metric)}/{day}/{request_id}"

    @functools.lru_cache(maxsize=4)  # noqa: B019 - an account lives as long as its process
    def plans(self, first: date) -> dict[str, Plan]:
        """Metric → the plan of its series from the first tick on."""
        return {metric: plan_release(self._settings.request(metric, first)) for metric in self._settings.series}

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
                    "fixed by the first close: set them back, or begin with a new store and a new budget",
                ) from error

    def has_ledger(self) -> bool:
        """Whether there is a ledger; refuses if it was there and is gone."""
        self._file.check()
        if has_ledger(self._settings.ledger_place):
            return True
        self._file.check_held(None)
        return False

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

    def releases(self, stream: str, metric: str) -> list[str]:
        """All published rows of a stream, oldest first."""
        if not self.has_ledger():
            return []
        with self._same_ledger() as ledger:
            return ledger.releases(stream, metric)

    def published_days(self) -> int:
        """How many days are published."""
        if not self.has_ledger():
            return 0
        with self._same_ledger() as ledger:
            return min(self._released(ledger))

    def own_charges(self, ledger: Ledger) -> list[Charge]:
        """What was charged for this store, oldest first."""
        return [charge for charge in ledger.charges() if self._owns(charge)]

    def pays_others(self, ledger: Ledger) -> bool:
        """Whether the budget has paid for another store."""
        paid = [charge for charge in ledger.charges() if charge.budget == self._settings.budget]
        return any(charge.stream.startswith(LIVE) and not self._owns(charge) for charge in paid)

    # Charging

    def open_budget(self, ledger: Ledger) -> None:
        """Make the budget where there is none."""
        settings = self._settings
        with ledger.transaction():
            if settings.budget not in [budget.name for budget in ledger.budgets()]:
                cap = Guarantee(settings.budget_epsilon, settings.budget_delta)
                ledger.create_budget(settings.budget, cap, self._clock().date(), None)

    def charge(self, ledger: Ledger, first: date) -> None:
        """Charge all series for the whole horizon, or none; free when it was done before.

        Raises:
            BudgetExhausted: nothing was charged.
        """
        plans = {self.stream(metric): plan for metric, plan in self.plans(first).items()}
        total = basic([charged(plan.request) for stream, plan in plans.items() if ledger.find_charge(stream) is None])
        standing = ledger.budget(self._settings.budget)
        # Asked for as a whole, so that a refusal names the whole; the ledger itself decides to the last digit.
        if any(wanted > left * (1 + 1e-9) for wanted, left in zip(total, standing.remaining, strict=True)):
            raise BudgetExhausted(standing, total)
        for stream, plan in plans.items():
            specification = {**plan.request.specification(), "data": self.data}
            ledger.charge(stream, self._settings.budget, charged(plan.request), specification, self._clock())

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
        return [ledger.count_releases(self.stream(metric), metric) for metric in self._settings.series]

    def _owns(self, charge: Charge) -> bool:
        return charge.stream.startswith(f"{LIVE}{self._store_name}/")
