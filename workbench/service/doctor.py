"""What an operator would look at when something is wrong: files, key, clock, budget, horizon, disk. Nothing is made."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import msgspec

from dp.accounting.composition import basic
from dp.ledger import Budget, LedgerError
from dp.presence.daily import EPOCH
from dp.release import charged
from workbench.service.access import reported_days
from workbench.service.account import Account
from workbench.service.database import driver_errors
from workbench.service.days import Status, status_of
from workbench.service.errors import Refused, StoreError, unavailable
from workbench.service.first_close import check_intended
from workbench.service.opening import read_store
from workbench.service.periods import Period
from workbench.service.place_checks import Finding, FreeBytes, contents, disks, is_there, places, servers
from workbench.service.renewal import SOON_DAYS, horizon_advice
from workbench.service.settings import Settings
from workbench.service.store import Store, reading
from workbench.service.vitals import days_left

LATE_DAYS = 2


@dataclass(frozen=True)
class _Opened:
    """A store that is only read, and its ledger."""

    settings: Settings
    account: Account
    store: Store

    @property
    def status(self) -> Status:
        return status_of(self.settings, self.store)


def examine(
    settings: Settings,
    clock: Callable[[], datetime],
    free_bytes: FreeBytes = lambda folder: shutil.disk_usage(folder).free,
) -> list[Finding]:
    """All checks that can be made; the later ones need what the earlier ones look at. Nothing is changed.

    Args:
        free_bytes: how much room the file system of a folder has.
    """
    found = [*places(settings), *disks(settings, free_bytes)]
    if _is_wrong(found):
        return found
    found += servers(settings)
    if not is_there("store", settings):
        return found
    found += (held := list(contents(settings)))
    if any(one.level != "ok" for one in held):
        return found
    try:
        store = read_store(settings.store_place, settings.key_path)
    except StoreError as error:
        return [*found, Finding("key content", "error", f"{error}; put the files of one backup back together")]
    with driver_errors(), closing(store):
        opened = _Opened(settings, Account(settings, clock, store.name), store)
        return [*found, *_inside(opened, clock())]


def _is_wrong(found: list[Finding]) -> bool:
    return any(one.level == "error" for one in found)


def _inside(service: _Opened, now: datetime) -> Iterator[Finding]:
    settings, status, account = service.settings, service.status, service.account
    yield Finding("key content", "ok", f"{settings.key_path} opens the store")
    yield _together(service, status)
    yield _clock(service, status, now)
    yield _days(service, status)
    yield _horizon(service, status)
    try:
        for budget in account.budgets():
            yield _budget(settings, budget, charged_already=bool(account.charges()))
    except LedgerError as error:
        yield Finding("budget", "error", f"{error}; name the right ledger")


def _together(service: _Opened, status: Status) -> Finding:
    name = "store and ledger"
    if not service.account.has_ledger():
        if status.first is None:
            return Finding(name, "ok", "no day is closed yet, so no ledger is needed")
        return Finding(
            name,
            "error",
            f"{service.settings.ledger_place} is missing, and days are published; put the newest copy back",
        )
    try:
        with service.account.open() as ledger, ledger.transaction():
            service.account.check(ledger, service.store)
    except (Refused, LedgerError, sqlite3.DatabaseError) as error:
        return Finding(name, "error", str(unavailable(error) or error))
    return Finding(name, "ok", "they belong together")


def _clock(service: _Opened, status: Status, now: datetime) -> Finding:
    settings, today = service.settings, service.account.today()
    if status.last is not None and status.last > today and not settings.future_days:
        return Finding(
            "clock", "error",
            f"today is {today} in {settings.timezone}, before the last closed day, {status.last}: set the clock; what "
            "arrives without a day would be about a closed one",
        )  # fmt: skip
    charges = service.account.charges()
    if charges and datetime.fromisoformat(charges[-1].charged_at) > now:
        return Finding(
            "clock",
            "error",
            f"the clock shows {now:%Y-%m-%d %H:%M}, before the last charge in the ledger: set the clock",
        )
    return Finding("clock", "ok", f"today is {today} in {settings.timezone}")


def _days(service: _Opened, status: Status) -> Finding:
    settings, today = service.settings, service.account.today()
    if status.last is None:
        if settings.first_day is None:
            return Finding("days", "ok", "no day is closed yet")
        return _first_day(service, settings)
    assert status.open_day is not None
    late = (today - status.open_day).days
    if late > LATE_DAYS and not settings.future_days:
        return Finding(
            "days", "warning",
            f"{status.open_day} is open, {late} days ago: dpdau close --through DAY, or set auto_close",
        )  # fmt: skip
    return Finding("days", "ok", f"{status.first} to {status.last} closed, {status.open_day} is next")


def _first_day(service: _Opened, settings: Settings) -> Finding:
    assert settings.first_day is not None
    try:
        chosen_by_nobody = msgspec.structs.replace(settings, first_day=None)
        with reading(service.store.database) as store:
            reported = reported_days(store)
        check_intended(chosen_by_nobody, service.account.today(), reported, settings.first_day)
    except Refused as error:
        return Finding("days", "warning", f"first_day: {str(error).split('. ')[0]}; look whether it is meant")
    return Finding("days", "ok", f"no day is closed yet; {settings.first_day} will be the first")


def _horizon(service: _Opened, status: Status) -> Finding:
    settings, periods = service.settings, service.account.all_periods()
    left = days_left(periods, settings.horizon, status.open_day)
    if left is None:
        return Finding("horizon", "ok", "the promise has no end")
    charged_for = sum(one.horizon or 0 for one in periods if not one.is_over(status.open_day)) or settings.horizon
    said = f"{left} of {charged_for} days are left"
    if periods and not left:
        return Finding("horizon", "error", f"{said}: no further day can be closed; begin the next period: dpdau renew")
    if periods and left <= SOON_DAYS:
        return Finding("horizon", "warning", f"{said}; {_next_period(service.account, periods[-1])}")
    return Finding("horizon", "ok", "; ".join([said, *([] if periods else horizon_advice(settings))]))


def _next_period(account: Account, last: Period) -> str:
    assert last.following is not None
    wanted = account.period_by_settings(last.number + 1, last.following)
    said = f"the next period can be charged from now on: dpdau renew --from {last.following}"
    left = account.budgets()[0].remaining
    if any(price > room for price, room in zip(wanted.charge, left, strict=True)):
        said += f"; the budget {wanted.budget!r} has no room for it: dpdau budget create NAME, and set budget"
    return said


def _budget(settings: Settings, budget: Budget, *, charged_already: bool) -> Finding:
    name = f"budget {budget.name}"
    said = f"ε {budget.spent.epsilon:g} of {budget.cap.epsilon:g} spent"
    if not charged_already:
        whole = basic([charged(request) for request in settings.requests(EPOCH).values()])
        if any(wanted > left * (1 + 1e-9) for wanted, left in zip(whole, budget.remaining, strict=True)):
            if budget.name != settings.budget:
                return Finding(name, "ok", said)
            return Finding(
                name, "error",
                f"the series need ε {whole.epsilon:g} and δ {whole.delta:g}, and ε {budget.remaining.epsilon:g} and "
                f"δ {budget.remaining.delta:g} are left: raise budget_epsilon and budget_delta, or name another budget",
            )  # fmt: skip
        return Finding(name, "ok", f"{said}; the first close takes ε {whole.epsilon:g}")
    if budget.name == (settings.fresh_budget or settings.budget):
        cheapest = min(one.fresh for one in settings.series.values())
        if budget.remaining.epsilon < cheapest:
            return Finding(
                name, "warning",
                f"{said}; no fresh release fits any more: dpdau budget create NAME, and set fresh_budget",
            )  # fmt: skip
    return Finding(name, "ok", said)
