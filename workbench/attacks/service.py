"""Somebody runs the live service or calls it: puts old copies of its files back, closes days twice and at once, moves
its clock, repeats requests, and sends operations late and again for a user who is erased and returns after a restart.

They win if a published number changes, if something is drawn or charged twice, or if the user moves the counts more
often than W_BOUND says.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import msgspec
import numpy as np

from dp.accounting.composition import Guarantee
from dp.auditing.attacks import OURS, Reading, Setting
from dp.auditing.attacks.change import measured_over_certified
from dp.auditing.attacks.outcome import Target
from dp.auditing.attacks.processes import at_once
from dp.ledger import LedgerError, open_ledger
from dp.mechanisms import linear_design
from dp.presence.daily import EPOCH
from dp.presence.tombstones import pseudonyms
from dp.units import protected_class
from workbench.service import ADD, ERASE, RETRACT, Operation, Refused, Service, Settings, load_settings, open_service
from workbench.service.store import Store, open_store

CRITERION = (
    "an older ledger or store is refused, a day has one row a metric and a request one answer whoever asks and however "
    "often, a budget holds whatever the clock says, and the user flips at most W_BOUND times in the counts"
)

DAYS = 6
BACKED_UP = 3
"""After so many of them the files are copied."""
THREADS = 4
RESTARTS = 3
PERIOD = timedelta(days=30)
CAP = 1.0
FRESH = 0.25
W_BOUNDS = {"dau": 2, "wau": 4, "mau": 2}

Clock = Callable[[], datetime]
Opener = Callable[[Settings, Clock], AbstractContextManager[Service]]
"""Opens the service on its files; processes are handed it."""
Told = dict[tuple[str, ...], set[str]]
"""What the service said: metric and day, and for a fresh release the request's key → the rows."""


@dataclass(frozen=True)
class Stopped:
    """A clock that stands still.

    Attributes:
        now: what it shows.
    """

    now: datetime

    def __call__(self) -> datetime:
        """What it shows."""
        return self.now


def _settings(setting: Setting, changes: Mapping[str, object] | None = None) -> Settings:
    """A service on files of its own whose days are the last DAYS up to today."""
    folder = setting.new_folder()
    given = {
        "store": folder / "service.store", "ledger": folder / "service.ledger", "horizon": 60,
        "first_day": _days(setting)[0], "budget_epsilon": 20, "budget_delta": 1e-3, **(changes or {}),
    }  # fmt: skip
    return load_settings(None, {}, [(name, str(value)) for name, value in given.items()])


def _now(setting: Setting) -> datetime:
    return setting.now.astimezone(UTC)


def _days(setting: Setting, count: int = DAYS) -> list[date]:
    today = _now(setting).date()
    return [today - timedelta(days=ago) for ago in range(count - 1, -1, -1)]


def _number(day: date) -> int:
    return (day - EPOCH).days


def _crowd(setting: Setting, days: Sequence[date]) -> list[Operation]:
    """A few users, each active on a random half of the days."""
    active = setting.generator.random((20, len(days))) < 1 / 2
    return [Operation(f"user {user}", _number(days[place])) for user, place in np.argwhere(active).tolist()]


def _asked(opened: Opener, settings: Settings, clock: Clock, days: Iterable[date], request: str | None = None) -> Told:
    """Close days, ask for their rows and, with a request's key, for a fresh one; what was said until it was refused."""
    told: Told = {}
    with suppress(Refused, LedgerError), opened(settings, clock) as service:
        for day in days:
            for metric, row in zip(settings.series, service.close(day), strict=True):
                told[metric, str(day)] = {row}
            for metric in settings.series:
                told[metric, str(day)].add(service.release(metric, day))
            if request is not None:
                told["dau", str(day), request] = {service.fresh("dau", day, request)}
    return told


def _together(told: Iterable[Told]) -> Told:
    every: Told = {}
    for one in told:
        for what, rows in one.items():
            every[what] = every.get(what, set()) | rows
    return every


def _changed(first: Told, second: Told) -> int:
    """How much of what was said twice was not the same."""
    return sum(first[what] != second[what] for what in first.keys() & second.keys())


# --- Old copies ------------------------------------------------------------------------------------------------------


