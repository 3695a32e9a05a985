"""All behaviour of the live service, without a framework: what HTTP, command line and pages call.

Operations go to the store, releases come from the ledger. Closing a day takes two steps that a crash may separate:
the store counts the day for good, then the ledger commits its releases, their streams' states and the budget in one
transaction. Whoever comes next finishes a close that was cut off; nothing is counted twice or drawn twice.
"""

from __future__ import annotations

import functools
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple, TypeVar

import numpy as np

from dp.accounting.composition import Guarantee, basic
from dp.counts import Counts
from dp.ledger import Budget, BudgetExhausted, Charge, Ledger, OtherParameters, open_ledger
from dp.log import is_utf8
from dp.presence.daily import EPOCH, day_number
from dp.release import Plan, charged, freezes, plan_release, promise, protected, publish
from workbench.service.settings import Settings
from workbench.service.store import (
    ADD,
    ERASE,
    RETRACT,
    Count,
    Ingested,
    NotNext,
    Operation,
    Progress,
    Store,
    open_store,
)
from workbench.service.writer import Writer

Result = TypeVar("Result")
Clock = Callable[[], datetime]

LONGEST_USER = 512
WHO = 8
SHOWN = 3
MOST_FAULTS = 100
EARLIEST, LATEST = day_number(date(1900, 1, 1)), day_number(date(2200, 12, 31))
REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class Refused(Exception):  # noqa: N818 - the name says what happened
    """A request that cannot be met as things stand; the message says what to do.

    Attributes:
        kind: "unknown-metric", "unknown-day", "open-day", "not-next", "future-day", "horizon-over", "bad-event",
            "bad-request", "other-store" or "other-settings".
        faults: (index, reason) of operations that cannot be right.
    """

    def __init__(self, kind: str, message: str, faults: Sequence[tuple[int, str]] = ()) -> None:
        self.kind = kind
        self.faults = tuple(faults)
        super().__init__(message)


def bad_events(faults: Sequence[tuple[int, str]], unit: str = "event", start: int = 0) -> Refused:
    """A refusal that names operations by their index (from `start` on); nothing was stored."""
    shown = "; ".join(f"{unit} {start + index}: {reason}" for index, reason in faults[:SHOWN])
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return Refused("bad-event", f"nothing was stored: {shown}{more}", faults[:MOST_FAULTS])


@dataclass(frozen=True)
class Status:
    """How a service stands. `operations` is the number of the last operation that arrived."""

    first: date | None
    last: date | None
    open_day: date | None
    operations: int


@dataclass(frozen=True)
class Truth:
    """True counts of one metric by day; NOT PRIVATE. The bounded ones freeze users after W_BOUND flips."""

    days: list[date]
    counts: list[Count]


class Activity(NamedTuple):
    """One line of the log as it stands, for the operator's eyes; NOT PRIVATE. `who` begins the user's pseudonym."""

    seq: int
    who: str | None
    day: date | None
    counts_from: date
    op: str


