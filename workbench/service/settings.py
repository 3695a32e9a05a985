"""What can be set; one list of names. Which values fit each other: `setting_checks`; where they come from:
`setting_sources`."""

from __future__ import annotations

import dataclasses
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec

from dp.accounting.composition import Guarantee
from dp.database_url import DatabaseUrl, Place, place_of
from dp.mechanisms import family_of
from dp.names import DEFAULT_MECHANISM
from dp.presence.daily import EPOCH, day_number
from dp.questions import Question
from dp.release import Request, freezes
from dp.zones import Zone, zone_named
from workbench.service.counted_questions import CountedQuestion
from workbench.service.folding import RecordLayout
from workbench.service.labels import LabelCodes
from workbench.service.question_settings import BreakdownSettings, QuestionSettings, question_named

SERIES = ("dau", "wau", "mau")
TABLES: dict[str, type[msgspec.Struct]] = {"questions": QuestionSettings, "by": BreakdownSettings}
"""Settings whose parts are named by whoever sets them → what each part has."""
LogFormat = Literal["text", "json"]


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
        grpc_port: port to listen on for gRPC, 0 for any free one; no gRPC where it is not set.
        dau: the series of daily active users.
        wau: the series of weekly active users.
        mau: the series of monthly active users.
        questions: what else is published, by name: flows such as mau/flows, week, month, and any of these and of the
            metrics by a breakdown, such as mau/platform.
        by: the breakdowns, by name.
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
    grpc_port: int | None = None
    # Where one change touches one day, independent noise is best.
    dau: SeriesSettings = SeriesSettings(window=1, epsilon=0.3, mechanism="gaussian")
    wau: SeriesSettings = SeriesSettings(window=7, epsilon=0.4)
    mau: SeriesSettings = SeriesSettings(window=30, epsilon=0.5)
    questions: dict[str, QuestionSettings] = {}
    by: dict[str, BreakdownSettings] = {}

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
    def asked(self) -> dict[str, Question]:
        """The questions besides the metrics, by name in alphabetical order.

        Raises:
            ValueError: there is no question or no breakdown of that name.
        """
        windows = {metric: one.window for metric, one in self.series.items()}
        breakdowns = {name: one.named(name) for name, one in self.by.items()}
        return {name: question_named(name, windows, breakdowns) for name in sorted(self.questions)}

    @property
    def codes(self) -> LabelCodes:
        """What operations can say of segments, as things are set; a service takes in `Service.codes`."""
        found = (question.breakdown for question in self.asked.values())
        return LabelCodes.of(one for one in found if one is not None and one.kind != "fixed")

    @property
    def layout(self) -> RecordLayout:
        """What the store has to remember of a user."""
        asked = [counted_question(question, self.question_request(question, EPOCH)) for question in self.asked.values()]
        return RecordLayout.needed(self.bounds, self.fresh_days, asked)

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

    def requests(self, first: date) -> dict[str, Request]:
        """What is asked of `dp` for series that start on `first`: by metric, then by question."""
        return {
            **{metric: self.request(metric, first) for metric in self.series},
            **{name: self.question_request(question, first) for name, question in self.asked.items()},
        }

    def question_request(self, question: Question, first: date) -> Request:
        """What is asked of `dp` for one question of `asked`, from `first` on."""
        one = self.questions[question.name]
        return dataclasses.replace(self._request(question.name, one, first), questions=(question,))

    def request(self, metric: str, first: date) -> Request:
        """What is asked of `dp` for one series that starts on `first`."""
        one = self.series[metric]
        return dataclasses.replace(self._request(metric, one, first), windows={metric: one.window})

    def _request(self, name: str, one: SeriesSettings | QuestionSettings, first: date) -> Request:
        """What both have in common."""
        return Request(
            windows={},
            unit=one.unit,
            w_bound=one.w_bound,
            guarantee=Guarantee(one.epsilon, one.delta),
            mechanism=one.mechanism,
            first=first,
            horizon=self.horizon,
            shares={name: 1.0},
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


def counted_question(question: Question, request: Request) -> CountedQuestion:
    """A question as it is counted for a request."""
    return CountedQuestion(question, request.w_bound if freezes(request.unit, request.mechanism) else None)


def names() -> list[str]:
    """Every setting by its full name, those of a series as `mau.epsilon`."""
    series = [name for name in SeriesSettings.__struct_fields__]
    return [
        full
        for name in Settings.__struct_fields__
        if name not in TABLES
        for full in ([f"{name}.{part}" for part in series] if name in SERIES else [name])
    ]


def _file(place: Place) -> Path:
    if isinstance(place, DatabaseUrl):
        raise SettingsError(f"{place} is no file")
    return place
