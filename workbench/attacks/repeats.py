"""Days are closed and requests made twice, at once, and again after a restart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from functools import partial

from dp.auditing.attacks import Observation, Setting
from dp.auditing.attacks.processes import at_once
from workbench.attacks.asking import (
    Answers,
    FixedClock,
    Opener,
    ask,
    days_of,
    now_of,
    running,
    settings_of,
    small_crowd,
    together,
)
from workbench.service import Refused, Settings, open_service
from workbench.service.account import Clock

THREADS = 4
RESTARTS = 3


def repeats(setting: Setting, opened: Opener, processes: int) -> Iterator[Observation]:
    """Close the same days and repeat the same request in processes, in threads, and after every restart."""
    days, clock = days_of(setting, 3), FixedClock(now_of(setting))
    settings = settings_of(setting, {"first_day": days[0]})
    with opened(settings, clock) as service:
        service.ingest(small_crowd(setting, days))
    each = at_once(partial(_ask_by, opened, settings, clock, days), range(processes))
    with opened(settings, clock) as service, ThreadPoolExecutor(THREADS) as pool:
        same = partial(ask, partial(running, service), settings, clock, days)
        each += pool.map(same, ["key"] * THREADS)
    for _ in range(setting.trials(RESTARTS, 10 * RESTARTS)):
        each.append(ask(opened, settings, clock, days, "key"))
    every = together(each)
    rows, answers = ([len(every[what]) for what in every if len(what) == size] for size in (2, 3))
    missing = (len(settings.series) + 1) * len(days) - len(every)
    with opened(settings, clock) as service:
        spent = sum(charge.guarantee.epsilon for charge in service.charges())
    due = sum(one.epsilon for one in settings.series.values()) + len(days) * settings.dau.fresh
    yield Observation("different rows of one day and metric, most", max(rows, default=0), 1)
    yield Observation("different answers to one request, most", max(answers, default=0), 1)
    yield Observation("ε charged, over what one close and one request cost", round(spent / due, 9), 1)
    yield Observation("rows and answers that nobody got", missing, 0)


def processes_of(setting: Setting) -> int:
    """How many processes ask at once."""
    return setting.trials(2, 4)


def _ask_by(opened: Opener, settings: Settings, clock: Clock, days: Sequence[date], worker: int) -> Answers:
    return ask(opened, settings, clock, days, "key")


def reloads(setting: Setting) -> Observation:
    """Load a file, its beginning again, and the whole of it after a restart."""
    days, clock = days_of(setting), FixedClock(now_of(setting))
    settings, rows = settings_of(setting), small_crowd(setting, days)
    for _ in range(RESTARTS):
        with open_service(settings, clock) as service:
            for start in (0, service.loading.resume("file"), 0):
                with suppress(Refused):
                    service.loading.store("file", start, rows[start:])
            stored = service.status().operations
    return Observation("rows of one file that were stored twice", stored - len(rows), 0)
