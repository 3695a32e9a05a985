"""A demonstration: a generated population whose days are fed to the service one by one."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Sequence
from datetime import date, timedelta

import msgspec

from dp.log.generate import generate
from dp.presence.daily import day_number
from workbench.service import ADD, Operation, Refused, Service, Settings
from workbench.service.operations import OPS
from workbench.service.question_settings import BreakdownSettings, QuestionSettings

FIRST_DAY = date(2026, 1, 1)
DAYS_FILLED = 60
DAYS_GENERATED = 365
USERS = 6000
DELETE_RATE = 0.15
ERASE_RATE = 0.02
LATE_RATE = 0.03
SEED = 2026
PLATFORM = "platform"
PLATFORMS = {"ios": 45, "android": 35, "web": 20}
"""Value → per cent of the users."""
ON_TWO = 8
"""Per cent of the users who come from two platforms."""
_PLACES = tuple(name for name, share in PLATFORMS.items() for _ in range(share))


def of_demonstration(settings: Settings) -> Settings:
    """The settings of a demonstration: its days are no real ones, and its truth may be seen.

    Where nothing is asked besides DAU, WAU and MAU, it asks who comes and goes, for users by platform, and for weeks.
    """
    chosen = with_days(settings)
    if settings.questions or settings.by:
        return chosen
    questions = {
        "mau/flows": QuestionSettings(epsilon=0.6),
        f"mau/{PLATFORM}": QuestionSettings(epsilon=0.4),
        "week": QuestionSettings(epsilon=0.2),
    }
    by = {PLATFORM: BreakdownSettings(kind="last", values=tuple(PLATFORMS))}
    return msgspec.structs.replace(chosen, questions=questions, by=by)


def with_days(settings: Settings) -> Settings:
    """The settings with the days of a demonstration."""
    return msgspec.structs.replace(settings, first_day=FIRST_DAY, future_days=True, show_truth=True, auto_close=None)


def operations_of(day: date) -> list[Operation]:
    """What arrives on one day of the demonstration; nothing after its end."""
    return list(_arrivals(USERS).get(day, []))


def is_demonstration(service: Service) -> bool:
    """Whether a store holds nothing, or began as a demonstration."""
    return service.status().operations == 0 or service.loading.resume(f"demo {FIRST_DAY}") > 0


def plays(service: Service) -> bool:
    """Whether generated operations are to arrive before a day is closed: settings and store are a demonstration's."""
    settings = service.settings
    return with_days(settings) == settings and is_demonstration(service)


def users_active(day: date, most: int) -> list[str]:
    """Some of the generated users who are active on a day and take nothing back that arrives on it."""
    arrived = operations_of(day)
    gone = {operation.user for operation in arrived if operation.op != ADD}
    here = {operation.user: None for operation in arrived if operation.op == ADD and operation.day == day_number(day)}
    return [user for user in here if user not in gone][:most]


def check_demonstration(service: Service) -> None:
    """Refuse to mix generated operations with others.

    Raises:
        Refused: the store holds something else than a demonstration.
    """
    if not is_demonstration(service):
        raise Refused(
            "other-store",
            f"the store {service.settings.store_place} is no demonstration: it holds {service.status().operations:,} "
            "operations, and generated ones are not mixed with them; choose another --folder",
        )


def feed(service: Service, day: date) -> list[str]:
    """Let the operations of one day of the demonstration arrive, if they have not yet, and close the day.

    Returns:
        what the day publishes, a row a metric.
    """
    file = f"demo {day}"
    # By name, so that two who feed a day at once feed it only once.
    if not service.loading.resume(file):
        service.loading.store(file, 0, _labelled(service, operations_of(day)))
    return service.close(day)


def platform_of(user: str, day: int) -> str:
    """From which platform a user comes on a day; most users come from the same one always."""
    drawn = zlib.crc32(user.encode())
    turn = day % 3 == 0 and drawn % 100 < ON_TWO
    return _PLACES[(drawn // 100 + len(_PLACES) // 2 * turn) % len(_PLACES)]


def _labelled(service: Service, operations: Sequence[Operation]) -> list[Operation]:
    """The operations with the platform, where the settings know it. What is taken back is taken back on all of them."""
    codes = service.codes
    if PLATFORM not in codes.columns:
        return list(operations)
    labels = {name: codes.code_of({PLATFORM: name}) for name in PLATFORMS}
    return [
        one._replace(label=labels[platform_of(one.user, one.day)]) if one.op == ADD and one.day is not None else one
        for one in operations
    ]


def fill(
    service: Service, days: int, report: Callable[[str, float], None], stopped: Callable[[], bool] = lambda: False
) -> int:
    """Feed and close the first `days` days of the demonstration, from where the service stands; returns how many.

    Each day is one step, so an interrupted run resumes where it stopped. Before each, `stopped` may end it.
    """
    report("generating a population", 0.0)
    _arrivals(USERS)
    last = FIRST_DAY + timedelta(days=days - 1)
    start = service.status().open_day or FIRST_DAY
    filled = max(0, (last - start).days + 1)
    for index in range(filled):
        if stopped():
            return index
        day = start + timedelta(days=index)
        feed(service, day)
        report(f"filling and closing days: {day}", (index + 1) / filled)
    return filled


@functools.cache
def _arrivals(users: int) -> dict[date, list[Operation]]:
    table = generate(
        users, DAYS_GENERATED, delete_rate=DELETE_RATE, erase_rate=ERASE_RATE, late_rate=LATE_RATE, seed=SEED,
        start=FIRST_DAY,
    )  # fmt: skip
    arrivals: dict[date, list[Operation]] = {}
    for user, day, op, at in zip(*(table[name].to_pylist() for name in ("user", "day", "op", "at")), strict=True):
        number = None if day is None else day_number(day)
        arrivals.setdefault(at, []).append(Operation(user, number, OPS[op]))
    return arrivals
