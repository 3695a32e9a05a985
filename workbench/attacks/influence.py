"""One user tries to move the counts more often than W_BOUND says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from dp.auditing.attacks import Observation, Setting
from dp.auditing.attacks.change import measured_over_certified
from dp.mechanisms import linear_design
from dp.presence.daily import day_number
from dp.units import protected_class
from workbench.attacks.asking import Answers, FixedClock, Opener, ask, changes_between, days_of, now_of, settings_of
from workbench.service import ADD, ERASE, RETRACT, Operation, Service, Settings, open_service
from workbench.service.account import Clock

W_BOUNDS = {"dau": 2, "wau": 4, "mau": 2}


Move = Callable[[Service, int, Sequence[date]], Iterable[Operation]]
"""What a user does before a day is closed: the operations to be sent; an erasure may be asked for at once."""
USER = "mallory"


def retract_next_day(service: Service, tick: int, days: Sequence[date]) -> list[Operation]:
    """Active on one day, and all of it taken back on the next."""
    if tick % 2 == 0:
        return [Operation(USER, day_number(days[tick]))]
    return [Operation(USER, day_number(day), RETRACT) for day in days[:tick]]


def erased_and_back(service: Service, tick: int, days: Sequence[date]) -> list[Operation]:
    """Active on one day, and erased on the next."""
    if tick % 2 == 0:
        return [Operation(USER, day_number(days[tick]))]
    service.erase(USER)
    return []


def late_and_again(service: Service, tick: int, days: Sequence[date]) -> list[Operation]:
    """All that was ever sent is sent again, youngest first, some of it for days to come; alternates with an erasure."""
    if tick % 2:
        return [Operation(USER, None, ERASE)]
    now, coming = day_number(days[tick]), day_number(days[min(tick + 3, len(days) - 1)])
    sent = [Operation(USER, day_number(day)) for day in days[: tick + 1]]
    return [*sent[::-1], Operation(USER, now, ADD, coming), Operation(USER, None, ERASE, coming)]


def _many_days(setting: Setting) -> list[date]:
    return days_of(setting, setting.trials(12, 30))


MOVES: tuple[Move, ...] = (retract_next_day, erased_and_back, late_and_again)


def influence(setting: Setting, opened: Opener) -> Iterator[Observation]:
    """A user who comes and goes in every way there is, with a restart before every day, alone in a log of unit user."""
    days = _many_days(setting)
    changes: dict[str, object] = {"first_day": days[0], "horizon": len(days)}
    for metric, bound in W_BOUNDS.items():
        changes |= {f"{metric}.unit": "user", f"{metric}.w_bound": bound, f"{metric}.mechanism": "damped-square-root"}
    flips, change, revised, rewritten = 0.0, 0.0, 0, 0
    for move in MOVES:
        settings = settings_of(setting, changes)
        found = trace_of(settings, opened, move, days, FixedClock(now_of(setting)))
        revised, rewritten = revised + found.revised, rewritten + found.rewritten
        for metric, counts in found.counts.items():
            one = settings.series[metric]
            design = linear_design(one.mechanism, protected_class(one.unit, one.window, one.w_bound, len(days)))
            flips = max(flips, float(np.abs(np.diff(counts, prepend=0)).sum()) / one.w_bound)
            change = max(change, measured_over_certified(design, counts, np.zeros_like(counts)))
    yield Observation("flips of the user in the counts, per W_BOUND", flips, 1)
    # What is measured and its bound may be sums of the same floats in another order.
    yield Observation("change of the measurements over the certificate", round(change, 9), 1)
    yield Observation("counts of closed days that later operations changed", revised, 0)
    yield Observation("rows of closed days that later operations changed", rewritten, 0)


@dataclass(frozen=True)
class Trace:
    """What a user who was alone in a log left behind.

    Attributes:
        counts: metric → what noise was added to, shape (days,).
        revised: counts of closed days that became others.
        rewritten: rows of closed days that did.
    """

    counts: dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]
    revised: int
    rewritten: int


def trace_of(settings: Settings, opened: Opener, move: Move, days: Sequence[date], clock: Clock) -> Trace:
    """Let a user who is alone in a log make a move before every day, and see what is counted and published."""
    counts: dict[str, list[int]] = {metric: [] for metric in settings.series}
    revised, answers = 0, Answers()
    for tick, day in enumerate(days):
        with opened(settings, clock) as service:
            service.ingest(list(move(service, tick, days)))
            for metric, row in zip(settings.series, service.close(day), strict=True):
                answers[metric, str(day)] = {row}
            for metric, before in counts.items():
                now = [count.bounded for count in service.truth(metric).counts]
                revised += now[: len(before)] != before
                counts[metric] = now
    rewritten = changes_between(answers, ask(opened, settings, clock, days))
    return Trace({metric: np.array(series, dtype=np.int64) for metric, series in counts.items()}, revised, rewritten)


def one_day_again(setting: Setting) -> Observation:
    """One user-day that is taken back and reported again and again, of which the unit user-day promises nothing."""
    days = _many_days(setting)
    settings = settings_of(setting, {"first_day": days[0], "horizon": len(days)})

    def to_and_fro(service: Service, tick: int, days: Sequence[date]) -> list[Operation]:
        return [Operation(USER, day_number(days[0]), RETRACT if tick % 2 else ADD)]

    counts = trace_of(settings, open_service, to_and_fro, days, FixedClock(now_of(setting))).counts["mau"]
    what = "flips by one user-day that is taken back and reported again, per W_BOUND, of which nothing is claimed"
    return Observation(what, float(np.abs(np.diff(counts, prepend=0)).sum()) / settings.mau.w_bound)