class Service:
    """A running service; use `open_service`. Its methods may be called from any thread."""

    def __init__(self, settings: Settings, clock: Clock, store: Store) -> None:
        self.settings = settings
        self._clock = clock
        self._store_name = store.name
        self._writer = Writer(store)
        self._closing = threading.Lock()
        self._cache: dict[tuple[str, date], str] = {}

    # What is promised

    @property
    def promises(self) -> dict[str, str]:
        """Metric → one plain sentence: what is promised to whom."""
        first = self.settings.first_day or self.today()
        return {metric: promise(self.settings.request(metric, first)) for metric in self.settings.series}

    @property
    def promise(self) -> str:
        """What is promised to whom by all series together, in one plain sentence."""
        return promise_of_all(self.settings)

    def today(self) -> date:
        """The calendar day in the service's time zone."""
        return self._clock().astimezone(self.settings.zone).date()

    # Operations

    def ingest(self, operations: Sequence[Operation]) -> Ingested:
        """Store operations, all or none; returns when they are durable.

        Raises:
            Refused: an operation that cannot be right; the message says which, by its index.
        """
        if faults := self.faults(operations):
            raise bad_events(faults)
        return self.ingesting([operations]).result()[0]

    def ingesting(self, batches: Sequence[Sequence[Operation]]) -> Future[list[Ingested]]:
        """Store batches in which `faults` finds nothing, all or none; the future is done when they are durable."""
        earliest = self._earliest
        return self._writer.submit(lambda store: store.append_all(batches, earliest))

    def faults(self, operations: Iterable[Operation]) -> list[tuple[int, str]]:
        """(index, reason) of every operation that cannot be right."""
        latest = LATEST if self.settings.future_days else day_number(self.today())
        return [
            (index, fault)
            for index, operation in enumerate(operations)
            if not _plain(operation, latest) and (fault := _fault(operation, latest))
        ]

    def erase(self, user: str) -> int:
        """Remove every row of a user; returns how many there were. The flips spent stay, under a keyed pseudonym."""
        if fault := _fault(Operation(user, None, ERASE), LATEST):
            raise Refused("bad-event", fault)
        earliest = self._earliest
        return self._write(lambda store: store.erase(user, earliest))

    def resume(self, file: str) -> int:
        """How many rows of a file (named by its fingerprint) are stored already."""
        with self._reading() as connection:
            return Store(connection).loaded(file)

    def check_rows(self, operations: Iterable[Operation], start: int = 0) -> None:
        """Refuse a file of which a row cannot be right, before any of it is stored.

        Args:
            start: how many rows of the file there are before these.

        Raises:
            Refused: it names rows by their number in the order of arrival, from 1.
        """
        if faults := self.faults(operations):
            raise bad_events(faults, "row", start + 1)

    def load(self, file: str, start: int, operations: Sequence[Operation]) -> Ingested:
        """Store rows of a file from number `start` on and remember how far it got, in one transaction.

        Raises:
            Refused: a bad row; or somebody else loads this file, and is not where this load is.
        """
        self.check_rows(operations, start)
        earliest = self._earliest

        def store_rows(store: Store) -> Ingested:
            if store.loaded(file) != start:
                raise Refused("not-next", "another process is loading this file; wait for it and start again")
            ingested = store.append(operations, earliest)
            store.note_loaded(file, start + len(operations))
            return ingested

        return self._write(store_rows)

    # Days

    def status(self) -> Status:
        """How far the days have come, and how much has arrived."""
        with self._reading() as connection:
            store = Store(connection)
            progress, operations = store.progress(), store.last_seq()
        return Status(_day(progress.first), _day(progress.last), _day(progress.open_from(self._earliest)), operations)

    def close(self, day: date) -> list[str]:
        """Count a day for good and publish it: one row per metric, durable before anyone sees it.

        A day that is closed already returns the rows that were published then.

        Raises:
            Refused: another day is next, the day is after today, or the horizon is over.
            BudgetExhausted: nothing was counted, charged or released.
            LedgerError: the ledger refuses; nothing was released.
        """
        with self._closing:
            progress = self._progress()
            if progress.last is not None and day_number(day) <= progress.last:
                if progress.first is not None and day_number(day) < progress.first:
                    first = _day(progress.first)
                    raise Refused("unknown-day", f"{day} cannot be closed: it lies before the first day, {first}")
                self._finish_closes()
                return [self.release(metric, day) for metric in self.settings.series]
            with self._ledger() as ledger, ledger.transaction():
                first = self._first(ledger, progress, day)
                self._may_close(progress, first, day)
                self._check_ledger(ledger)
                self._prepare_budget(ledger)
                self._charge(ledger, first)
                # The charge fits; before it is committed and anything drawn, the store is bound to this ledger.
                name = ledger.name
                self._check_bound(self._write(lambda store: store.bind(name)), name)
            bounds = self._bounds
            # Another process may have closed the day meanwhile; then its count stands.
            with suppress(NotNext):
                self._write(lambda store: store.close(day_number(day), bounds))
            self._finish_closes()
        return [self.release(metric, day) for metric in self.settings.series]

    def close_through(self, last: date, report: Callable[[date, float], None] = lambda day, fraction: None) -> int:
        """Close every day from the open one to `last`; returns how many. `report` is told each day and the share done.

        Raises:
            Refused: no first day is known, or a day cannot be closed; days before it stay closed.
        """
        start = self.status().open_day
        if start is None:
            raise Refused("not-next", "no day is closed yet, so the first one must be named: close --day, or first_day")
        days = max(0, (last - start).days + 1)
        for index in range(days):
            self.close(start + timedelta(days=index))
            report(start + timedelta(days=index), (index + 1) / days)
        return days

    def finish(self) -> None:
        """Finish a close that a crash cut off."""
        with self._closing:
            self._finish_closes()

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
        progress = self._progress()
        first = _day(progress.first)
        if first is None or not rows:
            raise Refused("open-day", f"no day is closed yet, so there is no {metric} of {day}: close it first")
        tick = (day - first).days
        if tick < 0:
            raise Refused("unknown-day", f"{metric} begins on {first}; there is none for {day}")
        if self.settings.horizon is not None and tick >= self.settings.horizon:
            raise Refused("unknown-day", f"{metric} ends after {self.settings.horizon} days, before {day}")
        if tick >= len(rows):
            open_day = first + timedelta(days=len(rows))
            raise Refused("open-day", f"{day} is not closed yet: {open_day} is the next to be closed")
        self._remember(metric, first, rows)
        return rows[tick]

    def releases(self, metric: str) -> list[str]:
        """All published rows of one metric, oldest first."""
        self._check_metric(metric)
        if not self.settings.ledger_path.exists():
            return []
        with open_ledger(self.settings.ledger_path) as ledger:
            return ledger.releases(self._stream(metric), metric)

    def published_days(self) -> int:
        """How many days are published."""
        if not self.settings.ledger_path.exists():
            return 0
        with open_ledger(self.settings.ledger_path) as ledger:
            return min(ledger.count_releases(self._stream(metric), metric) for metric in self.settings.series)

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
            raise Refused("bad-request", f"the request id {request_id[:80]!r} needs 1 to 64 letters, digits or . _ : -")
        settings = self.settings
        plan = plan_release(settings.fresh_request(metric, day))
        window = settings.series[metric].window

        def recount(store: Store) -> int:
            open_day = store.progress().open_day
            assert open_day is not None
            return store.recount(day_number(day), window, open_day)

        count = self._write(recount)
        stream = self._fresh_stream(metric, day, request_id)
        budget = settings.fresh_budget or settings.budget
        with self._ledger() as ledger:
            with ledger.transaction():
                self._check_ledger(ledger)
                # Over one tick a user flips at most once, so that no bound freezes anybody.
                counts = {metric: Counts(np.array([count], dtype=np.int64), window, day, plan.freeze)}
                (row,) = publish(ledger, stream, budget, plan, counts, self._clock(), self._data)
            charges = len(self._own_charges(ledger))
        self._write(lambda store: store.note_charged(charges))
        return row

    def find_fresh(self, metric: str, day: date, request_id: str) -> str | None:
        """The fresh release that this request drew before, if it did."""
        if not self.settings.ledger_path.exists():
            return None
        with open_ledger(self.settings.ledger_path) as ledger:
            rows = ledger.releases(self._fresh_stream(metric, day, request_id), metric)
        return rows[0] if rows else None

    def truth(self, metric: str) -> Truth:
        """True counts of the closed days; NOT PRIVATE."""
        self._check_metric(metric)
        with self._reading() as connection:
            store = Store(connection)
            counts = store.closed_counts(self.settings.series[metric].window)
            first = _day(store.progress().first)
        return Truth([first + timedelta(days=index) for index in range(len(counts)) if first], counts)

    def preview(self, day: date) -> dict[str, Count]:
        """What closing the open day now would count, by metric; NOT PRIVATE, and nothing is changed.

        Raises:
            Refused: that day is not the open one.
        """
        bounds = self._bounds
        try:
            counts = self._write(lambda store: store.preview(day_number(day), bounds))
        except NotNext as error:
            raise Refused("not-next", f"only the open day has a preview: {error}") from error
        return {metric: counts[one.window] for metric, one in self.settings.series.items()}

    def recent(self, most: int = 20) -> list[Activity]:
        """The operations that arrived last, newest first; NOT PRIVATE."""
        with self._reading() as connection:
            rows = Store(connection).recent(most)
        names = {ADD: "+", RETRACT: "-", ERASE: "erase"}
        return [
            Activity(seq, None if name is None else name.hex()[:WHO], _day(day), EPOCH + timedelta(days=at), names[op])
            for seq, name, day, at, op in rows
        ]

    # Budget

    def budget(self) -> Budget:
        """The budget as it stands; if nothing was charged yet, as the first close would open it."""
        return self.budgets()[0]

    def budgets(self) -> list[Budget]:
        """The budget and, where it is another one that exists, that of fresh releases."""
        settings = self.settings
        cap = Guarantee(settings.budget_epsilon, settings.budget_delta)
        found = {settings.budget: Budget(settings.budget, self.today(), None, cap, Guarantee(0.0, 0.0), cap)}
        if settings.ledger_path.exists():
            with open_ledger(settings.ledger_path) as ledger:
                names = (settings.budget, settings.fresh_budget)
                found |= {budget.name: budget for budget in ledger.budgets() if budget.name in names}
        return list(found.values())

    def charges(self) -> list[Charge]:
        """What was charged to the budget or for this service, oldest first."""
        if not self.settings.ledger_path.exists():
            return []
        with open_ledger(self.settings.ledger_path) as ledger:
            return [
                charge for charge in ledger.charges() if charge.budget == self.settings.budget or self._owns(charge)
            ]

    def checking(self) -> Future[None]:
        """Write to the store without changing it; the future fails with a sqlite3.Error where that is not possible."""
        return self._writer.submit(lambda store: store.note_published(0))

    def stop(self) -> None:
        """Finish what is queued and close the store."""
        self._writer.stop()

    # How it is done

    @property
    def _earliest(self) -> int | None:
        first = self.settings.first_day
        return None if first is None else day_number(first)

    @property
    def _bounds(self) -> dict[int, int | None]:
        return {
            one.window: one.w_bound if freezes(one.unit, one.mechanism) else None
            for one in self.settings.series.values()
        }

    @property
    def _data(self) -> str:
        """What a stream's counts come from, besides its request: where a day is a day is fixed, too."""
        return f"{self._store_name} {self.settings.timezone}"

    def _stream(self, metric: str) -> str:
        return f"live-{self._store_name}/{metric}"

    def _fresh_stream(self, metric: str, day: date, request_id: str) -> str:
        return f"{self._stream(metric)}/{day}/{request_id}"

    @functools.lru_cache(maxsize=4)  # noqa: B019 - a service lives as long as its process
    def _plans(self, first: date) -> dict[str, Plan]:
        return {metric: plan_release(self.settings.request(metric, first)) for metric in self.settings.series}

    def _write(self, work: Callable[[Store], Result]) -> Result:
        return self._writer.submit(work).result()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.settings.store_path, isolation_level=None, timeout=60)
        try:
            yield connection
        finally:
            connection.close()

    def _progress(self) -> Progress:
        with self._reading() as connection:
            return Store(connection).progress()

    def _check_metric(self, metric: str) -> None:
        if metric not in self.settings.series:
            raise Refused("unknown-metric", f"there is no metric {metric!r}; choose {', '.join(self.settings.series)}")

    def _first(self, ledger: Ledger, progress: Progress, day: date) -> date:
        """The first tick: chosen by a close, also by one that was cut off after its charge, or set, or else `day`."""
        chosen = _day(progress.first)
        if chosen is None and (charges := self._own_charges(ledger)):
            chosen = date.fromisoformat(charges[0].specification["first"])
        return chosen or self.settings.first_day or day

    def _check_first(self, first: date) -> None:
        wanted = self.settings.first_day
        if wanted not in (None, first):
            raise Refused(
                "other-settings",
                f"first_day is {wanted}, but the first closed day was {first}: set it back, or leave it out",
            )

    def _may_close(self, progress: Progress, first: date, day: date) -> None:
        following = first if progress.last is None else EPOCH + timedelta(days=progress.last + 1)
        if day != following:
            raise Refused("not-next", f"{day} cannot be closed: {following} is next, and days are closed in order")
        if not self.settings.future_days and day > self.today():
            raise Refused(
                "future-day",
                f"{day} is after today, {self.today()} in {self.settings.timezone}, and a closed day is never "
                "reopened; for replays and demonstrations set future_days = true",
            )
        if self.settings.horizon is not None and (day - first).days >= self.settings.horizon:
            raise Refused(
                "horizon-over",
                f"the guarantee covers {self.settings.horizon} days from {first}, and {day} is after them; "
                "open a new store with a budget of its own for the next period",
            )

    def _prepare_budget(self, ledger: Ledger) -> Budget:
        settings = self.settings
        with ledger.transaction():
            if settings.budget not in [budget.name for budget in ledger.budgets()]:
                cap = Guarantee(settings.budget_epsilon, settings.budget_delta)
                ledger.create_budget(settings.budget, cap, self._clock().date(), None)
            return ledger.budget(settings.budget)

    def _charge(self, ledger: Ledger, first: date) -> None:
        """Charge all series for the whole horizon, or none; free when it was done before."""
        plans = {self._stream(metric): plan for metric, plan in self._plans(first).items()}
        total = basic([charged(plan.request) for stream, plan in plans.items() if ledger.find_charge(stream) is None])
        standing = ledger.budget(self.settings.budget)
        # Asked for as a whole, so that a refusal names the whole; the ledger itself decides to the last digit.
        if any(wanted > left * (1 + 1e-9) for wanted, left in zip(total, standing.remaining, strict=True)):
            raise BudgetExhausted(standing, total)
        for stream, plan in plans.items():
            specification = {**plan.request.specification(), "data": self._data}
            ledger.charge(stream, self.settings.budget, charged(plan.request), specification, self._clock())

    def _check_ledger(self, ledger: Ledger) -> None:
        """Refuse to go on where store and ledger do not belong together: a published day would be drawn again.

        Called under the ledger's lock. Others commit to the ledger before they note it in the store, and count a day
        in the store before they publish it, so in whatever they are cut off a healthy pair passes.
        """
        with self._reading() as connection:
            store = Store(connection)
            bound, published, charged, progress = store.ledger, store.published, store.charged, store.progress()
        self._check_bound(bound, ledger.name)
        days = progress.days
        released = [ledger.count_releases(self._stream(metric), metric) for metric in self.settings.series]
        charges = len(self._own_charges(ledger))
        if charges < charged or min(released) < published or max(released) > days:
            older = "store" if max(released) > days else "ledger"
            raise Refused(
                "other-store",
                f"the store {self.settings.store} has closed {days} days, published {published} and made {charged} "
                f"charges, the ledger {self.settings.ledger} holds {min(released)} days and {charges} charges of it: "
                f"the {older} is missing or an old copy; put the newest one back, or begin with a new store and a new "
                "budget",
            )

    def _check_bound(self, bound: str | None, name: str) -> None:
        if bound not in (None, name):
            raise Refused(
                "other-store",
                f"the store {self.settings.store} publishes to another ledger than {self.settings.ledger}: the one it "
                "began with is missing or has another name; put it back or name it, or days would be drawn twice",
            )

    @contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        """The ledger; streams that were opened with other settings are refused in the service's own words."""
        with open_ledger(self.settings.ledger_path) as ledger:
            try:
                yield ledger
            except OtherParameters as error:
                raise Refused(
                    "other-settings",
                    f"what was published so far was published with other settings ({error.differences}); they are "
                    "fixed by the first close: set them back, or begin with a new store and a new budget",
                ) from error

    def _own_charges(self, ledger: Ledger) -> list[Charge]:
        return [charge for charge in ledger.charges() if self._owns(charge)]

    def _owns(self, charge: Charge) -> bool:
        return charge.stream.startswith(f"live-{self._store_name}/")

    def _finish_closes(self) -> None:
        """Publish whatever is counted and not yet published: one transaction for all series."""
        first = _day(self._progress().first)
        if first is None:
            return
        self._check_first(first)
        with self._ledger() as ledger:
            with ledger.transaction():
                self._check_ledger(ledger)
                counts = {metric: self._counts(one.window, first) for metric, one in self.settings.series.items()}
                rows = {
                    metric: publish(
                        ledger, self._stream(metric), self.settings.budget, plan, {metric: counts[metric]},
                        self._clock(), self._data,
                    )
                    for metric, plan in self._plans(first).items()
                }  # fmt: skip
            charges = len(self._own_charges(ledger))
        # Only now is it durable, and may be shown.
        for metric, published in rows.items():
            self._remember(metric, first, published)
        days = min(len(series) for series in counts.values())

        def note(store: Store) -> None:
            store.note_published(days)
            store.note_charged(charges)

        self._write(note)

    def _remember(self, metric: str, first: date, rows: Sequence[str]) -> None:
        self._cache.update(((metric, first + timedelta(days=index)), row) for index, row in enumerate(rows))

    def _counts(self, window: int, first: date) -> Counts:
        with self._reading() as connection:
            counts = Store(connection).closed_counts(window)
        # A day is counted only after its series is charged, and the charge holds W_BOUND fast.
        bounded = np.array([count.bounded for count in counts], dtype=np.int64)
        return Counts(bounded, window, first, self._bounds[window])


