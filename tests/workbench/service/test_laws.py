"""The law of the live service: its counts equal the batch query's at every prefix of any stream of actions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from dp.ledger import Ledger
from tests.examples import examples
from tests.oracles.service_model import (
    FIRST,
    START,
    History,
    add,
    calendar,
    day,
    erasure,
    nearly_exact,
    retract,
    service_on,
)
from workbench.service import Ingested, Operation, Refused, Service, Settings
from workbench.service import service as service_module
from workbench.service.account import Account
from workbench.service.counting import Counter
from workbench.service.periods import Period
from workbench.service.store import Store
from workbench.service.tables import batches

pytestmark = pytest.mark.usefixtures("database")

METRICS = ("dau", "wau", "mau")
USERS = ("ann", "bob", "cem", "dan")


@dataclass(frozen=True)
class Ingest:
    """A batch; days are relative to the open day, so that streams of any length stay near it."""

    operations: tuple[tuple[str, str, int, int | None], ...]


@dataclass(frozen=True)
class Erase:
    user: str


@dataclass(frozen=True)
class Close:
    pass


@dataclass(frozen=True)
class Fresh:
    metric: str
    back: int


Action = Ingest | Erase | Close | Fresh


@dataclass(frozen=True)
class Setting:
    """What a stream runs under: the unit, W_BOUND of each metric, the window of MAU, whether the first day is given,
    and how many days are charged for at once.
    """

    unit: str = "user"
    bounds: tuple[int, int, int] = (2, 2, 2)
    mau: int = 30
    first_known: bool = True
    horizon: int = 120

    def settings(self, folder: Path) -> Settings:
        parts = {f"{metric}__unit": self.unit for metric in METRICS}
        bounds = {f"{metric}__w_bound": bound for metric, bound in zip(METRICS, self.bounds, strict=True)}
        first = {"first_day": FIRST} if self.first_known else {}
        return nearly_exact(folder, **parts, **bounds, **first, mau__window=self.mau, horizon=self.horizon)


class DisagreementError(AssertionError):
    """The live service and the batch query give different counts."""


class Run:
    """A service and a history that are told the same, and compared."""

    def __init__(self, service: Service, setting: Setting) -> None:
        self.service, self.setting = service, setting
        self.periods = [(0, setting)]
        self.history = History(START if setting.first_known else None)
        self.windows = {metric: one.window for metric, one in service.settings.series.items()}
        self.closed = 0
        self.fresh = 0

    @property
    def open_index(self) -> int:
        return self.closed

    def do(self, action: Action) -> None:
        match action:
            case Ingest(operations):
                batch = [self.operation(*one) for one in operations]
                ingested = self.service.ingest(batch)
                late = self.history.ingest(batch)
                # Before the first close nothing is late: no day is closed.
                expected = Ingested(len(batch), late if self.closed else 0, ingested.seq)
                same("what became of a batch", ingested, expected)
            case Erase(user):
                self.service.erase(user)
                self.history.erase(user)
            case Close():
                self.service.close(day(self.open_index))
                self.history.floor = START + self.open_index
                self.history.close()
                self.closed += 1
            case Fresh(metric, back):
                if back < self.closed:
                    self.recount(metric, self.closed - 1 - back)

    @property
    def is_over(self) -> bool:
        start, setting = self.periods[-1]
        return self.closed == start + setting.horizon

    def renew(self, service: Service, setting: Setting) -> None:
        """Go on in the next period, under another service on the same files."""
        with pytest.raises(Refused) as refused:
            self.service.close(day(self.closed))
        same("a close behind the horizon", refused.value.kind, "horizon-over")
        self.service, self.setting = service, setting
        charges = len(service.charges())
        for _ in range(2):
            service.renewal.renew(confirmed=True)
            same("charges", len(service.charges()), charges + len(METRICS))
        self.periods.append((self.closed, setting))

    def pieces(self) -> Iterator[tuple[int, int, Setting]]:
        """First and last tick of every period up to the open day, and what it runs under."""
        # The open day may be the first of a period that is not charged yet: it is previewed as if it were.
        periods = [*self.periods, (self.closed, self.setting)] if self.is_over else self.periods
        ends = [start for start, _ in periods[1:]] + [self.open_index + 1]
        for (start, setting), end in zip(periods, ends, strict=True):
            yield START + start, START + end - 1, setting

    def operation(self, user: str, op: str, about: int, at: int | None) -> Operation:
        about += self.open_index
        later = None if at is None else self.open_index + at
        return {"+": add, "-": retract}[op](user, about, later) if op != "erase" else erasure(user, later)

    def recount(self, metric: str, index: int) -> None:
        self.fresh += 1
        row = json.loads(self.service.fresh(metric, day(index), f"fresh-{self.fresh}"))
        same(f"{metric} of day {index}, fresh", round(row["estimate"]), self.recounted(metric, index))

    def recounted(self, metric: str, index: int) -> int:
        return self.history.recount(self.windows[metric], START + index)

    def compare(self, counted: Callable[[int, int, int, int | None], list[int]]) -> None:
        """Counts of closed days and of the open one against `counted(window, first, last, bound)`."""
        counted = cache(counted)
        preview = self.service.preview(calendar(self.last))
        for place, metric in enumerate(METRICS):
            window, closed = self.windows[metric], self.service.truth(metric)
            truths = counted(window, START, self.last, None)
            bounded = [
                count
                for first, last, setting in self.pieces()
                for count in counted(window, first, last, wanted_bounds(setting)[place])
            ]
            same("days", closed.days, [day(index) for index in range(self.closed)])
            same(f"{metric}, closed", [count.truth for count in closed.counts], truths[:-1])
            same(f"{metric}, closed and bounded", [count.bounded for count in closed.counts], bounded[:-1])
            same(f"{metric}, open", preview[metric].truth, truths[-1])
            same(f"{metric}, open and bounded", preview[metric].bounded, bounded[-1])

    def compare_with_batch_query(self) -> None:
        self.compare(lambda window, first, last, bound: self.history.counts([window], first, last, bound)[window])

    def compare_with_replay(self) -> None:
        self.compare(self.history.slow_counts)

    @property
    def last(self) -> int:
        return START + self.open_index


def wanted_bounds(setting: Setting) -> tuple[int | None, ...]:
    return setting.bounds if setting.unit == "user" else (None, None, None)


def same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise DisagreementError(f"{what}: {found} instead of {expected}")


def law(
    actions: Sequence[Action],
    setting: Setting,
    folder: Path,
    wrap: Callable[[Store], Store] = lambda store: store,
    batch_every: int = 1,
) -> Run:
    """Do what a stream says; compare with the replay after every action, with the batch query after every so many."""
    with service_on(setting.settings(folder), wrap) as service:
        run = Run(service, setting)
        for number, action in enumerate(actions, start=1):
            run.do(action)
            run.compare_with_replay()
            if number % batch_every == 0 or number == len(actions):
                run.compare_with_batch_query()
        return run


def law_over_periods(
    actions: Sequence[Action],
    settings: Sequence[Setting],
    folder: Path,
    wrap: Callable[[Store], Store] = lambda store: store,
    batch_every: int = 1,
) -> Run:
    """`law`, renewed with the next of the settings, round and round, where a close finds the horizon over."""
    following = cycle(settings)
    with ExitStack() as opened:
        setting = next(following)
        run = Run(opened.enter_context(service_on(setting.settings(folder), wrap)), setting)
        for number, action in enumerate(actions, start=1):
            if isinstance(action, Close) and run.is_over:
                setting = next(following)
                run.renew(opened.enter_context(service_on(setting.settings(folder), wrap)), setting)
            run.do(action)
            run.compare_with_replay()
            if number % batch_every == 0 or number == len(actions):
                run.compare_with_batch_query()
    return run


# --- Streams ---------------------------------------------------------------------------------------------------------

ABOUT = (0, 0, 0, -1, -2, -7, -29, 1, 2, 8)
LATER = (None, None, None, None, 0, 1, 3, 30)

operation_tuples = st.tuples(
    st.sampled_from(USERS),
    st.sampled_from(("+", "+", "+", "-", "-", "erase")),
    st.sampled_from(ABOUT),
    st.sampled_from(LATER),
)
actions = st.one_of(
    st.lists(operation_tuples, min_size=1, max_size=6).map(lambda batch: Ingest(tuple(batch))),
    st.just(Close()),
    st.sampled_from(USERS).map(Erase),
    st.builds(Fresh, st.sampled_from(METRICS), st.integers(0, 30)),
    st.just(Close()),
)
settings_drawn = st.builds(
    Setting,
    unit=st.sampled_from(("user", "user", "user-day")),
    bounds=st.tuples(*[st.integers(1, 4)] * 3),
    mau=st.sampled_from((28, 30)),
    first_known=st.booleans(),
)


def long_stream(seed: int, length: int) -> Iterator[Action]:
    """A stream with everything in it, over many more days than the longest window."""
    rng = np.random.default_rng(seed)
    for _ in range(length):
        match rng.choice(["ingest", "close", "erase", "fresh"], p=[0.5, 0.4, 0.05, 0.05]):
            case "ingest":
                yield Ingest(
                    tuple(
                        (
                            str(rng.choice(USERS)),
                            str(rng.choice(["+", "-", "erase"], p=[0.6, 0.35, 0.05])),
                            int(rng.choice(ABOUT)),
                            LATER[rng.integers(len(LATER))],
                        )
                        for _ in range(rng.integers(1, 5))
                    )
                )
            case "close":
                yield Close()
            case "erase":
                yield Erase(str(rng.choice(USERS)))
            case _:
                yield Fresh(str(rng.choice(METRICS)), int(rng.integers(0, 30)))


@pytest.mark.slow
@given(stream=st.lists(actions, min_size=1, max_size=12), setting=settings_drawn)
@examples(12)
def test_live_counts_equal_the_batch_query_at_every_prefix(stream: list[Action], setting: Setting) -> None:
    with TemporaryDirectory() as folder:
        law(stream, setting, Path(folder))


@pytest.mark.files_only
@pytest.mark.slow
@given(stream=st.lists(actions, min_size=6, max_size=40), setting=settings_drawn)
@examples(40)
def test_live_counts_equal_the_batch_query_at_the_end_of_many_streams(stream: list[Action], setting: Setting) -> None:
    with TemporaryDirectory() as folder:
        law(stream, setting, Path(folder), batch_every=len(stream))


@pytest.mark.files_only
@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "setting", "batch_every"),
    [
        (1, Setting(bounds=(1, 2, 3), mau=28), 1),
        (2, Setting(bounds=(4, 3, 2)), 10),
        (3, Setting(bounds=(2, 4, 1), first_known=False), 10),
        (4, Setting(unit="user-day"), 10),
    ],
)
def test_live_counts_equal_the_batch_query_on_a_long_stream(
    seed: int, setting: Setting, batch_every: int, tmp_path: Path
) -> None:
    run = law(list(long_stream(seed, 160)), setting, tmp_path, batch_every=batch_every)
    assert run.closed > 45, "more days than the longest window"
    assert run.history.cancelled > 0, "an erasure took back what had not counted yet"
    assert {"+", "-", "erase"} == {row.op for row in run.history.rows}


@pytest.mark.slow
@given(
    stream=st.lists(st.one_of(actions, st.just(Close())), min_size=4, max_size=30),
    setting=settings_drawn,
    bounds=st.tuples(*[st.integers(1, 4)] * 3),
    horizons=st.tuples(st.integers(1, 4), st.integers(1, 9)),
)
@examples(20)
def test_live_counts_equal_the_batch_query_over_several_periods(
    stream: list[Action], setting: Setting, bounds: tuple[int, int, int], horizons: tuple[int, int]
) -> None:
    settings = [replace(setting, horizon=horizons[0]), replace(setting, horizon=horizons[1], bounds=bounds)]
    with TemporaryDirectory() as folder:
        law_over_periods(stream, settings, Path(folder), batch_every=len(stream))


PERIODS = (Setting(bounds=(1, 2, 3), horizon=20), Setting(bounds=(4, 1, 2), horizon=13))


@pytest.mark.files_only
@pytest.mark.slow
@pytest.mark.parametrize("unit", ["user", "user-day"])
def test_live_counts_equal_the_batch_query_over_periods_of_a_long_stream(unit: str, tmp_path: Path) -> None:
    settings = [replace(setting, unit=unit) for setting in PERIODS]
    run = law_over_periods(list(long_stream(6, 160)), settings, tmp_path, batch_every=10)
    assert len(run.periods) == 4
    assert run.history.cancelled > 0


@pytest.mark.slow
def test_spent_flips_outlive_delete_and_rejoin(tmp_path: Path) -> None:
    setting = Setting(bounds=(2, 2, 2))
    rejoin: list[Action] = []
    for _ in range(3):
        rejoin += [Ingest((("ann", "+", 0, None), ("bob", "+", 0, None))), Close(), Erase("ann"), Close()]
    run = law(rejoin, setting, tmp_path)
    with service_on(setting.settings(tmp_path)) as service:
        counts = service.truth("mau").counts
    # Ann is there on the first day; her return after the erasure is counted by nobody. Bob is there all the time.
    assert [count.truth for count in counts] == [2, 1, 2, 1, 2, 1]
    assert [count.bounded for count in counts] == [2, 1, 1, 1, 1, 1]
    assert run.closed == 6


# --- The law has teeth -----------------------------------------------------------------------------------------------


class ForgetsFlips(Store):
    """Of a user who is on no remembered day nothing is kept."""

    def put_parts(self, tick, rosters):
        super().put_parts(tick, {part: some.some(some.users["days"].any(axis=1)) for part, some in rosters.items()})


class IgnoresAt(Store):
    def append_all(self, batches, earliest=None):
        return super().append_all([[one._replace(at=None) for one in batch] for batch in batches], earliest)


class CountsTooEarly(Store):
    """Closes a day with what counts only from a later one."""

    def seal(self, day):
        super().seal(day)
        self.connection.execute(update(batches).values(at=day))


class KeepsWhatWasErased(Store):
    def erase_name(self, name, earliest=None):
        return super().erase_name(bytes(16), earliest)


class TurnsBatchesAround(Store):
    """Within one batch the first write wins."""

    def append_all(self, batches, earliest=None):
        return super().append_all([batch[::-1] for batch in batches], earliest)


class CountsAnErasureLate(Store):
    """What arrived before an erasure leaves only with what is counted already."""

    def replace_batch(self, batch, records):
        pass


TWINS: list[type[Store]] = [
    ForgetsFlips, IgnoresAt, CountsTooEarly, KeepsWhatWasErased, TurnsBatchesAround, CountsAnErasureLate,
]  # fmt: skip
RENEWED = [action for action in long_stream(7, 70) if not isinstance(action, Fresh)]
TEETH = (list(long_stream(5, 90)), Setting(bounds=(2, 3, 2)))


@pytest.mark.files_only
@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
@pytest.mark.slow
def test_the_law_rejects_a_store_that_is_wrong(twin: type[Store], tmp_path: Path) -> None:
    with pytest.raises(DisagreementError):
        law(*TEETH, tmp_path, lambda store: twin(store.database, store.connection, store._pseudonym), batch_every=1000)


class ForgetsUsers(Counter):
    """Begins its second period with nobody, as a new store would."""

    def count(self, day, period):
        if day == START + PERIODS[0].horizon:
            self.write(lambda store: store.clear_parts(day - 1))
        super().count(day, period)


class ForgetsFlipsSpent(Counter):
    """Begins every period with the flips of the one before."""

    def count(self, day, period):
        super().count(day, replace(period, first=period.first - timedelta(days=period.number > 1)))


class CountsNobodyAtTheBorder(Counter):
    """Whoever is present when a period begins has spent no flip of it."""

    def count(self, day, period):
        unbound = {metric: replace(one, mechanism="sparse-vector") for metric, one in period.requests.items()}
        first = day == START + PERIODS[0].horizon
        super().count(day, replace(period, requests=unbound) if first else period)


@pytest.mark.slow
def test_the_law_accepts_the_periods_that_the_twins_fail(tmp_path: Path) -> None:
    assert len(law_over_periods(RENEWED, PERIODS, tmp_path, batch_every=1000).periods) == 2


@pytest.mark.files_only
@pytest.mark.slow
@pytest.mark.parametrize("twin", [ForgetsUsers, ForgetsFlipsSpent, CountsNobodyAtTheBorder])
def test_the_law_rejects_a_renewal_that_carries_users_on_wrongly(
    twin: type[Counter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "Counter", twin)
    with pytest.raises(DisagreementError):
        law_over_periods(RENEWED, PERIODS, tmp_path, batch_every=1000)


@pytest.mark.slow
def test_the_law_rejects_a_renewal_that_is_not_charged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    charge = Account.charge

    def forgetful(self: Account, ledger: Ledger, period: Period) -> None:
        if period.number == 1:
            charge(self, ledger, period)

    monkeypatch.setattr(Account, "charge", forgetful)
    with pytest.raises(DisagreementError, match="charges"):
        law_over_periods(RENEWED, PERIODS, tmp_path, batch_every=1000)


@pytest.mark.slow
def test_the_law_accepts_the_stream_that_the_twins_fail(tmp_path: Path) -> None:
    assert law(*TEETH, tmp_path, batch_every=1000).closed > 10