def restored(setting: Setting, opened: Opener) -> Iterator[Reading]:
    """Copy the files, publish more, put old ones back and ask for the same days; or give the store another ledger."""
    days, clock = _days(setting), Stopped(_now(setting))
    settings = _settings(setting)
    folder = settings.store_path.parent
    with opened(settings, clock) as service:
        service.ingest(_crowd(setting, days))
    _asked(opened, settings, clock, days[:BACKED_UP], "before")
    copy = _copied(folder, setting)
    told = _asked(opened, settings, clock, days, "after")

    def put_back(*files: Path, running: bool = False) -> int:
        now = _moved(settings, _copied(folder, setting))
        with opened(now, clock) if running else nullcontext() as service:
            for file in files:
                shutil.copy(copy / file.name, now.store_path.parent)
            way: Opener = opened if service is None else partial(_running, service)
            return _changed(told, _asked(way, now, clock, days, "after"))

    store, ledger = settings.store_path, settings.ledger_path
    yield Reading("rows that changed when an old ledger was put back", put_back(ledger), 0)
    under = put_back(ledger, running=True)
    yield Reading("rows that changed when an old ledger was put back under a running service", under, 0)
    yield Reading("rows that changed when an old store was put back", put_back(store), 0)
    what = "rows that changed when both were put back from one old copy, of which nothing is claimed"
    yield Reading(what, put_back(store, ledger))
    # The old copy goes on by itself, and then its ledger has as many days and charges as the store knows of.
    _asked(opened, _moved(settings, copy), clock, days, "after")
    what = "rows that changed with the ledger of a copy that went on by itself, of which nothing is claimed"
    yield Reading(what, put_back(ledger))
    other = msgspec.structs.replace(settings, ledger=str(folder / "other.ledger"))
    _open_budget(other, clock)
    again = _asked(opened, other, clock, days, "after")
    yield Reading("rows that changed when the store was given a new ledger", _changed(told, again), 0)


def _open_budget(settings: Settings, clock: Clock) -> None:
    with open_ledger(settings.ledger_path) as ledger:
        cap = Guarantee(settings.budget_epsilon, settings.budget_delta)
        ledger.create_budget(settings.budget, cap, clock().date(), None)


def _copied(folder: Path, setting: Setting) -> Path:
    # Nobody has the files open, so that all is in them and nothing in a log beside them.
    return Path(shutil.copytree(folder, setting.new_folder(), dirs_exist_ok=True))


def _moved(settings: Settings, folder: Path) -> Settings:
    return msgspec.structs.replace(
        settings, store=str(folder / settings.store_path.name), ledger=str(folder / settings.ledger_path.name)
    )


class _Killed(Exception):  # noqa: N818 - the name says what happened
    """What a process was doing ends here."""


class CutOff(Service):
    """Is killed when the ledger holds a day more than the old copy, before the store has noted it."""

    def _remember(self, metric: str, first: date, rows: Sequence[str]) -> None:
        if len(rows) > BACKED_UP:
            raise _Killed


def cut_off(setting: Setting) -> Reading:
    """Read the ledger's rows just before the service is killed, and put an old ledger back before it starts again."""
    days, clock = _days(setting), Stopped(_now(setting))
    settings = _settings(setting)
    _asked(open_service, settings, clock, days[:BACKED_UP])
    copy = _copied(settings.store_path.parent, setting)
    day = days[BACKED_UP]
    with _opened(CutOff, Store, settings, clock) as service:
        with suppress(_Killed):
            service.close(day)
        told: Told = {(metric, str(day)): {service.releases(metric)[-1]} for metric in settings.series}
    shutil.copy(copy / settings.ledger_path.name, settings.ledger_path)
    again = _asked(open_service, settings, clock, [day])
    what = "rows that changed with an old ledger after a crash between its commit and the store's note"
    return Reading(f"{what}, of which nothing is claimed", _changed(told, again))


# --- Twice, at once, and again ---------------------------------------------------------------------------------------


