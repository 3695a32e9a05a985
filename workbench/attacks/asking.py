"""Asking a service, on files of its own and under a clock of its own, and comparing its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from dp.accounting.composition import Guarantee
from dp.auditing.attacks import Setting
from dp.ledger import LedgerError, open_ledger
from dp.presence.daily import day_number
from workbench.service import Operation, Refused, Service, Settings, load_settings
from workbench.service.account import Clock

DAYS = 6

Opener = Callable[[Settings, Clock], AbstractContextManager[Service]]
"""Opens the service on its files; processes are handed it."""
Answers = dict[tuple[str, ...], set[str]]
"""What the service said: metric and day, and for a fresh release the request's key → the rows."""


@dataclass(frozen=True)
class FixedClock:
    """A clock that stands still.

    Attributes:
        now: what it shows.
    """

    now: datetime

    def __call__(self) -> datetime:
        """What it shows."""
        return self.now


def settings_of(setting: Setting, changes: Mapping[str, object] | None = None) -> Settings:
    """A service on files of its own whose days are the last DAYS up to today."""
    folder = setting.new_folder()
    given = {
        "store": folder / "service.store", "ledger": folder / "service.ledger", "horizon": 60,
        "first_day": days_of(setting)[0], "budget_epsilon": 20, "budget_delta": 1e-3, **(changes or {}),
    }  # fmt: skip
    return load_settings(None, {}, [(name, str(value)) for name, value in given.items()])


def now_of(setting: Setting) -> datetime:
    """When the attack takes place, in UTC."""
    return setting.now.astimezone(UTC)


def days_of(setting: Setting, count: int = DAYS) -> list[date]:
    """The last days up to today."""
    today = now_of(setting).date()
    return [today - timedelta(days=ago) for ago in range(count - 1, -1, -1)]


def small_crowd(setting: Setting, days: Sequence[date]) -> list[Operation]:
    """A few users, each active on a random half of the days."""
    active = setting.generator.random((20, len(days))) < 1 / 2
    return [Operation(f"user {user}", day_number(days[place])) for user, place in np.argwhere(active).tolist()]


def ask(opened: Opener, settings: Settings, clock: Clock, days: Iterable[date], request: str | None = None) -> Answers:
    """Close days, ask for their rows and, with a request's key, for a fresh one; what was said until it was refused."""
    answers: Answers = {}
    with suppress(Refused, LedgerError), opened(settings, clock) as service:
        for day in days:
            for metric, row in zip(settings.series, service.close(day), strict=True):
                answers[metric, str(day)] = {row}
            for metric in settings.series:
                answers[metric, str(day)].add(service.release(metric, day))
            if request is not None:
                answers["dau", str(day), request] = {service.fresh("dau", day, request)}
    return answers


def together(answers: Iterable[Answers]) -> Answers:
    """All answers to each question."""
    every: Answers = {}
    for one in answers:
        for what, rows in one.items():
            every[what] = every.get(what, set()) | rows
    return every


def changes_between(first: Answers, second: Answers) -> int:
    """How much of what was said twice was not the same."""
    return sum(first[what] != second[what] for what in first.keys() & second.keys())


@contextmanager
def running(service: Service, settings: Settings, clock: Clock) -> Iterator[Service]:
    """A service that runs already, for threads to share."""
    yield service


def make_budget(settings: Settings, clock: Clock) -> None:
    """Make the budget that the settings name."""
    with open_ledger(settings.ledger_path) as ledger:
        cap = Guarantee(settings.budget_epsilon, settings.budget_delta)
        ledger.create_budget(settings.budget, cap, clock().date(), None)
