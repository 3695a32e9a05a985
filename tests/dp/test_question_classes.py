"""The classes of questions against random histories of one user, and against all of them where those are few.

A history says of every day under which label it is present at which tick; the changed day is removed and what every
series showed with it and without it is compared. The histories are arrays, so that very many can be tried; a few of
them are replayed as operations by the slow oracle, which must agree.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from dp.mechanisms import EMPTY_STATE, GRID, Strategy
from dp.mechanisms.question_design import question_design, several_series_squared
from dp.mechanisms.toeplitz import ToeplitzStrategy
from dp.questions import Breakdown, Cell, CellKind, Question
from dp.units import FlowChange, PresenceChange, ProtectedClass, question_class
from tests.laws import each
from tests.oracles.questions import Written, answer

DAYS, TICKS, LABELS = 6, 9, 3
FOREVER = TICKS
CHANGED = 2
NOBODY = -1

VALUES = ("a", "b")
"""Labels 0 and 1; label 2 is `other`."""
LAST = Breakdown("s", "last", ("s",), (VALUES,))
ANY = Breakdown("s", "any", ("s",), (VALUES,), most=2)
FIXED = Breakdown("s", "fixed", ("s",), (VALUES,))


@dataclass(frozen=True)
class Histories:
    """Intervals [start, stop) of presence of a day under a label; of shape (histories, DAYS, intervals).

    An interval that starts where it stops is none. Where several cover a tick, the last one decides the day's label.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    labels: NDArray[np.int64]

    def without(self) -> Histories:
        """The same with the changed day gone."""
        stops = self.stops.copy()
        stops[:, CHANGED] = self.starts[:, CHANGED]
        return replace(self, stops=stops)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Shape (histories, DAYS, intervals, TICKS)."""
        ticks = np.arange(TICKS)
        return (self.starts[..., None] <= ticks) & (ticks < self.stops[..., None])

    @property
    def decided(self) -> NDArray[np.int64]:
        """The label of a day at a tick, NOBODY where it is not present; shape (histories, DAYS, TICKS)."""
        result = np.full((*self.starts.shape[:2], TICKS), NOBODY)
        for interval in range(self.starts.shape[2]):
            here = self.present[:, :, interval]
            result = np.where(here, self.labels[:, :, interval, None], result)
        return result

    def operations(self, index: int) -> list[Written]:
        """One history as a log; an interval begins after all that end on the same tick."""
        rows: list[tuple[int, int, Written]] = []
        for day in range(DAYS):
            for place in range(self.starts.shape[2]):
                start, stop = int(self.starts[index, day, place]), int(self.stops[index, day, place])
                label = ((*VALUES, "else")[self.labels[index, day, place]],)
                if start < stop:
                    rows.append((start, 1 + place, Written("u", day, "+", start, label)))
                if start < stop < FOREVER:
                    rows.append((stop, 0, Written("u", day, "-", stop, label)))
        return [row for _, _, row in sorted(rows, key=lambda row: row[:2])]


def in_window(window: int) -> NDArray[np.bool_]:
    """Shape (DAYS, TICKS)."""
    age = np.arange(TICKS) - np.arange(DAYS)[:, None]
    return (age >= 0) & (age < window)


def shown(histories: Histories, window: int, kind: str | None) -> NDArray[np.int64]:
    """Presence in each series, shape (histories, series, TICKS)."""
    decided = np.where(in_window(window), histories.decided, NOBODY)
    if kind == "last":
        # The latest day that is there.
        latest = np.full((len(decided), TICKS), NOBODY)
        for day in range(DAYS):
            latest = np.where(decided[:, day] == NOBODY, latest, decided[:, day])
        return np.stack([latest == label for label in range(LABELS)], axis=1).astype(np.int64)
    if kind == "any":
        there = histories.present & in_window(window)[:, None]
        there &= admitted(histories)[..., None]
        return np.stack(
            [(there & (histories.labels == label)[..., None]).any(axis=(1, 2)) for label in range(LABELS)], axis=1
        ).astype(np.int64)
    return (decided != NOBODY).any(axis=1)[:, None].astype(np.int64)


def admitted(histories: Histories) -> NDArray[np.bool_]:
    """Whether an interval's label is among the first two of its day; shape (histories, DAYS, intervals)."""
    real = histories.starts < histories.stops
    arrival = np.where(real, histories.starts * 10 + np.arange(histories.starts.shape[2]), 10**6)
    first = np.stack(
        [np.where(histories.labels == label, arrival, 10**6).min(axis=2) for label in range(LABELS)], axis=2
    )
    rank = first.argsort(axis=2, kind="stable").argsort(axis=2, kind="stable")
    return np.take_along_axis(rank, histories.labels, axis=2) < ANY.most


