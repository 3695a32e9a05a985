"""A service with flows, calendar cells and segments: what it counts and publishes, whatever happens to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dp.presence.daily import day_number
from tests.oracles import questions as oracle
from tests.oracles.questions import Label, Written
from tests.oracles.service_model import FIRST, SIGNS, START, clock, day, nearly_exact, service_on
from workbench.service import ADD, ERASE, RETRACT, Operation, Refused, Service, Settings, open_service
from workbench.service.key_rotation import rotate_key
from workbench.service.periods import Period, check_same_series
from workbench.service.question_settings import BreakdownSettings, QuestionSettings
from workbench.service.setting_checks import validated

pytestmark = pytest.mark.usefixtures("database")

COLUMNS = ("platform", "country")
BY = {
    "platform": BreakdownSettings(kind="any:2", values=("ios", "web")),
    "one": BreakdownSettings(kind="any", values={"platform": ("ios", "web")}),
    "where": BreakdownSettings(kind="last", values={"platform": ("ios", "tv"), "country": ("GB", "DE")}),
}
NAMES = ("wau/flows", "mau/platform", "wau/one", "dau/where", "mau/flows/where", "week/where", "week", "month/platform")
VALUES = ("ios", "web", "tv", "palm"), ("GB", "DE", "FR")


def settings_with(folder: Path, names: Sequence[str] = NAMES, unit: str = "user-day", **changes: object) -> Settings:
    """Settings that ask questions with next to no noise."""
    one = QuestionSettings(epsilon=90, delta=1e-3, unit=unit, w_bound=4)
    plain = nearly_exact(folder, first_day=FIRST, **changes)
    return validated(msgspec.structs.replace(plain, by=BY, questions=dict.fromkeys(names, one)))


@dataclass
class Told:
    """What a service was told, as rows with the ticks at which they arrived."""

    floor: int = START
    rows: list[Written] = field(default_factory=list)

    def operations(self, operations: Sequence[tuple[Operation, Label]]) -> None:
        for (user, about, op, at, _), label in operations:
            arrives = max(number for number in (self.floor, about, at) if number is not None)
            if op == ERASE and arrives == self.floor:
                self.erase(user)
            else:
                self.rows.append(Written(user, about, SIGNS[op], arrives, label))

    def erase(self, user: str) -> None:
        """What has not counted yet never will; an erasure that is to come stays."""
        self.rows = [one for one in self.rows if one.user != user or one.op == "erase" or one.at < self.floor]
        self.rows.append(Written(user, None, "erase", self.floor, (None, None)))


def known(settings: Settings, said: dict[str, str]) -> Label:
    """What a store knows of what is said: all values that no breakdown lists are one."""
    listed = dict(zip(settings.codes.columns, settings.codes.listed, strict=True))
    values = (said.get(column) for column in COLUMNS)
    return tuple(
        value if value is None or value in listed.get(column, ()) else "unlisted"
        for column, value in zip(COLUMNS, values, strict=True)
    )


class Run:
    """A service and what it was told, compared after every close."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.told = Told()
        self.random = np.random.default_rng(seed)
        self.stack = ExitStack()
        self.service = self.open()
        self.period = START

    def open(self) -> Service:
        self.stack.close()
        self.service = self.stack.enter_context(service_on(self.settings))
        return self.service

    def some(self) -> tuple[Operation, Label]:
        choose, random = self.random.choice, self.random
        user, op = str(choose(list("abcdef"))), int(choose([ADD] * 6 + [RETRACT] * 2 + [ERASE]))
        at = self.told.floor + int(random.integers(1, 4)) if random.random() < 0.1 else None
        if op == ERASE:
            return Operation(user, None, op, at), (None, None)
        about = max(START - 20, self.told.floor - int(choose([0, 0, 0, 1, 3, 6, 12])))
        values = {column: str(choose(values)) for column, values in zip(COLUMNS, VALUES, strict=True)}
        said = {column: values[column] for column in self.settings.codes.columns if random.random() < 0.8}
        label = self.settings.codes.code_of(said)
        return Operation(user, about, op, at, label), known(self.settings, said)

    def day(self) -> None:
        """A day in which things happen, and its close."""
        for _ in range(int(self.random.integers(0, 4))):
            operations = [self.some() for _ in range(int(self.random.integers(1, 4)))]
            # An erasure is carried out at once, before what is sent with it.
            self.service.ingest([one for one, _ in operations])
            self.told.operations(operations)
            if self.random.random() < 0.1:
                user = str(self.random.choice(list("abcdef")))
                self.service.erase(user)
                self.told.erase(user)
        self.service.close(self.today)
        self.told.floor += 1

    @property
    def today(self) -> date:
        return day(self.told.floor - START)

    def compare(self) -> None:
        """All counts of the period so far, with the replay of what was told."""
        last = self.told.floor - 1
        for name, question in self.settings.asked.items():
            bound = self.settings.questions[name].w_bound if self.settings.questions[name].unit == "user" else None
            with self.service.access.reading() as store:
                found = np.array(store.answers(name, self.period, last)).reshape(-1, len(question.series)).T.tolist()
            right = oracle.answer(self.told.rows, question, self.period, last, columns=COLUMNS, w_bound=bound)
            assert found == right, name


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "seed"), [("user-day", 1), ("user", 2)])
def test_days_count_what_the_replay_counts(tmp_path: Path, stack: ExitStack, unit: str, seed: int) -> None:
    run = Run(settings_with(tmp_path, unit=unit), seed)
    stack.callback(run.stack.close)
    for number in range(16):
        run.day()
        if number in (4, 9):
            run.stack.close()
            if number == 4:
                rotate_key(run.settings.store_place, run.settings.key_path)
            run.open()
    run.compare()


