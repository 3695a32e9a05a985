"""Facts about a service that operating needs and serving does not."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from dp.presence.daily import day_number
from dp.zones import DAY, EPOCH, MICROSECOND
from workbench.service.access import StoreAccess
from workbench.service.account import Account
from workbench.service.days import calendar_day
from workbench.service.periods import Period
from workbench.service.settings import Settings


@dataclass(frozen=True)
class Vitals:
    """How a service stands; NOT PRIVATE, since sizes and queues follow what arrives.

    Attributes:
        open_day: the next to be closed, None before the first is chosen.
        open_day_age_seconds: since the open day began on the clocks of the service's zone; None without one.
        published: days that are published.
        days_left: days that are charged for, or would be by the first close, and not closed yet; None without an end.
        queued: jobs that wait for the writer or are being written.
        store_bytes: of the store's file, or of its tables.
        wal_bytes: of its write-ahead log; 0 for a database server, whose log is not the store's alone.
        free_bytes: what the file system has left that holds the key, and the store if it is a file.
    """

    open_day: date | None
    open_day_age_seconds: float | None
    published: int
    days_left: int | None
    queued: int
    store_bytes: int
    wal_bytes: int
    free_bytes: int


def measured(settings: Settings, account: Account, access: StoreAccess, now: datetime) -> Vitals:
    """How a service stands at this moment."""
    progress = access.progress()
    open_day = calendar_day(progress.open_from(settings.earliest))
    return Vitals(
        open_day,
        None if open_day is None else _age_seconds(settings, open_day, now),
        account.published_days(),
        days_left(account.all_periods(), settings.horizon, open_day),
        access.queued,
        *access.sizes(),
        shutil.disk_usage(settings.key_path.resolve().parent).free,
    )


def days_left(periods: Sequence[Period], horizon: int | None, open_day: date | None) -> int | None:
    """How many days can still be closed; None without an end.

    Args:
        horizon: of the first period, where none is charged for yet.
    """
    if not periods or open_day is None:
        return horizon
    last = periods[-1].last
    return None if last is None else max(0, (last - open_day).days + 1)


def _age_seconds(settings: Settings, day: date, now: datetime) -> float:
    began = settings.zone.instant(day_number(day) * DAY)
    return ((now - EPOCH) // MICROSECOND - began) / 1e6