def flows(present: NDArray[np.int64]) -> NDArray[np.int64]:
    """New, returning and gone of each series; shape (histories, 3, series, TICKS)."""
    before = np.concatenate([np.zeros_like(present[..., :1]), present[..., :-1]], axis=-1)
    seen = np.maximum.accumulate(before, axis=-1)
    starts = (present > before).astype(np.int64)
    return np.stack([starts * (1 - seen), starts * seen, (present < before).astype(np.int64)], axis=1)


def random_histories(rng: np.random.Generator, number: int, intervals: int, calm: float) -> Histories:
    """`calm` is the share of intervals that are on time and stay."""
    shape = (number, DAYS, intervals)
    days = np.broadcast_to(np.arange(DAYS)[:, None], shape)
    there = rng.random(shape) < rng.uniform(0.2, 0.9, (number, 1, 1)) * (np.arange(intervals) == 0)
    there |= rng.random(shape) < 0.15
    late = rng.random(shape) > calm
    ends = rng.random(shape) > calm
    starts = np.where(late, rng.integers(days, TICKS), days)
    starts.sort(axis=2)
    stops = np.where(ends, rng.integers(starts + 1, TICKS + 1), FOREVER)
    return Histories(starts, np.where(there, stops, starts), rng.integers(0, LABELS, shape))


