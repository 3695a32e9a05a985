"""All behaviour of the live service, without a framework: what HTTP, command line and pages call.

Operations go to the store, releases come from the ledger. Closing a day takes two steps that a crash may separate:
the store counts the day for good, then the ledger commits its releases, their streams' states and the budget in one
transaction. Whoever comes next finishes an interrupted close; nothing is counted twice or drawn twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import date, timedelta
from typing import TypeVar

import numpy as np

from dp.counts import Counts
from dp.ledger import Budget, Charge, Ledger
from dp.presence.daily import EPOCH, day_number
from dp.release import plan_release, publish
from workbench.service.access import StoreAccess
from workbench.service.account import Account, Clock
from workbench.service.answers import PublishedAnswers
from workbench.service.counting import Counter, Wanted, preview, recount
from workbench.service.counting_process import CountingProcess
from workbench.service.days import (
    Activity,
    Status,
    Truth,
    activity,
    calendar_day,
    check_first,
    check_next,
    check_remembered,
    first_tick,
    first_to_close,
    published_tick,
    status_of,
)
from workbench.service.errors import NotNext, Refused, bad_events
from workbench.service.first_close import check_intended, check_only_store
from workbench.service.folding import Count
from workbench.service.leavers import Leavers
from workbench.service.loading import Loading
from workbench.service.operations import ERASE, LATEST, Ingested, Operation, faults
from workbench.service.promise import promise_of_all, promise_of_periods, promises_of
from workbench.service.publishing import publish_counted
from workbench.service.renewal import Renewal
from workbench.service.requests import REQUEST_ID, RequestKeys, RequestTable, Stored, append_once
from workbench.service.settings import Settings
from workbench.service.store import Store
from workbench.service.vitals import Vitals, measured
from workbench.service.writer import Writer

Result = TypeVar("Result")


class Service:
    """A running service; use `open_service`. Its methods may be called from any thread.

    Args:
        beside: whether days are counted in another process, so that a count holds up nobody who asks meanwhile.
    """

    def __init__(
        self, settings: Settings, clock: Clock, store: Store, account: Account | None = None, *, beside: bool = False
    ) -> None:
        self.settings = settings
        self.account = account or Account(settings, clock, store.name)
        self.codes = store.codes = self.account.codes(calendar_day(store.progress().open_day))
        self._clock = clock
        self._writer = Writer(store, lambda: self._leavers.wake())
        self.access = StoreAccess(settings.store_place, store, self._writer)
        self._counter = Counter(store.database, self.access.reading, self._write, settings)
        self._counting = CountingProcess(settings) if beside else self._counter
        self._leavers = Leavers(self._counter.let_go, lambda: store.unwiped)
        self._closing = threading.Lock()
        self._cache: dict[tuple[str, date], str] = {}

    # What is promised

    @property
    def promises(self) -> dict[str, str]:
        """Metric → one plain sentence: what is promised to whom."""
        first = self.settings.first_day or self.today()
        return promises_of(self.account.all_periods() or [self.account.period_by_settings(1, first)])

    @property
    def promise(self) -> str:
        """What is promised to whom by all series together, in one plain sentence."""
        periods = self.account.all_periods()
        return promise_of_periods(periods) if len(periods) > 1 else promise_of_all(self.settings)

    def today(self) -> date:
        """The calendar day in the service's time zone."""
        return self.account.today()

    # Operations

    def ingest(self, operations: Sequence[Operation]) -> Ingested:
        """Store operations, all or none; returns when they are durable.

        Raises:
            Refused: an operation that cannot be right; the message says which, by its index.
        """
        if found := self.faults(operations):
            raise bad_events(found)
        return self._write(lambda store: store.append(operations, self.settings.earliest))

    def submit(self, batches: Sequence[Sequence[Operation]], requests: RequestKeys = ()) -> Future[list[Stored]]:
        """Store batches in which `faults` finds nothing, each once a request; the future is done when it is durable."""
        earliest = self.settings.earliest
        return self.access.submit(lambda store: append_once(store, batches, requests, earliest, self.today))

    def faults(self, operations: Iterable[Operation]) -> list[tuple[int, str]]:
        """(index, reason) of every operation that cannot be right."""
        return faults(operations, LATEST if self.settings.future_days else day_number(self.today()))

    def erase(self, user: str) -> Ingested:
        """Let a user leave; returns when that is durable. The flips spent stay where a bound needs them, under a keyed
        pseudonym; everything else goes within seconds (`settled`)."""
        if found := faults([Operation(user, None, ERASE)], LATEST):
            raise Refused("bad-event", found[0][1])
        earliest = self.settings.earliest
        return self._write(lambda store: store.erase(user, earliest))

    def erase_whom(self, seq: int) -> Ingested:
        """`erase` for the user whom an operation names, whose id need not be known; refuses one that names nobody."""
        earliest = self.settings.earliest
        return self._write(lambda store: store.erase_name(store.name_at(seq), earliest))

    def settled(self) -> None:
        """Wait until everything of everybody who was to leave is gone."""
        self._counter.let_go()

    @property
    def loading(self) -> Loading:
        """Files, loaded in parts."""
        return Loading(self.access, self.settings, self.faults)

    # Days

    def status(self) -> Status:
        """How far the days have come, and how much has arrived."""
        with self.access.reading() as store:
            return status_of(self.settings, store)

    def close(self, day: date, *, confirmed: bool = True) -> list[str]:
        """Close a day: count it once and publish one row per metric, durable before anyone sees it.

        A day that is closed already returns the rows that were published then.

        Args:
            confirmed: whether a first day that looks like a mistake is meant.

        Raises:
            Refused: another day is next, the day is after today, the horizon is over, or the first day is not meant.
            BudgetExhausted: nothing was counted, charged or released.
            LedgerError: the ledger refuses; nothing was released.
        """
        with self._closing:
            progress = self.access.progress()
            if progress.last is not None and day_number(day) <= progress.last:
                if progress.first is not None and day_number(day) < progress.first:
                    first = calendar_day(progress.first)
                    raise Refused("unknown-day", f"{day} cannot be closed: it lies before the first day, {first}")
                self._finish_count()
                self._finish_closes()
                return self.rows_on(day)
            with self.account.open() as ledger, ledger.transaction():
                periods = self.account.periods(ledger)
                first = first_tick(self.settings, progress, periods, day)
                check_next(self.settings, self.today(), progress, first, day)
                period = self.account.period_to_charge(periods, first, day)
                self.check(ledger)
                if not (confirmed or periods):
                    check_only_store(self.settings, self.account.pays_others(ledger))
                    check_intended(self.settings, self.today(), self.access.reported_days(), day)
                if not periods:
                    self.account.open_budget(ledger)
                self.account.charge(ledger, period)
                # The charge fits; before it is committed and anything drawn, the store is bound to this ledger.
                name = ledger.name
                self.account.check_bound(self._write(lambda store: store.bind(name)), name)
            self._counting.count(day_number(day), period)
            self._leavers.wake()
            self._finish_closes()
        return self.rows_on(day)

    def close_through(self, last: date, report: Callable[[date, float], None] = lambda day, fraction: None) -> int:
        """Close every day from the open one to `last`; returns how many. `report` is told each day and the share done.

        Raises:
            Refused: no first day is known, or a day cannot be closed; days before it stay closed.
        """
        start = first_to_close(self.status().open_day)
        days = max(0, (last - start).days + 1)
        for index in range(days):
            self.close(start + timedelta(days=index))
            report(start + timedelta(days=index), (index + 1) / days)
        return days

    def finish(self) -> None:
        """Finish a close that a crash interrupted, and let those leave who were to leave."""
        with self._closing:
            self._finish_count()
            self._finish_closes()
        self._leavers.wake()

    # Releases

    def release(self, metric: str, day: date) -> str:
        """The published row of one metric and day, byte for byte as it was published.

        Raises:
            Refused: the metric is unknown, or the day is not closed.
        """
        self._check_metric(metric)
        if (row := self._cache.get((metric, day))) is not None:
            return row
        rows = self.releases(metric)
        first = calendar_day(self.access.progress().first)
        periods = self.account.all_periods()
        tick = published_tick(periods[-1].last if periods else None, metric, first, len(rows), day)
        self._cache.update(((metric, day + timedelta(days=index - tick)), row) for index, row in enumerate(rows))
        return rows[tick]

    def releases(self, metric: str) -> list[str]:
        """All published rows of one metric, oldest first."""
        self._check_metric(metric)
        return self.account.releases(metric)

    @property
    def answers(self) -> PublishedAnswers:
        """What is published of questions besides the metrics."""
        return PublishedAnswers(self.account, self.settings)

    def published_days(self) -> int:
        """How many days are published."""
        return self.account.published_days()

    def fresh(self, metric: str, day: date, request_id: str) -> str:
        """A new release of a closed day, from the log as it stands now, charged on its own.

        Args:
            request_id: idempotent key: repeated, it returns the same bytes and charges nothing.

        Raises:
            Refused: the day is not closed, or the key is not a plain word.
            BudgetExhausted: nothing was charged or released.
        """
        if (earlier := self.find_fresh(metric, day, request_id)) is not None:
            return earlier
        self.release(metric, day)
        if not REQUEST_ID.fullmatch(request_id):
            raise Refused("bad-request", "the request id needs 1 to 64 letters, digits or . _ : -")
        plan = plan_release(self.settings.fresh_request(metric, day))
        window = self.settings.series[metric].window
        with self.access.reading() as store:
            check_remembered(store, self.settings, metric, day)
            count = recount(store, day_number(day), window, self.settings.layout)
        # Over one tick a user flips at most once, so that no bound freezes anybody.
        values = np.array([count], dtype=np.int64)
        counts = {metric: Counts(values, window, day, plan.freeze)}
        account = self.account
        stream, budget = account.fresh_stream(metric, day, request_id), account.fresh_budget
        with account.open() as ledger:
            with ledger.transaction():
                self.check(ledger)
                data = account.period_by_settings(1, day).data
                (row,) = publish(ledger, stream, budget, plan, counts, self._clock(), data)
            charges = len(account.own_charges(ledger))
        self._write(lambda store: store.note_charged(charges))
        return row

    def find_fresh(self, metric: str, day: date, request_id: str) -> str | None:
        """The fresh release that this request drew before, if it did."""
        return self.account.released_fresh(metric, day, request_id)

    def truth(self, metric: str) -> Truth:
        """True counts of the closed days; NOT PRIVATE."""
        self._check_metric(metric)
        with self.access.reading() as store:
            counts = store.closed_counts(self.settings.series[metric].window)
            first = calendar_day(store.progress().first)
        return Truth([first + timedelta(days=index) for index in range(len(counts)) if first], counts)

    def preview(self, day: date) -> dict[str, Count]:
        """What closing the open day now would count, by metric; NOT PRIVATE, and nothing is changed.

        Raises:
            Refused: that day is not the open one.
        """
        period = self.account.expected_period(day)
        try:
            with self.access.reading() as store:
                store.progress().require_next(day_number(day))
                wanted = Wanted.of(period, self.settings.fresh_days, day_number(day))
                counts = preview(store, day_number(day), wanted).windows
        except NotNext as error:
            raise Refused("not-next", f"only the open day has a preview: {error}") from error
        return {metric: counts[one.window] for metric, one in self.settings.series.items()}

    def recent(self, most: int = 20) -> list[Activity]:
        """The operations that arrived last, newest first; NOT PRIVATE."""
        with self.access.reading() as store:
            return [activity(*row) for row in store.recent(most)]

    # Budget and periods

    @property
    def renewal(self) -> Renewal:
        """The way to the next period."""
        return Renewal(self.account, self.access, self.settings, self.check)

    def budget(self) -> Budget:
        """The budget as it stands; if nothing was charged yet, as the first close would open it."""
        return self.budgets()[0]

    def budgets(self) -> list[Budget]:
        """The budget and, where it is another one that exists, that of fresh releases."""
        return self.account.budgets()

    def charges(self) -> list[Charge]:
        """What was charged to the budget or for this service, oldest first."""
        return self.account.charges()

    def probe(self) -> Future[None]:
        """Write to the store without changing it; the future fails where that is not possible."""
        self.account.has_ledger()
        return self.access.probe()

    def vitals(self) -> Vitals:
        """How the service stands, for whoever operates it; NOT PRIVATE."""
        return measured(self.settings, self.account, self.access, self._clock())

    def stop(self) -> None:
        """Finish what is queued and close the store."""
        self._counting.stop()
        self._leavers.stop()
        self._writer.stop()

    # How it is done

    def _write(self, work: Callable[[Store], Result]) -> Result:
        return self.access.submit(work).result()

    def check(self, ledger: Ledger) -> None:
        """Refuse to go on where store and ledger do not belong together; called in a transaction of the ledger."""
        with self.access.reading() as store:
            self.account.check(ledger, store)

    def rows_on(self, day: date) -> list[str]:
        """All rows of a closed day, of the metrics and of the questions that are published on it."""
        return [*(self.release(metric, day) for metric in self.settings.series), *self.answers.all_on(day)]

    def _check_metric(self, metric: str) -> None:
        if metric not in self.settings.series:
            raise Refused("unknown-metric", f"there is no such metric; choose {', '.join(self.settings.series)}")

    def _finish_count(self) -> None:
        """Count a day that was left half counted, by the settings that its series were charged for."""
        progress = self.access.progress()
        if progress.sealed is None:
            return
        sealed = EPOCH + timedelta(days=progress.sealed)
        with self.account.open() as ledger, ledger.transaction():
            periods = self.account.periods(ledger)
            first = first_tick(self.settings, progress, periods, sealed)
            check_first(self.settings, first)
            self.check(ledger)
            period = self.account.period_to_charge(periods, first, sealed)
            self.account.charge(ledger, period)
        self._counting.count(progress.sealed, period)

    def _finish_closes(self) -> None:
        """Publish whatever is counted and not yet published: one transaction for all series."""
        if (first := calendar_day(self.access.progress().first)) is None:
            return
        check_first(self.settings, first)
        account = self.account
        with account.open() as ledger:
            with ledger.transaction():
                self.check(ledger)
                with self.access.reading() as store:
                    drawn = publish_counted(account, self.settings, ledger, store, first, self._clock())
            days, charges = account.published_in(ledger), len(account.own_charges(ledger))
        # Only now is it durable, and may be shown.
        self._cache.update(drawn)

        def note(store: Store) -> None:
            store.note_published(days)
            store.note_charged(charges)
            RequestTable(store.connection, day_number(self.today())).forget()

        self._write(note)
