"""Which settings can be used, and which fit each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from dp.accounting.gaussian import validate_epsilon, validate_guarantee
from dp.database_url import DatabaseUrl, place_of
from dp.extensions import known_names
from dp.mechanisms import MECHANISMS, family_of
from dp.noise import validate_level
from dp.presence.daily import EPOCH
from dp.questions import Breakdown
from dp.release import plan_release
from dp.units import protected_class
from dp.zones import zone_named
from workbench.service.settings import Settings, SettingsError

MOST_FRESH_DAYS = 3660
TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
MOST_GRACE_MINUTES = 30 * 24 * 60
MOST_SEGMENTS = 10_000


def validated(settings: Settings) -> Settings:
    """The settings, if they fit each other.

    Raises:
        SettingsError: it names those that do not.
    """
    _validate(settings)
    return settings


def _validate(settings: Settings) -> None:
    for name in ("store", "ledger", "budget", "host"):
        if not getattr(settings, name):
            raise SettingsError(f"{name} is empty; give it a value or leave it out")
    _validate_places(settings)
    try:
        zone_named(settings.timezone)
    except ValueError as error:
        raise SettingsError(f"timezone is {settings.timezone!r}; give an IANA name such as Europe/Berlin") from error
    if settings.horizon is not None and not 1 <= settings.horizon <= 36_600:
        raise SettingsError(f"horizon is {settings.horizon}; give 1 to 36600 days, or 'unlimited'")
    if not (0 < settings.budget_epsilon < 1e9 and 0 <= settings.budget_delta < 1):
        raise SettingsError(
            f"budget_epsilon and budget_delta are {settings.budget_epsilon} and {settings.budget_delta}; "
            "give epsilon > 0 and 0 <= delta < 1"
        )
    _validate_days(settings)
    _validate_ports(settings)
    if settings.dau.window != 1 or settings.wau.window != 7 or settings.mau.window not in (28, 30):
        raise SettingsError(
            f"windows are dau {settings.dau.window}, wau {settings.wau.window}, mau {settings.mau.window}; "
            "DAU has 1 day and WAU 7, MAU may have 30 or 28"
        )
    for metric, one in settings.series.items():
        known = known_names("mechanisms", MECHANISMS)
        if one.mechanism not in known:
            raise SettingsError(f"{metric}.mechanism is {one.mechanism!r}; choose from {', '.join(known)}")
        if family_of(one.mechanism).own_bounds is not None:
            raise SettingsError(
                f"{metric}.mechanism is {one.mechanism}, which needs every day counted under all its W_BOUNDs; "
                "a live store counts a day under one. Choose another, for instance sparse-vector, which needs no "
                "W_BOUND, or run it on a log with 'dpdau release'"
            )
        if not 0 <= one.delta < 1:
            raise SettingsError(f"{metric}.delta is {one.delta}; it must be at least 0 and less than 1")
        with _named(metric):
            protected_class(one.unit, one.window, one.w_bound, settings.horizon)
            for epsilon in (one.epsilon, one.fresh):
                if family_of(one.mechanism).delta == "needed":
                    validate_guarantee(epsilon, one.delta)
                else:
                    validate_epsilon(epsilon)
    _validate_questions(settings)
    with _named("ci_level"):
        validate_level(settings.ci_level)


def _validate_questions(settings: Settings) -> None:
    for name, one in settings.by.items():
        with _named(f"by.{name}"):
            _validate_breakdown(one.named(name))
    with _named("questions"):
        _ = settings.codes
    for name, question in settings.asked.items():
        with _named(f"questions.{name}"):
            plan_release(settings.question_request(question, EPOCH))


def _validate_breakdown(found: Breakdown) -> None:
    if found.kind == "fixed":
        raise ValueError(
            "kind is 'fixed', which needs a table of users; a live store has none. Choose last or any, or release from "
            "a log with --users"
        )
    if found.size > MOST_SEGMENTS:
        raise ValueError(
            f"it has {found.size:,} segments, each of which would be published every day; at most {MOST_SEGMENTS:,} "
            "are: list fewer values"
        )


def _validate_places(settings: Settings) -> None:
    for name in ("store", "ledger"):
        with _named(name):
            place_of(getattr(settings, name))
    places = (settings.store_place, settings.ledger_place, settings.key_path, settings.keys_path)
    files = [place for place in places if not isinstance(place, DatabaseUrl)]
    if len({path.resolve() for path in files}) < len(files):
        raise SettingsError(
            f"store, ledger, key and keys are {', '.join(map(str, files))}; each needs a file of its own"
        )


def _validate_ports(settings: Settings) -> None:
    for name, port in (("port", settings.port), ("grpc_port", settings.grpc_port or 0)):
        if not 0 <= port <= 65_535:
            raise SettingsError(f"{name} is {port}; give 0 to 65535 (0: any free one)")
    if settings.port and settings.port == settings.grpc_port:
        raise SettingsError(f"port and grpc_port are both {settings.port}; each needs a port of its own")


def _validate_days(settings: Settings) -> None:
    if not 0 <= settings.fresh_days <= MOST_FRESH_DAYS:
        raise SettingsError(f"fresh_days is {settings.fresh_days}; give 0 to {MOST_FRESH_DAYS}")
    if settings.auto_close is None:
        return
    if not TIME_OF_DAY.fullmatch(settings.auto_close):
        raise SettingsError(f'auto_close is {settings.auto_close!r}; give a time of day such as "02:00"')
    if not 0 <= settings.auto_close_grace_minutes <= MOST_GRACE_MINUTES:
        raise SettingsError(
            f"auto_close_grace_minutes is {settings.auto_close_grace_minutes}; give 0 to {MOST_GRACE_MINUTES} (30 days)"
        )
    if settings.future_days:
        raise SettingsError("auto_close follows the clock, and future_days says that the days do not; set one of them")


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from error
