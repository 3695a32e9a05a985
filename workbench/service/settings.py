"""What can be set: defaults, a TOML file, the environment, the command line, in that order; one list of names."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Literal

import msgspec

from dp.accounting.composition import Guarantee
from dp.accounting.gaussian import validate_epsilon, validate_guarantee
from dp.database_url import DatabaseUrl, Place, place_of
from dp.extensions import known_names
from dp.mechanisms import MECHANISMS, family_of
from dp.names import DEFAULT_MECHANISM
from dp.noise import validate_level
from dp.presence.daily import day_number
from dp.release import Request, freezes
from dp.units import protected_class
from dp.zones import Zone, zone_named
from workbench.service.folding import RecordLayout

VARIABLE_PREFIX = "DPDAU_"
MOST_FRESH_DAYS = 3660
SERIES = ("dau", "wau", "mau")
LogFormat = Literal["text", "json"]
TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
MOST_GRACE_MINUTES = 30 * 24 * 60


class SettingsError(ValueError):
    """Settings that cannot be used; the message names the setting and what would be right."""


class SeriesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One published series.

    Attributes:
        window: trailing days.
        epsilon: of this series over the whole horizon.
        delta: of this series over the whole horizon.
        unit: who is protected, "user-day" or "user".
        w_bound: W_BOUND, the most flips of what is protected; without effect on sparse-vector.
        mechanism: a name in `dp.mechanisms.MECHANISMS`, but not adaptive-flippancy.
        fresh_epsilon: of each fresh release of one past day; `epsilon` where it is not set.
    """

    window: int
    epsilon: float
    delta: float = 1e-6
    unit: str = "user-day"
    w_bound: int = 2
    mechanism: str = DEFAULT_MECHANISM
    fresh_epsilon: float | None = None

    @property
    def fresh(self) -> float:
        """What each fresh release is charged."""
        return self.epsilon if self.fresh_epsilon is None else self.fresh_epsilon


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a service but its secrets.

    Attributes:
        store: the operations log and what is derived from it, one SQLite file, or the URL of a PostgreSQL database.
        ledger: budgets, charges and releases, a file or a URL alike; may be shared with `dpdau release`.
        key: file with the secret key of the pseudonyms; `store` with ".key" appended where it is not set, beside a
            database dpdau.store.key.
        keys: file with the hashes of the callers' keys; likewise with ".keys".
        timezone: where a day is a day.
        first_day: first tick, a public parameter; where it is not set, the day that is closed first.
        horizon: days that the guarantee covers, None for no end.
        ci_level: level of the pointwise intervals.
        budget: the ledger's budget that is charged.
        fresh_days: how many closed days back fresh releases may ask for; so long the store remembers who was active.
        fresh_budget: the budget that fresh releases are charged to; `budget` where it is not set.
        budget_epsilon: cap on ε of `budget` if the service has to create it.
        budget_delta: cap on δ of `budget` if the service has to create it.
        future_days: whether days after today may be reported and closed, for replays and demonstrations.
        show_truth: whether the pages may show true counts, which are NOT PRIVATE; for demonstrations.
        auto_close: the time of day, such as "02:00" in the service's time zone, at which a server closes the day
            before; not at all where it is not set.
        auto_close_grace_minutes: how much later than that.
        log_format: how a server writes its log, "text" or "json".
        host: address to listen on.
        port: port to listen on, 0 for any free one.
        dau: the series of daily active users.
        wau: the series of weekly active users.
        mau: the series of monthly active users.
    """

    store: str = "dpdau.store"
    ledger: str = "dpdau.ledger"
    key: str | None = None
    keys: str | None = None
    timezone: str = "UTC"
    first_day: date | None = None
    horizon: int | None = 365
    ci_level: float = 0.95
    budget: str = "live"
    fresh_days: int = 30
    fresh_budget: str | None = None
    budget_epsilon: float = 3.0
    budget_delta: float = 1e-5
    future_days: bool = False
    show_truth: bool = False
    auto_close: str | None = None
    auto_close_grace_minutes: int = 0
    log_format: LogFormat = "text"
    host: str = "127.0.0.1"
    port: int = 8000
    # Where one change touches one day, independent noise is best.
    dau: SeriesSettings = SeriesSettings(window=1, epsilon=0.3, mechanism="gaussian")
    wau: SeriesSettings = SeriesSettings(window=7, epsilon=0.4)
    mau: SeriesSettings = SeriesSettings(window=30, epsilon=0.5)

    @property
    def series(self) -> dict[str, SeriesSettings]:
        """Metric → its settings."""
        return {"dau": self.dau, "wau": self.wau, "mau": self.mau}

    @property
    def earliest(self) -> int | None:
        """The first tick as a number of days since 1970-01-01, where it is set."""
        return None if self.first_day is None else day_number(self.first_day)

    @property
    def bounds(self) -> dict[int, int | None]:
        """Window → after how many flips its users are frozen; None where nobody is."""
        return {one.window: one.w_bound if freezes(one.unit, one.mechanism) else None for one in self.series.values()}

    @property
    def layout(self) -> RecordLayout:
        """What the store has to remember of a user."""
        return RecordLayout.needed(self.bounds, self.fresh_days)

    @property
    def store_place(self) -> Place:
        """Where the store lies; as text it has no password, unlike `store`."""
        return place_of(self.store)

    @property
    def store_path(self) -> Path:
        """The file that is the store, for whatever needs one."""
        return _file(self.store_place)

    @property
    def ledger_place(self) -> Place:
        """Where the ledger lies; as text it has no password, unlike `ledger`."""
        return place_of(self.ledger)

    @property
    def ledger_path(self) -> Path:
        """The file that is the ledger, for whatever needs one."""
        return _file(self.ledger_place)

    @property
    def key_path(self) -> Path:
        """Where the key of the pseudonyms lies."""
        return Path(self.key or self._beside + ".key")

    @property
    def keys_path(self) -> Path:
        """Where the hashes of the callers' keys lie."""
        return Path(self.keys or self._beside + ".keys")

    @property
    def _beside(self) -> str:
        """What files that belong to the store are called after."""
        return "dpdau.store" if isinstance(self.store_place, DatabaseUrl) else self.store

    @property
    def zone(self) -> Zone:
        """The time zone in which a day is a day."""
        return zone_named(self.timezone)

    def request(self, metric: str, first: date) -> Request:
        """What is asked of `dp` for one series that starts on `first`."""
        one = self.series[metric]
        return Request(
            windows={metric: one.window},
            unit=one.unit,
            w_bound=one.w_bound,
            guarantee=Guarantee(one.epsilon, one.delta),
            mechanism=one.mechanism,
            first=first,
            horizon=self.horizon,
            shares={metric: 1.0},
            ci_level=self.ci_level,
        )

    def fresh_request(self, metric: str, day: date) -> Request:
        """What is asked of `dp` for a release of one past day on its own: one tick, which one user moves by one."""
        one = self.series[metric]
        return dataclasses.replace(
            self.request(metric, day),
            guarantee=Guarantee(one.fresh, one.delta),
            mechanism="gaussian" if family_of(one.mechanism).noise == "gaussian" else "laplace",
            horizon=1,
        )


