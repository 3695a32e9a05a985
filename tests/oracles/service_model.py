"""What the tests of the live service share: settings, and a history kept by the test that the batch query can count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from dp.presence import NumpyEngine
from dp.presence.daily import EPOCH, day_number
from tests.oracles import postgres
from tests.oracles import presence as presence_oracle
from tests.oracles.logs import log_of
from tests.oracles.presence import Operation as Row
from workbench.service import ADD, ERASE, RETRACT, Operation, Service, Settings, load_settings
from workbench.service.opening import open_store
from workbench.service.store import Store

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
FIRST = date(2026, 1, 1)
START = day_number(FIRST)
FIELDS = {
    "metric", "window", "day", "estimate", "ci_low", "ci_high", "ci_level", "std", "epsilon", "delta", "epsilon_total",
    "delta_total", "mechanism", "sketch", "unit", "w_bound", "horizon", "budget", "budget_remaining", "secure",
}  # fmt: skip
"""What every released row has."""
SIGNS = {ADD: "+", RETRACT: "-", ERASE: "erase"}


def clock() -> datetime:
    return NOW


def day(index: int) -> date:
    """The day so many days after the first one."""
    return FIRST + timedelta(days=index)


def add(user: str, index: int, at: int | None = None) -> Operation:
    """Activity of a user, so many days after the first one."""
    return Operation(user, START + index, ADD, None if at is None else START + at)


def retract(user: str, index: int, at: int | None = None) -> Operation:
    """The retraction of it."""
    return Operation(user, START + index, RETRACT, None if at is None else START + at)


def erasure(user: str, at: int | None = None) -> Operation:
    """An erasure, as an operation."""
    return Operation(user, None, ERASE, None if at is None else START + at)


def settings_in(folder: Path, **changes: object) -> Settings:
    """Settings with store and ledger in a folder, or its database; `mau__epsilon=1` means mau.epsilon = 1."""
    given = {**places_in(folder), **changes}
    return load_settings(None, {}, [(name.replace("__", "."), str(value)) for name, value in given.items()])


def places_in(folder: Path, store: str = "store.db", ledger: str = "ledger.db") -> dict[str, object]:
    """The settings that say where store, ledger and keys lie."""
    port = postgres.chosen()
    return {"store": folder / store, "ledger": folder / ledger} if port is None else postgres.places_on(port, folder)


def nearly_exact(folder: Path, **changes: object) -> Settings:
    """Settings under which a fresh release, rounded, is the count it was drawn from: its deviation is 0.09 users.

    Far more ε than anyone should spend.
    """
    exact = {
        f"{metric}__{name}": value
        for metric in ("dau", "wau", "mau")
        for name, value in {"epsilon": 100, "delta": 1e-3, "mechanism": "gaussian"}.items()
    }
    budget = {"budget_epsilon": 1e8, "budget_delta": 0.9, "horizon": 120, "future_days": "true"}
    return settings_in(folder, **{**exact, **budget, **changes})


@contextmanager
def service_on(settings: Settings, wrap: Callable[[Store], Store] = lambda store: store) -> Iterator[Service]:
    """A service on a store that `wrap` may exchange for a broken one."""
    service = Service(settings, clock, wrap(open_store(settings.store_place, settings.key_path)))
    try:
        service.finish()
        yield service
    finally:
        service.stop()


@dataclass
class History:
    """Everything that a service was told, as the rows of a log: each with the tick at which it arrived.

    Attributes:
        floor: the open day, or the first day that is known to come; None before either is known.
        cancelled: rows that an erasure took back before they had counted.
    """

    floor: int | None
    rows: list[Row] = field(default_factory=list)
    cancelled: int = 0
    connection: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect, repr=False)

    def ingest(self, operations: Sequence[Operation]) -> int:
        """Add operations; returns how many of them were about a day before the open one."""
        late = 0
        for user, about, op, at, _ in operations:
            known = [number for number in (self.floor, about, at) if number is not None]
            # An erasure without a time of its own, or with one that has come, is carried out at once.
            if op == ERASE and (at is None or (self.floor is not None and at <= self.floor)):
                self.erase(user)
            else:
                self.rows.append(Row(user, about, SIGNS[op], max(known)))
            late += about is not None and self.floor is not None and about < self.floor
        return late

    def erase(self, user: str) -> None:
        """Erase a user now: activity that has not counted yet never will; an erasure that is to come stays."""
        floor = self.floor
        kept = [
            row for row in self.rows if row.user != user or row.op == "erase" or (floor is not None and row.at <= floor)
        ]
        self.cancelled += len(self.rows) - len(kept)
        self.rows = kept
        if floor is not None:
            self.rows.append(Row(user, None, "erase", floor))

    def close(self) -> None:
        """Go on to the next day."""
        assert self.floor is not None
        self.floor += 1

    def counts(self, windows: Sequence[int], first: int, last: int, w_bound: int | None) -> dict[int, list[int]]:
        """Window → users present at each tick first .. last, by the batch query."""
        if not self.rows:
            return {window: [0] * (last - first + 1) for window in windows}
        log = log_of(self.rows, self.connection)
        flips = NumpyEngine(log.connection).daily_flips(windows, calendar(first), calendar(last), w_bound)
        return {window: [int(count) for count in flips[window].counts.values] for window in windows}

    def slow_counts(self, window: int, first: int, last: int, w_bound: int | None) -> list[int]:
        """The same of one window, by replaying the log tick by tick."""
        shown = [
            presence_oracle.frozen(series, w_bound)
            for series in presence_oracle.presence(self.rows, window, first, last).values()
        ]
        return [sum(column) for column in zip(*shown, strict=True)] if shown else [0] * (last - first + 1)

    def recount(self, window: int, about: int) -> int:
        """Users active in the window that ends on a past day, counting everything that has arrived by the open day.

        The batch query knows no second look; a log in which all of it arrives on that day has the same answer.
        """
        assert self.floor is not None
        arrived = sorted((row for row in self.rows if row.at <= self.floor), key=lambda row: row.at)
        before = [row._replace(at=about) for row in arrived if row.day is None or row.day <= about]
        return History(self.floor, before, connection=self.connection).counts([window], about, about, None)[window][0]


def calendar(number: int) -> date:
    """The date of a day number."""
    return EPOCH + timedelta(days=number)