def pieces(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many pieces of one label a series of labels has; shape of the leading axes."""
    before = np.concatenate([np.full_like(labels[..., :1], NOBODY), labels[..., :-1]], axis=-1)
    return ((labels != NOBODY) & (labels != before)).sum(axis=-1)


def needed(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """j + k: pieces of the changed day, and those of others that are late or do not last; labels as of `decided`."""
    days = np.arange(DAYS)
    on_time = np.take_along_axis(labels, days[None, :, None], axis=2)[..., 0] != NOBODY
    lasting = on_time & (pieces(labels) == 1) & (labels[..., -1] != NOBODY)
    off = np.where(lasting, 0, pieces(labels))
    off[:, CHANGED] = pieces(labels)[:, CHANGED]
    return np.maximum(off.sum(axis=1), 1)


def run_starts(differences: NDArray[np.int64], sign: int) -> NDArray[np.int64]:
    """How many runs of one sign every series has; shape (histories, series)."""
    here = differences == sign
    before = np.concatenate([np.zeros_like(here[..., :1]), here[..., :-1]], axis=-1)
    return (here & ~before).sum(axis=-1)


def outside(differences: NDArray[np.int64], change: PresenceChange) -> NDArray[np.bool_]:
    """Which differences of shape (histories, series, TICKS) are not in a class."""
    up, down = run_starts(differences, 1), run_starts(differences, -1)
    own = np.maximum(up, down) if change.mixed else up + down
    wrong = (np.abs(differences) > 1).any(axis=(1, 2)) | ((up + down).sum(axis=1) > change.runs)
    if not change.mixed:
        wrong |= ((up > 0) & (down > 0)).any(axis=1)
    # The series with the widest hulls against the classes with the widest hulls; those of no hull did not change.
    order = np.argsort(-hulls(differences), axis=1, kind="stable")
    seen, shown_runs = (np.take_along_axis(one, order, axis=1) for one in (hulls(differences), own))
    classes = sorted(change.series, key=lambda protected: -protected.hull)[: seen.shape[1]]
    wrong |= (seen[:, len(classes) :] > 0).any(axis=1)
    for place, protected in enumerate(classes):
        wrong |= (seen[:, place] > protected.hull) | (shown_runs[:, place] > protected.runs)
    return np.asarray(wrong)


def hulls(differences: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ticks from the first that differs to the last, of every series; shape (histories, series)."""
    here = differences != 0
    first, last = here.argmax(axis=-1), TICKS - here[..., ::-1].argmax(axis=-1)
    return np.where(here.any(axis=-1), last - first, 0)


BREAKDOWNS = {None: None, "fixed": FIXED, "any": ANY, "last": LAST}


def asked(kind: str | None, window: int, cell: CellKind = "rolling") -> Question:
    return Question(Cell(cell, "m", window), BREAKDOWNS[kind])


def presence_class(kind: str | None, window: int, w_bound: int) -> PresenceChange:
    change = question_class(asked(kind, window), "user-day", w_bound, TICKS)
    assert isinstance(change, PresenceChange)
    return change


def flow_entries(kind: str | None, window: int, w_bound: int) -> int:
    change = question_class(asked(kind, window, "flows"), "user-day", w_bound, TICKS)
    assert isinstance(change, FlowChange)
    return change.entries


@functools.cache
def batches(window: int) -> tuple[Histories, ...]:
    """Calm histories, in which few days are late or taken back, and wild ones."""
    return tuple(
        random_histories(np.random.default_rng([seed, window]), 4_000, 2, (1.0, 0.95, 0.8)[seed % 3])
        for seed in range(6)
    )


def all_histories() -> Histories:
    """Every history of the days 1 to 3, of one interval each that begins and ends within four ticks, or never ends."""
    choices = [
        (day, [(start, stop, label) for start in range(day, day + 3) for stop in (*range(start, day + 4), FOREVER)
               for label in (0, 1)])
        for day in (1, CHANGED, 3)
    ]  # fmt: skip
    chosen = np.array(list(itertools.product(*(intervals for _, intervals in choices))))
    whole = np.zeros((len(chosen), DAYS, 3), dtype=np.int64)
    for place, (day, _) in enumerate(choices):
        whole[:, day] = chosen[:, place]
    starts, stops, labels = (whole[..., None, part] for part in range(3))
    return Histories(starts, stops, labels)


@pytest.mark.parametrize("window", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [None, "any", "last"])
def test_what_a_user_day_changes_is_in_the_class(kind: str | None, window: int) -> None:
    met: set[int] = set()
    for histories in batches(window):
        found, runs = violations(histories, kind, lambda bound: presence_class(kind, window, bound), window)
        assert not found
        met |= runs
    assert {1, 2, 3} <= met


@pytest.mark.parametrize("kind", [None, "any", "last"])
def test_all_small_histories_are_in_the_class(kind: str | None) -> None:
    histories = all_histories()
    assert len(histories.starts) > 10_000
    for window in (2, 3):
        found, runs = violations(histories, kind, lambda bound: presence_class(kind, window, bound), window)  # noqa: B023
        assert not found
        assert 1 in runs


@pytest.mark.parametrize(
    ("kind", "narrower"),
    [
        ("any", lambda change: replace(change, series=change.series[:1])),
        ("last", lambda change: replace(change, series=change.series[:1])),
        ("last", lambda change: replace(change, runs=1)),
        ("last", lambda change: replace(change, series=(ProtectedClass(1, 2, TICKS),) * len(change.series))),
        (None, lambda change: replace(change, series=(ProtectedClass(1, 2, TICKS),))),
    ],
)
def test_a_narrower_class_is_rejected(kind: str | None, narrower: Callable[[PresenceChange], PresenceChange]) -> None:
    def wrong(w_bound: int) -> PresenceChange:
        return narrower(presence_class(kind, 3, w_bound))

    assert sum(violations(histories, kind, wrong, 3)[0] for histories in batches(3))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [None, "any", "last"])