@contextmanager
def open_service(settings: Settings, clock: Clock) -> Iterator[Service]:
    """Open the service on its store and ledger, making them where there are none, and finish what a crash cut off.

    Raises:
        StoreError: the store or its key cannot be used.
        LedgerError: the ledger cannot be used, or its streams were opened with other settings.
        Refused: store and ledger do not belong together.
    """
    service = Service(settings, clock, open_store(settings.store_path, settings.key_path))
    try:
        service.finish()
        yield service
    finally:
        service.stop()


def _day(number: int | None) -> date | None:
    return None if number is None else EPOCH + timedelta(days=number)


def _plain(operation: Operation, latest: int) -> bool:
    """Whether nothing can be wrong, seen at a glance: nearly all operations are like this."""
    user, day, op, at = operation
    return (
        (op in (ADD, RETRACT))
        and at is None
        and day is not None
        and EARLIEST <= day <= latest
        and user.isascii()
        and user.isalnum()
        and len(user) <= LONGEST_USER
    )


def _fault(operation: Operation, latest: int) -> str | None:
    user, day, op, at = operation
    if not user.strip() or len(user) > LONGEST_USER or "\0" in user or not is_utf8(user):
        return f"user is {user[:40]!r}; it needs 1 to {LONGEST_USER} characters of text, not all blank and no NUL"
    if at is not None and not EARLIEST <= at <= LATEST:
        return "at is not between 1900 and 2200"
    if op == ERASE:
        return None if day is None else "an erasure has no day"
    if op not in (ADD, RETRACT):
        return f"op is {op!r}; it is ADD, RETRACT or ERASE"
    if day is None or not EARLIEST <= day <= LATEST:
        return "day is missing or not between 1900 and 2200"
    if day > latest:
        return (
            f"day {EPOCH + timedelta(days=day)} is after today, {EPOCH + timedelta(days=latest)}; "
            "for replays and demonstrations set future_days = true"
        )
    return None


def promise_of_all(settings: Settings) -> str:
    """What is promised to whom by all series together, in one plain sentence."""
    requests = {metric: settings.request(metric, EPOCH) for metric in settings.series}
    total = basic([charged(request) for request in requests.values()])
    span = "however many days are" if settings.horizon is None else f"over all {settings.horizon} days together"
    parts = ", ".join(
        f"{metric.upper()} ({guarantee.epsilon:g}, {guarantee.delta:g})"
        for metric, guarantee in ((metric, charged(request)) for metric, request in requests.items())
    )
    groups: dict[str, list[str]] = {}
    for metric, request in requests.items():
        groups.setdefault(protected(request), []).append(metric.upper())
    if len(groups) == 1:
        (whom,) = groups
    else:
        whom = ", and for ".join(f"{whom} (in {', '.join(metrics)})" for whom, metrics in groups.items())
    return (
        f"Promised: ({total.epsilon:g}, {total.delta:g})-differential privacy of everything published {span} "
        f"({parts}), for {whom}; a fresh release of a past day is charged on top."
    )


__all__ = [
    "Activity", "Refused", "Service", "Status", "Truth", "bad_events", "open_service", "promise_of_all",
]  # fmt: skip
