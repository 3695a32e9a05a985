"""The clock of the service is moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

from dp.accounting.composition import Guarantee
from dp.auditing.attacks import Observation, Setting
from dp.auditing.attacks.ledger import CAP, PERIOD
from dp.ledger import LedgerError, open_ledger
from workbench.attacks.asking import Answers, FixedClock, Opener, ask, changes_between, now_of, settings_of
from workbench.service import Refused

FRESH = 0.25


def clock_moves(setting: Setting, opened: Opener) -> Iterator[Observation]:
    """Move the clock forward and back, restart, close whatever it lets close, and ask for fresh releases."""
    now = now_of(setting)
    days = [now.date() + timedelta(days=ahead) for ahead in range(-2, 3)]
    changes = {"first_day": days[0], "fresh_budget": "fresh", "dau.fresh_epsilon": FRESH}
    settings = settings_of(setting, changes)
    with open_ledger(settings.ledger_path) as ledger:
        ledger.create_budget("fresh", Guarantee(CAP, 1e-4), now.date(), (now + PERIOD).date())
    first = ask(opened, settings, FixedClock(now), days)
    early = _after(first, now)
    granted, outside, changed = 0, 0, 0
    for number, shown in enumerate((now, now + 2 * PERIOD, now - PERIOD, now) * setting.trials(1, 5)):
        answers = ask(opened, settings, FixedClock(shown), days)
        changed += changes_between(first, answers)
        first = answers | first
        with suppress(Refused, LedgerError), opened(settings, FixedClock(shown)) as service:
            while granted * FRESH <= 10 * CAP:
                service.fresh("dau", days[0], f"{number}-{granted}")
                granted += 1
                outside += shown != now
    yield Observation("rows that changed while the clock went to and fro", changed, 0)
    yield Observation("days closed before they began, the clock being right", early, 0)
    what = "days closed before they began by a clock put forward, of which nothing is claimed"
    yield Observation(what, _after(first, now))
    yield Observation("ε of fresh releases while the clock went to and fro, of a cap of 1", granted * FRESH, CAP)
    yield Observation("fresh releases outside the period of their budget", outside, 0)


def _after(answers: Answers, now: datetime) -> int:
    return len({what[1] for what in answers if what[1] > str(now.date())})
