"""Every engine against the replay of `tests.oracles.presence`, and the laws of compaction."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date

import duckdb
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dp.presence import DailyFlips, DuckDBEngine, Engine, Horizon, NumpyEngine, Tombstones, compact
from dp.presence.numpy_cells import BatchSizes
from tests.examples import examples
from tests.laws import each
from tests.oracles import presence as oracle
from tests.oracles.logs import HORIZON_END, day, log_of, stream
from tests.oracles.presence import Operation, operations

WINDOWS = (1, 2, 7, 28, 30)
BOUNDS = (None, 1, 2, 3, 4)
KEY = b"sixteen bytes or more"


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


EngineOf = Callable[..., Engine]


def in_small_pieces(
    connection: duckdb.DuckDBPyConnection, tombstones: Tombstones | None = None, key: bytes | None = None
) -> Engine:
    """As if a log were too large for memory, for the cache and for a machine word."""
    return NumpyEngine(connection, tombstones, key, sizes=BatchSizes(rows=20, piece=3, word=8))


@pytest.fixture(scope="module", params=[DuckDBEngine, NumpyEngine, in_small_pieces], ids=["duckdb", "numpy", "pieces"])
def engine_of(request: pytest.FixtureRequest) -> EngineOf:
    made: EngineOf = request.param
    return made


def agree(
    engine_of: EngineOf,
    connection: duckdb.DuckDBPyConnection,
    rows: Sequence[Operation],
    first: int,
    last: int,
    w_bound: int | None,
) -> None:
    found = engine_of(log_of(rows, connection).connection).daily_flips(WINDOWS, day(first), day(last), w_bound)
    for window in WINDOWS:
        starts, ends = oracle.daily_flips(rows, window, first, last, w_bound)
        assert found[window].starts.tolist() == starts, f"starts, window {window}"
        assert found[window].ends.tolist() == ends, f"ends, window {window}"


@given(
    rows=operations(),
    first=st.integers(0, 40),
    length=st.integers(0, 40),
    w_bound=st.sampled_from(BOUNDS),
    arrived=st.integers(1, 24),
)
@pytest.mark.slow
@examples(30)
def test_equals_the_replay_at_a_drawn_prefix(
    engine_of: EngineOf, rows: list[Operation], first: int, length: int, w_bound: int | None, arrived: int
) -> None:
    by_arrival = sorted(range(len(rows)), key=lambda seq: (rows[seq].at, seq))[:arrived]
    prefix = [rows[seq] for seq in sorted(by_arrival)]
    with duckdb.connect() as connection:
        agree(engine_of, connection, prefix, first, first + length, w_bound)


@pytest.mark.parametrize(("w_bound", "seed"), [pytest.param(None, 1, marks=pytest.mark.slow), (3, 3)])
@pytest.mark.slow
def test_equals_the_replay_at_every_tick(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection, w_bound: int | None, seed: int
) -> None:
    rows = stream(seed, 40)
    for last in range(HORIZON_END + 1):
        agree(engine_of, connection, rows, 0, last, w_bound)


@pytest.mark.parametrize(("w_bound", "seed"), [pytest.param(None, 4, marks=pytest.mark.slow), (2, 5)])
@pytest.mark.slow
def test_equals_the_replay_at_every_prefix_by_arrival(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection, w_bound: int | None, seed: int
) -> None:
    rows = sorted(stream(seed, 24), key=lambda operation: operation.at)
    for arrived in range(1, len(rows) + 1):
        agree(engine_of, connection, rows[:arrived], 5, HORIZON_END, w_bound)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_equals_the_replay_on_long_streams(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection, seed: int
) -> None:
    for w_bound in BOUNDS:
        agree(engine_of, connection, stream(100 + seed, 400), seed, HORIZON_END, w_bound)


# Several flip bounds at once

LEVELS = (2, 3, 4, 1)


@pytest.mark.slow
@given(rows=operations(), first=st.integers(0, 40), length=st.integers(0, 40))
@examples(6)
def test_several_bounds_at_once_equal_the_replay(
    engine_of: EngineOf, rows: list[Operation], first: int, length: int
) -> None:
    with duckdb.connect() as connection:
        engine = engine_of(log_of(rows, connection).connection)
        found = engine.bounded_counts((1, 7), day(first), day(first + length), LEVELS)
        for window in (1, 7):
            assert found[window].values.tolist() == oracle.bounded_counts(rows, window, first, first + length, LEVELS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_several_bounds_at_once_equal_one_at_a_time_and_who_is_frozen_stays_so(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection, seed: int
) -> None:
    engine = engine_of(log_of(stream(200 + seed, 300), connection).connection)
    found = engine.bounded_counts((1, 30), day(2), day(HORIZON_END), LEVELS)
    truth = engine.daily_flips((1, 30), day(2), day(HORIZON_END))
    for index, w_bound in enumerate(LEVELS):
        alone = engine.daily_flips((1, 30), day(2), day(HORIZON_END), w_bound)
        for window in (1, 30):
            present, frozen = found[window].values[:, 2 * index], found[window].values[:, 2 * index + 1]
            assert present.tolist() == alone[window].counts.values.tolist()
            assert (np.diff(frozen) >= 0).all()
            if w_bound % 2 == 0:
                missed = truth[window].counts.values - present
                assert ((missed >= 0) & (missed <= frozen)).all()
    assert found[1].values[-1, 5] > 0


def test_one_user_under_several_bounds(engine_of: EngineOf, connection: duckdb.DuckDBPyConnection) -> None:
    rows = [Operation("a", number, "+", number) for number in (0, 2, 4)]
    engine = engine_of(log_of(rows, connection).connection)
    found = engine.bounded_counts([1], day(0), day(6), (2, 4, 6))[1].values
    assert found.T.tolist() == [
        [1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1],
        [1, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1],
        [1, 0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0],
    ]  # fmt: skip


def test_without_tombstones_a_compaction_thaws_who_was_frozen(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection
) -> None:
    log = log_of([*REJOIN, Operation("a", 7, "+", 7)], connection)
    full = engine_of(log.connection).bounded_counts([1], day(0), day(9), (2, 4))[1].values
    small, tombstones = compact(log, day(3), {day(0): [1]}, KEY)
    with small:
        kept = engine_of(small.connection, tombstones, KEY).bounded_counts([1], day(0), day(9), (2, 4))[1].values
        lost = engine_of(small.connection).bounded_counts([1], day(0), day(9), (2, 4))[1].values
    assert full[:, 1].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]  # the user is back on day 5, and once more on day 7
    assert kept[4:].tolist() == full[4:].tolist()
    assert lost[5:7, 1].tolist() == [0, 0]


# Small cases by hand: what the words of the design mean.


def counts(
    engine_of: EngineOf,
    connection: duckdb.DuckDBPyConnection,
    rows: Sequence[Operation],
    window: int,
    last: int,
    w: int | None = None,
) -> list[int]:
    engine = engine_of(log_of(rows, connection).connection)
    return engine.daily_flips([window], day(0), day(last), w)[window].counts.values.tolist()


def test_a_window_reaches_back_w_days(engine_of: EngineOf, connection: duckdb.DuckDBPyConnection) -> None:
    assert counts(engine_of, connection, [Operation("a", 1, "+", 1)], 3, 5) == [0, 1, 1, 1, 0, 0]


def test_a_retraction_counts_from_its_arrival(engine_of: EngineOf, connection: duckdb.DuckDBPyConnection) -> None:
    rows = [Operation("a", 0, "+", 0), Operation("a", 0, "-", 2)]
    assert counts(engine_of, connection, rows, 4, 4) == [1, 1, 0, 0, 0]


def test_a_late_operation_counts_from_its_arrival(engine_of: EngineOf, connection: duckdb.DuckDBPyConnection) -> None:
    assert counts(engine_of, connection, [Operation("a", 0, "+", 2)], 4, 4) == [0, 0, 1, 1, 0]
    assert counts(engine_of, connection, [Operation("a", 0, "+", 4)], 4, 4) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize(("ops", "expected"), [("+-", 0), ("-+", 1), ("+-+", 1)])
def test_the_last_write_in_file_order_wins_a_tie(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection, ops: str, expected: int
) -> None:
    assert counts(engine_of, connection, [Operation("a", 0, op, 0) for op in ops], 1, 0) == [expected]


def test_an_erase_takes_every_day_so_far_and_a_later_add_counts(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection
) -> None:
    rows = [
        Operation("a", 0, "+", 0),
        Operation("a", 1, "+", 1),
        Operation("a", None, "erase", 2),
        Operation("a", 0, "+", 3),
        Operation("b", 0, "+", 0),
    ]
    assert counts(engine_of, connection, rows, 5, 5) == [2, 2, 1, 2, 2, 0]


def test_an_erase_leaves_alone_what_was_taken_back_before(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection
) -> None:
    rows = [
        Operation("a", 0, "+", 0),
        Operation("a", 0, "-", 2),
        Operation("a", None, "erase", 4),
        Operation("b", 0, "+", 0),
        Operation("b", None, "erase", 1),
        Operation("b", 0, "-", 3),
        Operation("b", None, "erase", 5),
    ]
    assert counts(engine_of, connection, rows, 30, 6) == [2, 1, 0, 0, 0, 0, 0]


def test_an_erase_and_an_add_of_one_tick_go_by_file_order(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection
) -> None:
    add, erase = Operation("a", 0, "+", 0), Operation("a", None, "erase", 0)
    assert counts(engine_of, connection, [add, erase], 1, 0) == [0]
    assert counts(engine_of, connection, [erase, add], 1, 0) == [1]


def test_an_even_bound_freezes_absent_and_an_odd_one_present(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection
) -> None:
    rows = [Operation("a", number, "+", number) for number in (0, 2, 4)]
    assert counts(engine_of, connection, rows, 1, 6) == [1, 0, 1, 0, 1, 0, 0]
    assert counts(engine_of, connection, rows, 1, 6, 2) == [1, 0, 0, 0, 0, 0, 0]
    assert counts(engine_of, connection, rows, 1, 6, 3) == [1, 0, 1, 1, 1, 1, 1]


def test_touching_intervals_are_one_run(engine_of: EngineOf, connection: duckdb.DuckDBPyConnection) -> None:
    rows = [Operation("a", number, "+", number) for number in (0, 1, 2)]
    found = engine_of(log_of(rows, connection).connection).daily_flips([1], day(0), day(4))[1]
    assert (found.starts.tolist(), found.ends.tolist()) == ([1, 0, 0, 0, 0], [0, 0, 0, 1, 0])


def test_activity_before_the_first_tick_is_a_run_that_starts_there(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection
) -> None:
    rows = [Operation("a", 0, "+", 0), Operation("a", 3, "+", 3)]
    found = engine_of(log_of(rows, connection).connection).daily_flips([2], day(1), day(5), 2)[2]
    # The gap at tick 2 uses up the second flip: activity before the first tick must not cost flips of its own.
    assert (found.starts.tolist(), found.ends.tolist()) == ([1, 0, 0, 0, 0], [0, 1, 0, 0, 0])


def test_daily_flips_names_its_days() -> None:
    flips = DailyFlips(7, date(2024, 2, 28), np.array([2, 0, 1]), np.array([0, 1, 0]))
    assert flips.counts.days == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]
    assert flips.counts.values.tolist() == [2, 1, 2]


@each(
    ("arguments", "message"),
    [
        (([0], day(0), day(1), None), "window = 0"),
        (([7, 7], day(0), day(1), None), "windows = "),
        (([], day(0), day(1), None), "windows = "),
        (([7], day(2), day(1), None), "first = 1970-01-03 is after last"),
        (([7], day(0), day(1), 0), "w_bound = 0"),
    ],
)
def test_a_wrong_question_is_refused(
    engine_of: EngineOf,
    connection: duckdb.DuckDBPyConnection,
    arguments: tuple[list[int], date, date, int | None],
    message: str,
) -> None:
    windows, first, last, w_bound = arguments
    with pytest.raises(ValueError, match=message):
        Horizon(tuple(windows), first, last, w_bound)
    with pytest.raises(ValueError, match=message):
        engine_of(connection).daily_flips(windows, first, last, w_bound)


@each("bounds", [(), (2, 2), (0, 2), (2**31, 2)])
def test_wrong_bounds_are_refused(
    engine_of: EngineOf, connection: duckdb.DuckDBPyConnection, bounds: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="bounds = "):
        engine_of(connection).bounded_counts([1], day(0), day(1), bounds)


# Compaction


def after(flips: DailyFlips, through: int) -> list[int]:
    return flips.counts.values.tolist()[through + 1 :]


REJOIN = [
    Operation("a", 0, "+", 0),
    Operation("a", None, "erase", 2),
    Operation("a", 5, "+", 5),
    Operation("b", 1, "+", 1),
]


@given(
    rows=operations(size=30),
    through=st.integers(0, 36),
    again=st.integers(0, 5),
    w_bound=st.sampled_from(BOUNDS),
)
@example(rows=REJOIN, through=3, again=0, w_bound=2)
@example(rows=REJOIN, through=3, again=0, w_bound=1)  # frozen present, and then the rows go
@examples(10)
@pytest.mark.slow
def test_compaction_changes_no_count_after_it(
    engine_of: EngineOf, rows: list[Operation], through: int, again: int, w_bound: int | None
) -> None:
    windows, first, last = (1, 30), day(0), day(HORIZON_END)
    with log_of(rows, duckdb.connect()) as log:
        full = engine_of(log.connection).daily_flips(windows, first, last, w_bound)
        levels = engine_of(log.connection).bounded_counts(windows, first, last, LEVELS)
        once, tombstones = compact(log, day(through), {first: windows}, KEY)
    with once:
        twice, both = compact(once, day(through + again), {first: windows}, KEY, earlier=tombstones)
        with twice:
            small = engine_of(once.connection, tombstones, KEY).daily_flips(windows, first, last, w_bound)
            smaller = engine_of(twice.connection, both, KEY).daily_flips(windows, first, last, w_bound)
            fewer = engine_of(once.connection, tombstones, KEY).bounded_counts(windows, first, last, LEVELS)
    for window in windows:
        assert after(small[window], through) == after(full[window], through)
        assert after(smaller[window], through + again) == after(full[window], through + again)
        assert fewer[window].values[through + 1 :].tolist() == levels[window].values[through + 1 :].tolist()


def test_without_its_tombstone_a_rejoining_user_outruns_the_bound(
    engine_of: EngineOf,
    connection: duckdb.DuckDBPyConnection,
) -> None:
    log = log_of(REJOIN, connection)
    first, last = day(0), day(9)
    full = engine_of(log.connection).daily_flips([1], first, last, 2)[1]
    small, tombstones = compact(log, day(3), {first: [1]}, KEY)
    with small:
        kept = engine_of(small.connection, tombstones, KEY).daily_flips([1], first, last, 2)[1]
        lost = engine_of(small.connection).daily_flips([1], first, last, 2)[1]
    assert after(full, 3) == [0, 0, 0, 0, 0, 0]  # user a has used up both flips on day 0
    assert after(kept, 3) == after(full, 3)
    assert after(lost, 3) == [0, 1, 0, 0, 0, 0]  # without the counter the bound is reset


def test_the_rows_of_an_erased_user_are_gone_and_no_id_is_left(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [Operation("alice", 0, "+", 0), Operation("alice", None, "erase", 1), Operation("bob", 0, "+", 0)]
    small, tombstones = compact(log_of(rows, connection), day(1), {day(0): [1, 7]}, KEY)
    with small:
        assert small.connection.execute('SELECT "user" FROM users').fetchall() == [("bob",)]
        assert small.connection.execute("SELECT COUNT(*) FROM operations").fetchall() == [(1,)]
        assert (small.users, small.rows_used) == (1, 1)
    assert "alice" not in repr(tombstones)
    assert {window: list(flips.values()) for window, flips in tombstones.spent[day(0)].items()} == {1: [2], 7: [2]}
    other = compact(log_of(rows, connection), day(1), {day(0): [1, 7]}, KEY + b"!")[1]
    assert set(other.spent[day(0)][1]).isdisjoint(tombstones.spent[day(0)][1])  # keyed


def test_a_user_who_is_back_before_the_compaction_stays(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [Operation("a", 0, "+", 0), Operation("a", None, "erase", 1), Operation("a", 2, "+", 2)]
    small, tombstones = compact(log_of(rows, connection), day(3), {day(0): [1]}, KEY)
    with small:
        assert small.rows_used == 3
    assert tombstones.spent == {day(0): {1: {}}}


def test_tombstones_fit_one_question_only(engine_of: EngineOf, connection: duckdb.DuckDBPyConnection) -> None:
    engine_log = log_of(REJOIN, connection).connection
    tombstones = Tombstones(day(3), {day(0): {1: {}}})
    with pytest.raises(ValueError, match="key = None"):
        engine_of(engine_log, tombstones).daily_flips([1], day(0), day(5), 2)
    with pytest.raises(ValueError, match="first = 1970-01-02"):
        engine_of(engine_log, tombstones, KEY).daily_flips([1], day(1), day(5), 2)
    with pytest.raises(ValueError, match=r"windows = \[7\]"):
        engine_of(engine_log, tombstones, KEY).daily_flips([1, 7], day(0), day(5), 2)
    with pytest.raises(ValueError, match="key has 5 bytes"):
        compact(log_of(REJOIN, connection), day(3), {day(0): [1]}, b"short")
    with pytest.raises(ValueError, match="earlier tombstones"):
        compact(log_of(REJOIN, connection), day(3), {day(0): [7]}, KEY, earlier=tombstones)