def asked_often(setting: Setting, opened: Opener, processes: int) -> Iterator[Reading]:
    """Close the same days and repeat the same request in processes, in threads, and after every restart."""
    days, clock = _days(setting, 3), Stopped(_now(setting))
    settings = _settings(setting, {"first_day": days[0]})
    with opened(settings, clock) as service:
        service.ingest(_crowd(setting, days))
    told = at_once(partial(_asked_by, opened, settings, clock, days), range(processes))
    with opened(settings, clock) as service, ThreadPoolExecutor(THREADS) as pool:
        same = partial(_asked, partial(_running, service), settings, clock, days)
        told += pool.map(same, ["key"] * THREADS)
    for _ in range(setting.trials(RESTARTS, 10 * RESTARTS)):
        told.append(_asked(opened, settings, clock, days, "key"))
    every = _together(told)
    rows, answers = ([len(every[what]) for what in every if len(what) == size] for size in (2, 3))
    missing = (len(settings.series) + 1) * len(days) - len(every)
    with opened(settings, clock) as service:
        spent = sum(charge.guarantee.epsilon for charge in service.charges())
    due = sum(one.epsilon for one in settings.series.values()) + len(days) * settings.dau.fresh
    yield Reading("different rows of one day and metric, most", max(rows, default=0), 1)
    yield Reading("different answers to one request, most", max(answers, default=0), 1)
    yield Reading("ε charged, over what one close and one request cost", round(spent / due, 9), 1)
    yield Reading("rows and answers that nobody got", missing, 0)


def _processes(setting: Setting) -> int:
    return setting.trials(2, 4)


def _asked_by(opened: Opener, settings: Settings, clock: Clock, days: Sequence[date], worker: int) -> Told:
    return _asked(opened, settings, clock, days, "key")


@contextmanager
def _running(service: Service, settings: Settings, clock: Clock) -> Iterator[Service]:
    """A service that runs already, for threads to share."""
    yield service


def loaded_again(setting: Setting) -> Reading:
    """Load a file, its beginning again, and the whole of it after a restart."""
    days, clock = _days(setting), Stopped(_now(setting))
    settings, rows = _settings(setting), _crowd(setting, days)
    for _ in range(RESTARTS):
        with open_service(settings, clock) as service:
            for start in (0, service.resume("file"), 0):
                with suppress(Refused):
                    service.load("file", start, rows[start:])
            stored = service.status().operations
    return Reading("rows of one file that were stored twice", stored - len(rows), 0)


# --- The clock -------------------------------------------------------------------------------------------------------


def moved_clock(setting: Setting, opened: Opener) -> Iterator[Reading]:
    """Move the clock forward and back, restart, close whatever it lets close, and ask for fresh releases."""
    now = _now(setting)
    days = [now.date() + timedelta(days=ahead) for ahead in range(-2, 3)]
    changes = {"first_day": days[0], "fresh_budget": "fresh", "dau.fresh_epsilon": FRESH}
    settings = _settings(setting, changes)
    with open_ledger(settings.ledger_path) as ledger:
        ledger.create_budget("fresh", Guarantee(CAP, 1e-4), now.date(), (now + PERIOD).date())
    first = _asked(opened, settings, Stopped(now), days)
    early = _after(first, now)
    granted, outside, changed = 0, 0, 0
    for number, shown in enumerate((now, now + 2 * PERIOD, now - PERIOD, now) * setting.trials(1, 5)):
        told = _asked(opened, settings, Stopped(shown), days)
        changed += _changed(first, told)
        first = told | first
        with suppress(Refused, LedgerError), opened(settings, Stopped(shown)) as service:
            while granted * FRESH <= 10 * CAP:
                service.fresh("dau", days[0], f"{number}-{granted}")
                granted += 1
                outside += shown != now
    yield Reading("rows that changed while the clock went to and fro", changed, 0)
    yield Reading("days closed before they began, the clock being right", early, 0)
    what = "days closed before they began by a clock put forward, of which nothing is claimed"
    yield Reading(what, _after(first, now))
    yield Reading("ε of fresh releases while the clock went to and fro, of a cap of 1", granted * FRESH, CAP)
    yield Reading("fresh releases outside the period of their budget", outside, 0)


def _after(told: Told, now: datetime) -> int:
    return len({what[1] for what in told if what[1] > str(now.date())})


# --- Influence -------------------------------------------------------------------------------------------------------

Move = Callable[[Service, int, Sequence[date]], Iterable[Operation]]
"""What a user does before a day is closed: the operations to be sent; an erasure may be asked for at once."""
USER = "mallory"