def test_flows_change_in_no_more_entries(kind: str | None) -> None:
    reached = 0
    for window in (1, 2, 3, 4):
        for histories in (*batches(window), all_histories()):
            runs = class_number(histories, kind)
            with_day, without_day = (shown(one, window, kind) for one in (histories, histories.without()))
            # Also with a first tick that comes later, before which nobody was present.
            for first in (0, CHANGED, 3):
                changed = flows(with_day[..., first:]) - flows(without_day[..., first:])
                assert np.abs(changed).max() <= 1
                entries = np.abs(changed).sum(axis=(1, 2, 3))
                for most in (1, 2, 3):
                    assert entries[runs == most].max(initial=0) <= flow_entries(kind, window, 2 * most)
                reached = max(reached, entries[runs == 1].max(initial=0))
    # It is reached: no smaller number would do.
    assert reached == flow_entries(kind, 4, 2)


def test_flows_depend_on_the_past_whatever_the_window() -> None:
    # One activity makes the next presence a return, however much later it is.
    histories = Histories(*(np.zeros((1, DAYS, 1), dtype=np.int64) for _ in range(3)))
    for day in (CHANGED, 5):
        histories.starts[0, day], histories.stops[0, day] = day, FOREVER
    changed = flows(shown(histories, 1, None)) - flows(shown(histories.without(), 1, None))
    assert [tuple(place) for place in np.argwhere(changed[0, :, 0])] == [(0, 2), (0, 5), (1, 5), (2, 3)]


@pytest.mark.parametrize("w_bound", [2, 4])
def test_erasures_are_free(w_bound: int) -> None:
    # Days on time, taken back by erasures alone, are in the class of W_BOUND 2 whatever else the user does.
    rng = np.random.default_rng(1)
    for erasures in (1, 2):
        ticks = np.sort(rng.integers(0, TICKS + 3, (20_000, 1, 1, erasures)), axis=-1)
        starts = np.broadcast_to(np.arange(DAYS)[:, None], (20_000, DAYS, 1)).copy()
        after = np.where(ticks > starts[..., None], ticks, FOREVER).min(axis=-1)
        stops = np.where(rng.random(starts.shape) < 0.6, np.minimum(after, FOREVER), starts)
        histories = Histories(starts, stops, rng.integers(0, LABELS, starts.shape))
        for kind in (None, "any", "last"):
            differences = shown(histories, 4, kind) - shown(histories.without(), 4, kind)
            assert not outside(differences, presence_class(kind, 4, 2)).any()


@pytest.mark.parametrize("kind", ["any", "last"])
def test_the_histories_mean_what_the_slow_replay_says(kind: str) -> None:
    histories = random_histories(np.random.default_rng(9), 300, 2, 0.8)
    again = (histories.labels[..., 0] == histories.labels[..., 1]).any(axis=1)
    checked = 0
    for index in np.flatnonzero(~again)[:40]:
        replayed = answer(histories.operations(index), asked(kind, 3), 0, TICKS - 1, columns=("s",))
        assert shown(histories, 3, kind)[index].tolist() == replayed
        checked += 1
    assert checked > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gaussian", "damped-square-root", "binary-tree", "optimal", "buffered-toeplitz"])
@pytest.mark.parametrize("kind", [None, "any", "last"])
def test_the_sensitivity_holds_for_all_series_together(name: str, kind: str | None) -> None:
    window = 4
    for most in (1, 2):
        design = question_design(name, presence_class(kind, window, 2 * most))
        inverse = measured_matrix(design.strategy) / GRID
        largest = 0.0
        for histories in batches(window):
            chosen = class_number(histories, kind) == most
            differences = shown(histories, window, kind) - shown(histories.without(), window, kind)
            energies = np.square(differences[chosen] @ inverse.T).sum(axis=(1, 2))
            largest = max(largest, float(energies.max(initial=0.0)))
        assert largest <= design.sensitivity**2 * (1 + 1e-9)
        # Trees have their worst patterns at other ticks.
        if most == 1 and name in ("gaussian", "damped-square-root"):
            assert largest >= 0.9 * design.sensitivity**2


