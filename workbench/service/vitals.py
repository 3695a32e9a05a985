"""Facts about a store that operating needs and serving does not."""

from __future__ import annotations

from datetime import date

from workbench.service.days import calendar_day
from workbench.service.store import Store


def reported_days(store: Store) -> tuple[date, date] | None:
    """The first and the last day that an operation is about, None before the first; NOT PRIVATE. It reads the log."""
    first, last = store.connection.execute("SELECT MIN(day), MAX(day) FROM operations").fetchone()
    days = calendar_day(first), calendar_day(last)
    return None if days[0] is None or days[1] is None else (days[0], days[1])