def come_and_go(service: Service, tick: int, days: Sequence[date]) -> list[Operation]:
    """Active on one day, and all of it taken back on the next."""
    if tick % 2 == 0:
        return [Operation(USER, _number(days[tick]))]
    return [Operation(USER, _number(day), RETRACT) for day in days[:tick]]


def erased_and_back(service: Service, tick: int, days: Sequence[date]) -> list[Operation]:
    """Active on one day, and erased on the next."""
    if tick % 2 == 0:
        return [Operation(USER, _number(days[tick]))]
    service.erase(USER)
    return []


def late_and_again(service: Service, tick: int, days: Sequence[date]) -> list[Operation]:
    """All that was ever sent is sent again, youngest first, some of it for days to come; by turns with an erasure."""
    if tick % 2:
        return [Operation(USER, None, ERASE)]
    now, coming = _number(days[tick]), _number(days[min(tick + 3, len(days) - 1)])
    sent = [Operation(USER, _number(day)) for day in days[: tick + 1]]
    return [*sent[::-1], Operation(USER, now, ADD, coming), Operation(USER, None, ERASE, coming)]


def _many_days(setting: Setting) -> list[date]:
    return _days(setting, setting.trials(12, 30))


MOVES: tuple[Move, ...] = (come_and_go, erased_and_back, late_and_again)


def smuggled(setting: Setting, opened: Opener) -> Iterator[Reading]:
    """A user who comes and goes in every way there is, with a restart before every day, alone in a log of unit user."""
    days = _many_days(setting)
    changes: dict[str, object] = {"first_day": days[0], "horizon": len(days)}
    for metric, bound in W_BOUNDS.items():
        changes |= {f"{metric}.unit": "user", f"{metric}.w_bound": bound, f"{metric}.mechanism": "damped-square-root"}
    flips, change, revised, rewritten = 0.0, 0.0, 0, 0
    for move in MOVES:
        settings = _settings(setting, changes)
        found = _lived(settings, opened, move, days, Stopped(_now(setting)))
        revised, rewritten = revised + found.revised, rewritten + found.rewritten
        for metric, counts in found.counts.items():
            one = settings.series[metric]
            design = linear_design(one.mechanism, protected_class(one.unit, one.window, one.w_bound, len(days)))
            flips = max(flips, float(np.abs(np.diff(counts, prepend=0)).sum()) / one.w_bound)
            change = max(change, measured_over_certified(design, counts, np.zeros_like(counts)))
    yield Reading("flips of the user in the counts, per W_BOUND", flips, 1)
    # What is measured and its bound may be sums of the same floats in another order.
    yield Reading("change of the measurements over the certificate", round(change, 9), 1)
    yield Reading("counts of closed days that later operations changed", revised, 0)
    yield Reading("rows of closed days that later operations changed", rewritten, 0)


@dataclass(frozen=True)
class Lived:
    """What a user who was alone in a log left behind.

    Attributes:
        counts: metric → what noise was added to, shape (days,).
        revised: counts of closed days that became others.
        rewritten: rows of closed days that did.
    """

    counts: dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]
    revised: int
    rewritten: int


def _lived(settings: Settings, opened: Opener, move: Move, days: Sequence[date], clock: Clock) -> Lived:
    counts: dict[str, list[int]] = {metric: [] for metric in settings.series}
    revised, told = 0, Told()
    for tick, day in enumerate(days):
        with opened(settings, clock) as service:
            service.ingest(list(move(service, tick, days)))
            for metric, row in zip(settings.series, service.close(day), strict=True):
                told[metric, str(day)] = {row}
            for metric, before in counts.items():
                now = [count.bounded for count in service.truth(metric).counts]
                revised += now[: len(before)] != before
                counts[metric] = now
    rewritten = _changed(told, _asked(opened, settings, clock, days))
    return Lived({metric: np.array(series, dtype=np.int64) for metric, series in counts.items()}, revised, rewritten)


def one_day_again(setting: Setting) -> Reading:
    """One user-day that is taken back and reported again and again, of which the unit user-day promises nothing."""
    days = _many_days(setting)
    settings = _settings(setting, {"first_day": days[0], "horizon": len(days)})

    def to_and_fro(service: Service, tick: int, days: Sequence[date]) -> list[Operation]:
        return [Operation(USER, _number(days[0]), RETRACT if tick % 2 else ADD)]

    counts = _lived(settings, open_service, to_and_fro, days, Stopped(_now(setting))).counts["mau"]
    what = "flips by one user-day that is taken back and reported again, per W_BOUND, of which nothing is claimed"
    return Reading(what, float(np.abs(np.diff(counts, prepend=0)).sum()) / settings.mau.w_bound)