@pytest.mark.parametrize("kind", ["any", "last"])
def test_users_in_segments_share_one_bound(kind: str) -> None:
    """Everything that a user does changes w/2 runs at most, over all segments, and w entries of the flows."""
    rng = np.random.default_rng(3)
    histories = random_histories(rng, 60, 2, 0.7)
    for w_bound in (2, 3, 4, 8):
        presence = question_class(asked(kind, 2), "user", w_bound, TICKS)
        moves = question_class(asked(kind, 2, "flows"), "user", w_bound, TICKS)
        assert isinstance(presence, PresenceChange)
        assert isinstance(moves, FlowChange)
        for index in range(60):
            rows = histories.operations(index)
            shown_runs = np.array(answer(rows, asked(kind, 2), 0, TICKS - 1, columns=("s",), w_bound=w_bound))
            assert not outside(shown_runs[None], presence).any()
            entries = np.sum(answer(rows, asked(kind, 2, "flows"), 0, TICKS - 1, columns=("s",), w_bound=w_bound))
            assert entries <= moves.entries


def test_users_have_more_runs_in_all_segments_than_one_series_has_room_for() -> None:
    """Two weeks, each in every segment: one run in each of three series, where one series has room for one."""
    question = Question(Cell("week", "week"), ANY)
    labels = (*VALUES, "else")
    rows = [Written("u", day, "+", day, (label,)) for day in (0, 1, 7, 8) for label in labels[day % 7 :]]
    differences = np.array(answer(rows, question, 0, 10, columns=("s",), w_bound=8))
    change = question_class(question, "user", 8, 2)
    assert isinstance(change, PresenceChange)
    assert differences.shape == (3, 2)
    padded = np.pad(differences, ((0, 0), (0, TICKS - 2)))
    assert run_starts(padded[None], 1).sum() == 3 > change.series[0].runs
    assert not outside(padded[None], change).any()
    assert several_series_squared(ToeplitzStrategy(()), change) >= differences.sum()


@each(("kind", "most"), [(None, 1), ("any", 2), ("last", 2)])
def test_a_week_is_changed_once(kind: str | None, most: int) -> None:
    question = Question(Cell("week", "week"), BREAKDOWNS[kind])
    histories = random_histories(np.random.default_rng(4), 200, 2, 0.6)
    change = question_class(question, "user-day", 8, 2)
    assert isinstance(change, PresenceChange)
    assert [change.runs, *(one.hull for one in change.series)] == [most, *[1] * most]
    for index in range(200):
        with_day, without_day = (
            np.array(answer(one.operations(index), question, 0, TICKS + 4, columns=("s",)))
            for one in (histories, histories.without())
        )
        assert np.abs(with_day - without_day).sum() <= most


def test_a_bound_that_covers_no_run_is_refused() -> None:
    with pytest.raises(ValueError, match=r"w_bound is 1: a run in a segment of m/s counts if the bound covers"):
        question_class(asked("last", 3), "user", 1, TICKS)


def class_number(histories: Histories, kind: str | None) -> NDArray[np.int64]:
    """j + k of every history."""
    if kind != "any":
        return needed(histories.decided)
    # A segment sees only its own intervals.
    own = [
        needed(np.where(histories.present & (histories.labels == label)[..., None], label, NOBODY).max(axis=2))
        for label in range(LABELS)
    ]
    return np.max(own, axis=0)


def violations(
    histories: Histories, kind: str | None, change_for: Callable[[int], PresenceChange], window: int
) -> tuple[int, set[int]]:
    """How many differences are outside of the class for their j + k; and which values of j + k were met."""
    differences = shown(histories, window, kind) - shown(histories.without(), window, kind)
    runs = class_number(histories, kind)
    found = sum(int(outside(differences[runs == most], change_for(2 * most)).sum()) for most in (1, 2, 3))
    return found, set(np.unique(runs).tolist())


def measured_matrix(strategy: Strategy) -> NDArray[np.float64]:
    """What the strategy measures of a unit count at each tick, in grid units; shape (measurements, TICKS)."""
    columns = []
    for tick in range(TICKS):
        secret, measured = EMPTY_STATE.secret, []
        for now in range(TICKS):
            exact, secret = strategy.measure(now, secret, int(now == tick))
            measured.extend(exact.tolist())
        columns.append(measured)
    return np.array(columns, dtype=np.float64).T