@pytest.mark.slow
@pytest.mark.files_only
def test_a_renewal_begins_anew_and_may_ask_more(tmp_path: Path, stack: ExitStack) -> None:
    run = Run(settings_with(tmp_path, ("mau/flows", "mau/platform"), "user", horizon=12), 5)
    stack.callback(run.stack.close)
    for _ in range(12):
        run.day()
    run.compare()
    run.settings = settings_with(tmp_path, ("mau/flows", "mau/flows/where", "week/where"), "user", horizon=20)
    run.told.rows = [
        one._replace(label=known(run.settings, said))
        for one in run.told.rows
        for said in [{column: value for column, value in zip(COLUMNS, one.label, strict=True) if value is not None}]
    ]
    run.stack.close()
    with open_service(run.settings, clock, finish=False) as service:
        service.renewal.renew(confirmed=True)
    run.open()
    run.period = run.told.floor
    for _ in range(20):
        run.day()
    run.compare()
    assert "MAU/platform" in run.service.promise
    assert len(run.service.answers.rows("mau/platform")) == 12 * 3
    assert len(run.service.answers.rows("mau/flows")) == 32 * 3


def test_what_is_published_is_what_is_counted(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, ("mau/platform", "mau/flows", "week"))
    label = settings.codes.code_of
    with service_on(settings) as service:
        service.ingest([Operation(f"u{one}", START, ADD, None, label({"platform": "ios"})) for one in range(30)])
        service.ingest([Operation(f"u{one}", START, ADD, None, label({"platform": "web"})) for one in range(10)])
        rows = [json.loads(row) for row in service.close(FIRST)]
        assert [(row.get("question"), row.get("segment")) for row in rows[3:]] == [
            ("mau/new", None), ("mau/returning", None), ("mau/gone", None), ("mau", "ios"), ("mau", "web"),
            ("mau", "other"),
        ]  # fmt: skip
        assert [row["estimate"] for row in rows] == pytest.approx([30, 30, 30, 30, 0, 0, 30, 10, 0], abs=4)
        # A week is published on its last day, and on no other.
        for index in range(1, 4):
            rows = [json.loads(row) for row in service.close(day(index))]
        assert [row["question"] for row in rows if "question" in row][-1] == "week"
        assert service.answers.on("week", day(3)) == [json.dumps(rows[-1])]
        assert rows[-1]["estimate"] == pytest.approx(30, abs=4)
        assert service.close(day(3)) == [json.dumps(row) for row in rows]
        with pytest.raises(Refused, match="week is published on the last day of a week: 2026-01-04"):
            service.answers.on("week", day(2))
        with pytest.raises(Refused, match="2026-01-06 is not closed yet"):
            service.answers.on("mau/flows", day(5))
        with pytest.raises(Refused, match="no such metric or question; choose dau, wau, mau, mau/flows"):
            service.answers.on("mau/country", FIRST)