# --- What is attacked ------------------------------------------------------------------------------------------------


def ours(setting: Setting) -> tuple[Reading, ...]:
    """The service as it is."""
    return (
        *restored(setting, open_service),
        cut_off(setting),
        *asked_often(setting, open_service, _processes(setting)),
        loaded_again(setting),
        *moved_clock(setting, open_service),
        *smuggled(setting, open_service),
        one_day_again(setting),
    )


@contextmanager
def _opened(kind: type[Service], store: type[Store], settings: Settings, clock: Clock) -> Iterator[Service]:
    """`open_service`, of another kind and on a store of another kind."""
    whole = open_store(settings.store_path, settings.key_path)
    service = kind(settings, clock, store(whole.connection, pseudonyms(settings.key_path.read_bytes())))
    try:
        service.finish()
        yield service
    finally:
        service.stop()


class Trusting(Service):
    """Goes on with whatever ledger it finds."""

    def _check_ledger(self, ledger: object) -> None:
        """Compare nothing."""

    def _check_bound(self, bound: str | None, name: str) -> None:
        """Compare nothing."""


class Forgetful(Service):
    """Forgets the keys of requests: every one is new."""

    def _fresh_stream(self, metric: str, day: date, request_id: str) -> str:
        return f"{super()._fresh_stream(metric, day, request_id)}/{uuid4().hex}"


class Monthly(Service):
    """Charges fresh releases to a budget of the month that its clock shows, opened when it is first needed."""

    def fresh(self, metric: str, day: date, request_id: str) -> str:
        """`Service.fresh`."""
        name = f"fresh {self.today():%Y-%m}"
        self.settings = msgspec.structs.replace(self.settings, fresh_budget=name)
        with open_ledger(self.settings.ledger_path) as ledger:
            if name not in [budget.name for budget in ledger.budgets()]:
                ledger.create_budget(name, Guarantee(CAP, 1e-4), self.today(), None)
        return super().fresh(metric, day, request_id)


class Resetting(Store):
    """Whose erasures take the flips away, too."""

    def _forget(self) -> None:
        super()._forget()
        self.connection.execute("DELETE FROM flips WHERE pseudonym IN (SELECT pseudonym FROM gone)")


@contextmanager
def _with_own_ledger(settings: Settings, clock: Clock) -> Iterator[Service]:
    """Every process and every start keeps a ledger of its own, and nobody compares names."""
    alone = msgspec.structs.replace(settings, ledger=f"{settings.ledger}.{uuid4().hex}")
    _open_budget(alone, clock)
    with _opened(Trusting, Store, alone, clock) as service:
        yield service


def trusting(setting: Setting) -> tuple[Reading, ...]:
    """A service that does not compare its ledger with its store."""
    return tuple(restored(setting, partial(_opened, Trusting, Store)))


def scattered(setting: Setting) -> tuple[Reading, ...]:
    """A service of several processes, each with a ledger of its own."""
    return tuple(asked_often(setting, _with_own_ledger, _processes(setting)))


def forgetful(setting: Setting) -> tuple[Reading, ...]:
    """A service that does not know a repeated request; one process shows it."""
    return tuple(asked_often(setting, partial(_opened, Forgetful, Store), processes=1))


def monthly(setting: Setting) -> tuple[Reading, ...]:
    """A service whose fresh releases have a new budget every month of its clock."""
    return tuple(moved_clock(setting, partial(_opened, Monthly, Store)))


def resetting(setting: Setting) -> tuple[Reading, ...]:
    """A service in which an erasure resets the counter of flips."""
    return tuple(smuggled(setting, partial(_opened, Service, Resetting)))


TARGETS: dict[str, Target] = {
    OURS: ours,
    "a service that trusts the ledger it finds": trusting,
    "a ledger for every process": scattered,
    "keys of requests that are forgotten": forgetful,
    "a budget for every month of the clock": monthly,
    "a counter of flips that erasure resets": resetting,
}
