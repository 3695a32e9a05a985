"""Somebody charges one budget from many threads and processes at once, with amounts that are none, keys used before, a
clock that is put back and old copies of the file.

They win if more is spent than the cap, if a charge is lost, or if something comes for nothing.
"""

from __future__ import annotations

import math
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Protocol

import numpy as np

from dp.accounting.composition import Guarantee
from dp.auditing.attacks.logs import FIRST
from dp.auditing.attacks.outcome import OURS, Observation, Setting, Target
from dp.auditing.attacks.processes import at_once
from dp.ledger import Ledger, LedgerError, open_ledger
from dp.release import Request, plan_release, publish, stated_counts

CRITERION = "what is charged never exceeds the cap, every charge counts, and nothing but a charge buys a release"

CAP = 1.0
AMOUNT = 0.05
WORKERS = 8
LARGE_AMOUNT = 0.6
"""What each process charges: the budget has room for one of them."""
PAUSE = 0.3
"""Seconds between looking and writing, where processes leave a gap; they start within much less."""
TINY = (5e-324, 1e-300, 1e-30, 1e-10)
INVALID_AMOUNTS = (0.0, -1.0, -5e-324, math.nan, math.inf, -math.inf)
PERIOD = timedelta(days=30)


class BudgetClient(Protocol):
    """A budget, as one connection to it sees it."""

    def charge(self, key: str, epsilon: float, now: datetime) -> None:
        """Charge that much.

        Raises:
            LedgerError: it does not fit, the budget's period is not running, or the key stands for something else.
            ValueError: it is no amount.
        """

    def spent(self) -> float:
        """What the budget says was charged to it."""


OpenClient = Callable[[], AbstractContextManager[BudgetClient]]
"""Opens a connection to one and the same budget: CAP of ε, from `Setting.now` on for PERIOD. Can be pickled."""
Wait = Callable[[], None]
"""Called by a purse that leaves a gap between looking and writing: the attacker chooses when the other workers run."""


def attack(setting: Setting, new: Callable[[Setting, Wait], OpenClient]) -> tuple[Observation, ...]:
    """Race for a budget, charge what is no amount, use keys again, and put the clock back."""
    return (
        _race_of_threads(setting, new),
        _race_of_processes(setting, new),
        *_amounts(setting, new(setting, _no_wait)),
        *_keys(setting, new(setting, _no_wait)),
        *_clock(setting, new(setting, _no_wait)),
    )


def _no_wait() -> None:
    """Do not wait."""


def _race_of_threads(setting: Setting, new: Callable[[Setting, Wait], OpenClient]) -> Observation:
    barrier = Barrier(WORKERS)

    def wait() -> None:
        # All of them look before any of them writes. A worker that is refused early comes no more, so none waits long.
        try:
            barrier.wait(timeout=0.2)
        except BrokenBarrierError:
            return

    work = partial(_charge_repeatedly, new(setting, wait), setting.trials(5, 25), AMOUNT, setting.now)
    with ThreadPoolExecutor(WORKERS) as pool:
        granted = sum(pool.map(work, range(WORKERS)))
    return Observation(
        "ε granted to threads that charge at the same time, of a cap of 1", round(granted * AMOUNT, 9), CAP
    )


def _race_of_processes(setting: Setting, new: Callable[[Setting, Wait], OpenClient]) -> Observation:
    open_client = new(setting, partial(time.sleep, PAUSE))
    work = partial(_charge_repeatedly, open_client, setting.trials(2, 10), LARGE_AMOUNT, setting.now)
    granted = sum(at_once(work, range(setting.trials(2, 4))))
    return Observation(
        "ε granted to processes that charge at the same time, of a cap of 1", round(granted * LARGE_AMOUNT, 9), CAP
    )


def _charge_repeatedly(open_client: OpenClient, charges: int, amount: float, now: datetime, worker: int) -> int:
    """How many of a worker's charges were granted."""
    with open_client() as client:
        return sum(_try_charge(client, f"{worker} {number}", amount, now) for number in range(charges))


def _amounts(setting: Setting, open_client: OpenClient) -> Iterator[Observation]:
    with open_client() as client:
        lost = 0
        # A float that holds a half holds nothing of what is added to it below 1e-16.
        client.charge("half", CAP / 2, setting.now)
        for number, amount in enumerate(TINY):
            before = client.spent()
            granted = _try_charge(client, f"tiny {number}", amount, setting.now)
            lost += granted and client.spent() <= before
        yield Observation("tiny charges that were granted and not counted", lost, 0)
        free = sum(
            _try_charge(client, f"none {number}", amount, setting.now) for number, amount in enumerate(INVALID_AMOUNTS)
        )
        yield Observation("charges that are no amounts and were granted", free, 0)


def _keys(setting: Setting, open_client: OpenClient) -> Iterator[Observation]:
    with open_client() as client:
        for _ in range(5):
            _try_charge(client, "key", AMOUNT, setting.now)
        yield Observation("charges for one key", round(client.spent() / AMOUNT, 9), 1)
        more = _try_charge(client, "key", 10 * AMOUNT, setting.now)
        yield Observation("larger charges granted under a key that was used", more, 0)


def _clock(setting: Setting, open_client: OpenClient) -> Iterator[Observation]:
    times = (setting.now, setting.now + 2 * PERIOD, setting.now - PERIOD, setting.now)
    granted, outside = 0, 0
    with open_client() as client:
        for number, now in enumerate(times * setting.trials(2, 10)):
            while _try_charge(client, f"{number} {granted}", 0.25, now):
                granted += 1
                outside += now != setting.now
    yield Observation("ε granted while the clock went to and fro, of a cap of 1", granted * 0.25, CAP)
    yield Observation("charges granted outside the period of the budget", outside, 0)


