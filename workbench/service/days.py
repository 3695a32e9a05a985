"""Days: how far a service has come, which day may be closed next, and which days are published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from dp.presence.daily import EPOCH, day_number
from workbench.service.closed_days import ClosedDays
from workbench.service.errors import Refused
from workbench.service.folding import Count
from workbench.service.operations import OP_NAMES
from workbench.service.packing import NEVER
from workbench.service.periods import Period
from workbench.service.settings import Settings
from workbench.service.store import Store

WHO = 8


@dataclass(frozen=True)
class Status:
    """How a service stands. `operations` is the number of the last operation that arrived."""

    first: date | None
    last: date | None
    open_day: date | None
    operations: int


def status_of(settings: Settings, store: Store) -> Status:
    """How far the days of a store have come, and how much has arrived."""
    progress = store.progress()
    return Status(
        calendar_day(progress.first),
        calendar_day(progress.last),
        calendar_day(progress.open_from(settings.earliest)),
        store.last_seq(),
    )


@dataclass(frozen=True)
class Truth:
    """True counts of one metric by day; NOT PRIVATE. The bounded ones freeze users after W_BOUND flips."""

    days: list[date]
    counts: list[Count]


class Activity(NamedTuple):
    """One line of the log as it stands, for the operator's eyes; NOT PRIVATE. `who` begins the user's pseudonym.

    `counts_from` is None for an erasure before the first day is known.
    """

    seq: int
    who: str | None
    day: date | None
    counts_from: date | None
    op: str


def activity(seq: int, pseudonym: bytes | None, day: int | None, at: int, op: int) -> Activity:
    """One row of the store's log as the operator sees it."""
    who = None if pseudonym is None else pseudonym.hex()[:WHO]
    return Activity(seq, who, calendar_day(day), calendar_day(None if at == NEVER else at), OP_NAMES[op])


def calendar_day(number: int | None) -> date | None:
    """The day that is this many days after 1970-01-01."""
    return None if number is None else EPOCH + timedelta(days=number)


def first_tick(settings: Settings, progress: ClosedDays, periods: Sequence[Period], day: date) -> date:
    """The first tick: chosen by a close (even one interrupted after its charge), or set, or else `day`."""
    chosen = calendar_day(progress.first)
    if chosen is None and periods:
        chosen = periods[0].first
    return chosen or settings.first_day or day


def check_first(settings: Settings, first: date) -> None:
    """Refuse settings that name another first day than the one that was closed first."""
    wanted = settings.first_day
    if wanted not in (None, first):
        raise Refused(
            "other-settings",
            f"first_day is {wanted}, but the first closed day was {first}: set it back, or leave it out",
        )


def first_to_close(open_day: date | None) -> date:
    """The open day, where several days are to be closed; refuses if the first one is still to be chosen."""
    if open_day is None:
        raise Refused(
            "not-next",
            "no day is closed yet, so the first one must be named; it is a public choice, which the log does not make: "
            "--set first_day=2026-01-31 (or in dpdau.toml), or close it with --day",
        )
    return open_day


def check_next(settings: Settings, today: date, progress: ClosedDays, first: date, day: date) -> None:
    """Refuse to close a day that is not next, or is after today."""
    following = first if progress.last is None else EPOCH + timedelta(days=progress.last + 1)
    if day != following:
        raise Refused("not-next", f"{day} cannot be closed: {following} is next, and days are closed in order")
    if not settings.future_days and day > today:
        raise Refused(
            "future-day",
            f"{day} is after today, {today} in {settings.timezone}, and a closed day is never "
            "reopened; for replays and demonstrations set future_days = true",
        )


def published_tick(ends: date | None, metric: str, first: date | None, published: int, day: date) -> int:
    """The place of a day among those that are published; refuses a day that is not one of them.

    Args:
        ends: the last day of the last period; None where it has no end.
    """
    if first is None or not published:
        raise Refused("open-day", f"no day is closed yet, so there is no {metric} of {day}: close it first")
    tick = (day - first).days
    if tick < 0:
        raise Refused("unknown-day", f"{metric} begins on {first}; there is none for {day}")
    if ends is not None and day > ends:
        raise Refused("unknown-day", f"{metric} ends after {(ends - first).days + 1} days, before {day}")
    if tick >= published:
        open_day = first + timedelta(days=published)
        raise Refused("open-day", f"{day} is not closed yet: {open_day} is the next to be closed")
    return tick


def check_remembered(store: Store, settings: Settings, metric: str, day: date) -> None:
    """Refuse to count a closed day again of which, or of whose window, not everything is remembered any more."""
    open_day = store.progress().open_day
    assert open_day is not None
    window = settings.series[metric].window
    earliest = max(store.known_since, open_day - settings.layout.days + 1) + window - 1
    if day_number(day) < earliest:
        raise Refused(
            "unknown-day",
            f"{day} is too long ago for a fresh {metric}: the store remembers what it needs back to "
            f"{calendar_day(earliest)} (setting fresh_days, {settings.fresh_days} days)",
        )
