"""What an operator would look at when something is wrong: files, key, clock, budget, horizon, disk. Nothing is made."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from dp.accounting.composition import basic
from dp.ledger import Budget, LedgerError
from dp.presence.daily import EPOCH
from dp.release import charged
from workbench.service.days import Status
from workbench.service.errors import Refused, StoreError, unavailable
from workbench.service.first_close import check_intended
from workbench.service.opening import open_store
from workbench.service.renewal import SOON_DAYS, horizon_advice
from workbench.service.service import Service
from workbench.service.settings import Settings
from workbench.service.vitals import days_left

Level = Literal["ok", "warning", "error"]
LATE_DAYS = 2
MOST_MODE = 0o600
NEEDED_BYTES = 64 * 2**20
WISHED_BYTES = 2**30
FreeBytes = Callable[[Path], int]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        text: what is so, and what to do unless the level is "ok".
    """

    check: str
    level: Level
    text: str


def examine(
    settings: Settings,
    clock: Callable[[], datetime],
    free_bytes: FreeBytes = lambda folder: shutil.disk_usage(folder).free,
) -> list[Finding]:
    """All checks that can be made; the later ones need the files that the earlier ones look at.

    Args:
        free_bytes: how much room the file system of a folder has.
    """
    found = [*_files(settings), *_disk(settings, free_bytes)]
    if any(one.level == "error" for one in found) or not settings.store_path.exists():
        return found
    for name, path in (("store", settings.store_path), ("ledger", settings.ledger_path)):
        if path.exists():
            found.append(_whole(name, path))
    if any(one.level == "error" for one in found):
        return found
    try:
        service = Service(settings, clock, open_store(settings.store_path, settings.key_path))
    except StoreError as error:
        return [*found, Finding("key content", "error", f"{error}; put the files of one backup back together")]
    try:
        return [*found, *_inside(service, clock())]
    finally:
        service.stop()


def _files(settings: Settings) -> Iterator[Finding]:
    store, key, ledger = settings.store_path, settings.key_path, settings.ledger_path
    known = [str(path) for path in (key, ledger) if path.exists()]
    for name, path in (("store", store), ("key", key), ("ledger", ledger)):
        if not path.resolve().parent.is_dir():
            yield Finding(name, "error", f"the folder of {path} does not exist; make it, or set {name} to another path")
        elif path.exists():
            yield _mode(name, path)
        elif name == "store" and known:
            yield Finding(
                name, "error",
                f"{path} is missing, though there is {' and '.join(known)}; put the newest copy back: a new store "
                "would be charged and drawn a second time",
            )  # fmt: skip
        elif name == "key" and store.exists():
            yield Finding(name, "error", f"{path} is missing; put it back: without it the store cannot be opened")
        else:
            yield Finding(name, "ok", f"{path} is not there yet; it is made when it is needed")


