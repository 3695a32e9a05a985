"""Publishing what is counted, in one transaction of the ledger for all series of a service."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

from dp.arrays import Integers
from dp.counts import Counts
from dp.ledger import Ledger
from dp.presence.daily import day_number
from dp.release import charge_and_draw, publish
from workbench.service.account import Account
from workbench.service.days import calendar_day
from workbench.service.periods import Period
from workbench.service.settings import SERIES, Settings
from workbench.service.store import Store


def publish_counted(
    account: Account, settings: Settings, ledger: Ledger, store: Store, first: date, now: datetime
) -> dict[tuple[str, date], str]:
    """Publish whatever is counted and not yet published, in the caller's transaction.

    Args:
        first: the first closed day of all.

    Returns:
        The rows of the metrics in the period that is published last, by metric and day.
    """
    drawn: dict[tuple[str, date], str] = {}
    closed = {one.window: store.closed_counts(one.window) for one in settings.series.values()}
    periods = account.periods(ledger) or [account.period_by_settings(1, first)]
    account.check_settings(ledger, periods, calendar_day(store.progress().open_day))
    for period in periods:
        for name, plan in account.plans(period).items():
            stream, known = account.stream(name, period.number), name in SERIES
            if known:
                counts: Mapping[str, Counts] = {name: period.counts(name, first, closed)}
            else:
                counts = period.answers(name, _answers(store, period, name))
            published, wanted = min((ledger.count_releases(stream, key), len(one)) for key, one in counts.items())
            if known and (published < wanted or (period is periods[-1] and wanted)):
                rows = publish(ledger, stream, period.budget, plan, counts, now, period.data)
                drawn |= {(name, day): row for day, row in zip(counts[name].days, rows, strict=True)}
            elif published < wanted:
                # Its rows may be many, and are read where somebody asks for them.
                charge_and_draw(ledger, stream, period.budget, plan, counts, now, period.data)
    return drawn


def _answers(store: Store, period: Period, name: str) -> list[Integers]:
    last = None if period.last is None else day_number(period.last)
    return store.answers(name, day_number(period.first), last)