def test_questions_are_fixed_by_the_first_close(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, ("mau/platform", "week"))
    with service_on(settings) as service:
        service.close(FIRST)
    for names in (("week",), ("mau/platform", "week", "month/platform")):
        changed = settings_with(tmp_path, names)
        with pytest.raises(Refused, match=r"questions of the period .* are set now differ"), service_on(changed):
            pass
    narrower = {**BY, "platform": BreakdownSettings(kind="any:2", values=("ios", "tv"))}
    with (
        pytest.raises(Refused, match="published with other settings"),
        service_on(msgspec.structs.replace(settings, by=narrower)),
    ):
        pass
    with service_on(settings) as service:
        service.close(day(1))


@pytest.mark.parametrize(
    ("names", "values"), [(("mau/platform",), ("ios", "tv")), (("mau/where",), ()), (("mau/flows",), ())]
)
def test_a_period_is_answered_as_charged_when_the_next_one_is_set(
    tmp_path: Path, names: tuple[str, ...], values: tuple[str, ...]
) -> None:
    settings = settings_with(tmp_path, ("mau/platform",), horizon=3)
    with service_on(settings) as service:
        service.close(FIRST)
    by = {**BY, "platform": BreakdownSettings(kind="any:2", values=values)} if values else BY
    coming = msgspec.structs.replace(settings_with(tmp_path, names, horizon=3), by=by)
    with open_service(coming, clock, finish=False) as service:
        service.renewal.renew(day(3), confirmed=True)
    with service_on(coming) as service:
        said = service.codes.code_of({"platform": "web"})
        service.ingest([Operation(f"u{one}", START + 1, ADD, None, said) for one in range(30)])
        rows = [json.loads(row) for row in service.close(day(1))][3:]
        assert [row["segment"] for row in rows] == ["ios", "web", "other"]
        assert [row["estimate"] for row in rows] == pytest.approx([0, 30, 0], abs=4)
        service.close(day(2))
    with service_on(coming) as service:
        assert service.codes == coming.codes


def test_a_period_in_which_a_question_has_no_answer_is_refused_before_it_is_charged(tmp_path: Path) -> None:
    # From the first day of the calendar, on which settings are checked, five days hold a Sunday, and from here none.
    settings = settings_with(tmp_path, ("week",), horizon=5)
    monday = day(4)
    with service_on(msgspec.structs.replace(settings, first_day=monday)) as service:
        with pytest.raises(Refused, match="no week ends within the 5 ticks from 2026-01-05"):
            service.close(monday)
        assert service.charges() == []
        assert service.status().last is None


def test_a_question_that_was_left_out_comes_back_with_its_unit(tmp_path: Path) -> None:
    def period(number: int, names: Sequence[str], unit: str) -> Period:
        return Period.by_settings(settings_with(tmp_path, names, unit), "store", number, day(120 * (number - 1)))

    before = [period(1, ("week", "mau/flows"), "user-day"), period(2, ("mau/flows",), "user-day")]
    check_same_series(before, period(3, ("week", "mau/flows"), "user-day"))
    with pytest.raises(Refused, match=r"week.unit is 'user' now and was 'user-day'"):
        check_same_series(before, period(3, ("week",), "user"))


@pytest.mark.slow
@pytest.mark.files_only
@pytest.mark.parametrize(("name", "stays", "for_ever"), [("dau/where", 0, 0), ("wau/one", 1, 0), ("wau/flows", 1, 1)])
def test_an_erased_user_leaves_only_what_a_question_needs(tmp_path: Path, name: str, stays: int, for_ever: int) -> None:
    settings = settings_with(tmp_path, (name,), fresh_days=0)

    def known() -> int:
        with service.access.reading() as store:
            return store.users_known()

    with service_on(settings) as service:
        label = 0 if name == "wau/flows" else settings.codes.code_of({"platform": "ios"})
        service.ingest([Operation("ann", START, ADD, None, label)])
        service.close(FIRST)
        service.erase("ann")
        service.settled()
        for index in range(1, 4):
            service.close(day(index))
        assert known() == stays
        # What has passed the memory of days has gone, but for who was ever there.
        for index in range(4, 32):
            service.close(day(index))
        assert known() == for_ever


def test_values_that_are_not_listed_never_reach_the_store(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, ("mau/platform",))
    with service_on(settings) as service:
        said = settings.codes.code_of({"platform": "Jane's fridge"})
        service.ingest([Operation("ann", START, ADD, None, said)])
        service.close(FIRST)
        assert day_number(FIRST) == START
    for file in tmp_path.iterdir():
        assert b"fridge" not in file.read_bytes()