def names() -> list[str]:
    """Every setting by its full name, those of a series as `mau.epsilon`."""
    series = [name for name in SeriesSettings.__struct_fields__]
    return [
        full
        for name in Settings.__struct_fields__
        for full in ([f"{name}.{part}" for part in series] if name in SERIES else [name])
    ]


def load_settings(file: Path | None, environment: Mapping[str, str], given: Sequence[tuple[str, str]] = ()) -> Settings:
    """Defaults, then `file`, then variables such as DPDAU_MAU_EPSILON, then (name, value) pairs of the command line.

    Args:
        file: TOML; None for none.
        environment: variables that begin with DPDAU_ and name no setting are left alone.

    Raises:
        SettingsError: an unknown name, or a value that is not possible; the message says where it came from.
    """
    merged: dict[str, Any] = {}
    if file is not None:
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{file} cannot be read as TOML: {error}") from error
        for name, value in content.items():
            if isinstance(value, dict) and name in SERIES:
                for part, inner in value.items():
                    _put(merged, f"{name}.{part}", inner, str(file))
            else:
                _put(merged, name, value, str(file))
    for name in names():
        variable = VARIABLE_PREFIX + name.replace(".", "_").upper()
        if variable in environment:
            _put(merged, name, environment[variable], variable)
    for name, text in given:
        _put(merged, name, text, "--set")
    defaults = Settings()
    for metric in defaults.series:
        merged[metric] = msgspec.structs.asdict(defaults.series[metric]) | merged.get(metric, {})
    try:
        settings = msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"a setting has an impossible value: {error}") from error
    _validate(settings)
    return settings


def settings_text(settings: Settings) -> str:
    """All settings as TOML that `load_settings` reads, but for the passwords of URLs."""
    plain = msgspec.to_builtins(settings) | {
        name: str(place)
        for name, place in (("store", settings.store_place), ("ledger", settings.ledger_place))
        if isinstance(place, DatabaseUrl)
    }
    tables = {name: value for name, value in plain.items() if isinstance(value, dict)}
    lines = [_line(name, value) for name, value in plain.items() if name not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(_line(part, value) for part, value in table.items())]
    return "\n".join(lines) + "\n"


def _line(name: str, value: Any) -> str:
    if value is None:
        return f'{name} = "unlimited"' if name == "horizon" else f"# {name} is not set"
    # JSON spells text, numbers and truth as TOML does.
    return f"{name} = {msgspec.json.encode(value).decode()}"


def _put(merged: dict[str, Any], name: str, value: Any, source: str) -> None:
    if name not in names():
        raise SettingsError(f"{source}: {name!r} is no setting; there are {', '.join(names())}")
    unset = ("key", "keys", "first_day", "auto_close")
    if (name == "horizon" and value == "unlimited") or (name in unset and value == ""):
        value = None
    group, _, part = name.partition(".")
    if part:
        merged.setdefault(group, {})[part] = value
    else:
        merged[group] = value


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
    if not 0 <= settings.port <= 65_535:
        raise SettingsError(f"port is {settings.port}; give 0 to 65535 (0: any free one)")
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
    with _named("ci_level"):
        validate_level(settings.ci_level)


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


def _file(place: Place) -> Path:
    if isinstance(place, DatabaseUrl):
        raise SettingsError(f"{place} is no file")
    return place


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from error


__all__ = ["SeriesSettings", "Settings", "SettingsError", "load_settings", "names", "settings_text"]