def _mode(name: str, path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not path.is_file():
        return Finding(name, "error", f"{path} is no file; move it away")
    if mode & ~MOST_MODE:
        return Finding(name, "warning", f"{path} has mode {mode:04o}, so others may read it: chmod 600 {path}")
    if mode & MOST_MODE != MOST_MODE and name != "key":
        return Finding(name, "error", f"{path} has mode {mode:04o}; it needs 0600: chmod 600 {path}")
    return Finding(name, "ok", f"{path} is there, for its owner only")


def _disk(settings: Settings, free_bytes: FreeBytes) -> Iterator[Finding]:
    folders = {path.resolve().parent for path in (settings.store_path, settings.ledger_path)}
    size = settings.store_path.stat().st_size if settings.store_path.exists() else 0
    for folder in sorted(one for one in folders if one.is_dir()):
        free = free_bytes(folder)
        said = f"{free / 2**30:.2f} GiB free in {folder}"
        if free < NEEDED_BYTES:
            yield Finding("disk", "error", f"{said}; make room, or the service answers 503")
        elif free < max(WISHED_BYTES, size):
            yield Finding("disk", "warning", f"{said}, less than a copy of the store or 1 GiB; make room soon")
        else:
            yield Finding("disk", "ok", said)


def _whole(name: str, path: Path) -> Finding:
    try:
        with closing(sqlite3.connect(path)) as connection:
            said = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
    except sqlite3.DatabaseError as error:
        said = [str(error)]
    if said == ["ok"]:
        return Finding(f"{name} content", "ok", f"{path} is whole")
    return Finding(
        f"{name} content", "error",
        f"{path} is damaged ({said[0]}); stop the service, and restore the newest copies of store and ledger",
    )  # fmt: skip


def _inside(service: Service, now: datetime) -> Iterator[Finding]:
    settings, status = service.settings, service.status()
    yield Finding("key content", "ok", f"{settings.key_path} opens the store")
    yield _together(service, status)
    yield _clock(service, status, now)
    yield _days(service, status)
    yield _horizon(service, status)
    try:
        for budget in service.budgets():
            yield _budget(settings, budget, charged_already=bool(service.charges()))
    except LedgerError as error:
        yield Finding("budget", "error", f"{error}; name the right ledger")


def _together(service: Service, status: Status) -> Finding:
    name = "store and ledger"
    if not service.settings.ledger_path.exists():
        if status.first is None:
            return Finding(name, "ok", "no day is closed yet, so no ledger is needed")
        return Finding(
            name,
            "error",
            f"{service.settings.ledger_path} is missing, and days are published; put the newest copy back",
        )
    try:
        with service.account.open() as ledger, ledger.transaction():
            service.check(ledger)
    except (Refused, LedgerError, sqlite3.DatabaseError) as error:
        return Finding(name, "error", str(unavailable(error) or error))
    return Finding(name, "ok", "they belong together")


def _clock(service: Service, status: Status, now: datetime) -> Finding:
    settings, today = service.settings, service.today()
    if status.last is not None and status.last > today and not settings.future_days:
        return Finding(
            "clock", "error",
            f"today is {today} in {settings.timezone}, before the last closed day, {status.last}: set the clock; what "
            "arrives without a day would be about a closed one",
        )  # fmt: skip
    charges = service.charges()
    if charges and datetime.fromisoformat(charges[-1].charged_at) > now:
        return Finding(
            "clock",
            "error",
            f"the clock shows {now:%Y-%m-%d %H:%M}, before the last charge in the ledger: set the clock",
        )
    return Finding("clock", "ok", f"today is {today} in {settings.timezone}")


def _days(service: Service, status: Status) -> Finding:
    settings, today = service.settings, service.today()
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


def _first_day(service: Service, settings: Settings) -> Finding:
    assert settings.first_day is not None
    try:
        chosen_by_nobody = msgspec.structs.replace(settings, first_day=None)
        check_intended(chosen_by_nobody, service.today(), service.access.reported_days(), settings.first_day)
    except Refused as error:
        return Finding("days", "warning", f"first_day: {str(error).split('. ')[0]}; look whether it is meant")
    return Finding("days", "ok", f"no day is closed yet; {settings.first_day} will be the first")


def _horizon(service: Service, status: Status) -> Finding:
    settings, periods = service.settings, service.account.all_periods()
    left = days_left(periods, settings.horizon, status.open_day)
    if left is None:
        return Finding("horizon", "ok", "the promise has no end")
    charged_for = sum(one.horizon or 0 for one in periods if not one.is_over(status.open_day)) or settings.horizon
    said = f"{left} of {charged_for} days are left"
    if periods and not left:
        return Finding("horizon", "error", f"{said}: no further day can be closed; begin the next period: dpdau renew")
    if periods and left <= SOON_DAYS:
        ahead = f"; the next period can be charged from now on: dpdau renew --from {periods[-1].following}"
        return Finding("horizon", "warning", said + ahead)
    return Finding("horizon", "ok", "; ".join([said, *([] if periods else horizon_advice(settings))]))


def _budget(settings: Settings, budget: Budget, *, charged_already: bool) -> Finding:
    name = f"budget {budget.name}"
    said = f"ε {budget.spent.epsilon:g} of {budget.cap.epsilon:g} spent"
    if not charged_already:
        whole = basic([charged(settings.request(metric, EPOCH)) for metric in settings.series])
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