def _try_charge(client: BudgetClient, key: str, epsilon: float, now: datetime) -> bool:
    try:
        client.charge(key, epsilon, now)
    except (LedgerError, ValueError):
        return False
    return True


@dataclass(frozen=True)
class LedgerClient:
    """A budget of the ledger."""

    ledger: Ledger

    def charge(self, key: str, epsilon: float, now: datetime) -> None:
        """`Ledger.charge`."""
        self.ledger.charge(key, "team", Guarantee(epsilon, 0.0), {}, now)

    def spent(self) -> float:
        """`Budget.spent`."""
        return self.ledger.budget("team").spent.epsilon


@contextmanager
def _open_ledger_client(path: Path) -> Iterator[BudgetClient]:
    with open_ledger(path) as ledger:
        yield LedgerClient(ledger)


def new_ledger_budget(setting: Setting, wait: Wait) -> OpenClient:
    """The ledger on a file of its own; nobody can make it wait between looking and writing."""
    path = setting.new_folder() / "ledger.db"
    with open_ledger(path) as ledger:
        ledger.create_budget("team", Guarantee(CAP, 0.0), setting.now.date(), (setting.now + PERIOD).date())
    return partial(_open_ledger_client, path)


@dataclass(frozen=True)
class NaiveClient:
    """A table of charges in floats: look what was spent, refuse what would exceed the cap, write.

    Attributes:
        monthly: whether every month of the clock begins with nothing spent.
    """

    connection: sqlite3.Connection
    wait: Wait
    monthly: bool

    def charge(self, key: str, epsilon: float, now: datetime) -> None:
        """Look, then write."""
        month = f"{now:%Y-%m}" if self.monthly else ""
        if self._spent_in(month) + epsilon > CAP:
            raise LedgerError(f"the budget has no room for {epsilon}")
        self.wait()
        self.connection.execute("INSERT INTO charges VALUES (?, ?, ?)", (key, month, epsilon))
        self.wait()

    def spent(self) -> float:
        """The sum of all months."""
        (spent,) = self.connection.execute("SELECT total(epsilon) FROM charges").fetchone()
        return float(spent)

    def _spent_in(self, month: str) -> float:
        query = "SELECT total(epsilon) FROM charges WHERE month = ?"
        return float(self.connection.execute(query, (month,)).fetchone()[0])


@contextmanager
def _open_naive_client(path: Path, wait: Wait, monthly: bool) -> Iterator[BudgetClient]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as connection:
        yield NaiveClient(connection, wait, monthly)


def new_naive_budget(setting: Setting, wait: Wait, monthly: bool) -> OpenClient:
    """A naive purse on a file of its own."""
    path = setting.new_folder() / "naive.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        # Without a type of its own the column keeps what it is given; NaN becomes NULL, which no sum counts.
        connection.execute("CREATE TABLE charges (key, month, epsilon)")
    return partial(_open_naive_client, path, wait, monthly)


def restore_copy(setting: Setting) -> tuple[Observation, ...]:
    """Publish, put back a copy of the file from before, and publish again.

    A file cannot know that it is old, so nothing is claimed: the readings say what such a copy costs. The live service,
    whose store remembers what was published, refuses it (docs/guarantees.md, section 9.3).
    """
    ticks = 8
    guarantee = Guarantee(CAP, 1e-6)
    plan = plan_release(Request({"dau": 1}, "user-day", 2, guarantee, "gaussian", FIRST, ticks, {"dau": 1.0}))
    counts = stated_counts(plan, {"dau": np.full(ticks, 100)})
    folder = setting.new_folder()
    path, copy = folder / "ledger.db", folder / "copy.db"
    with open_ledger(path) as ledger:
        ledger.create_budget("team", guarantee, FIRST, None)
    shutil.copy(path, copy)
    drawn, spent, more = [], 0.0, 0
    for file in (path, copy):
        with open_ledger(file) as ledger:
            drawn.append(publish(ledger, "stream", "team", plan, counts, setting.now))
            more += _try_charge(LedgerClient(ledger), "more", AMOUNT, setting.now)
            spent += ledger.budget("team").spent.epsilon
    again = sum(first != second for first, second in zip(*drawn, strict=True))
    return (
        Observation("charges beyond the cap that the ledger or its old copy grants on its own", more, 0),
        Observation("days drawn a second time from an old copy, of which nothing is claimed", again),
        Observation("ε spent from a cap of 1 by way of an old copy, of which nothing is claimed", spent),
    )


def ours(setting: Setting) -> tuple[Observation, ...]:
    """The ledger, as releases use it."""
    return (*attack(setting, new_ledger_budget), *restore_copy(setting))


def check_then_insert(setting: Setting) -> tuple[Observation, ...]:
    """A table of charges that is read first and written afterwards."""
    return attack(setting, partial(new_naive_budget, monthly=False))


def monthly_reset(setting: Setting) -> tuple[Observation, ...]:
    """A table of charges that begins anew with every month of the clock."""
    return attack(setting, partial(new_naive_budget, monthly=True))


TARGETS: dict[str, Target] = {
    OURS: ours,
    "check, then insert": check_then_insert,
    "a budget that resets itself every month": monthly_reset,
}
