"""Sketches over time against the replay of presence_oracle: merged days, presence that is followed, samples, salts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.counts import Counts
from dp.presence import DuckDBEngine, user_flips
from dp.sketches.bitmap import Bitmap
from dp.sketches.exact import Exact
from dp.sketches.fixed_rate import FixedRate
from dp.sketches.hll import Hll
from dp.sketches.keys import keys_of
from dp.sketches.protocol import UnsupportedError
from dp.sketches.salts import Salt, Salts
from dp.sketches.sampling import counts_of_sample, sampled
from dp.sketches.windows import DailySketches, RetractedError, following, rolling
from tests.examples import examples
from tests.oracles import presence as oracle
from tests.oracles.logs import HORIZON_END, day, log_of, stream
from tests.oracles.presence import Operation, operations

pytestmark = pytest.mark.slow

OLD, NEW = Salt(bytes(range(16))), Salt(bytes(range(16, 32)))
ALWAYS = Salts(((date(1, 1, 1), OLD),))
ROTATING = Salts(((date(1, 1, 1), OLD), (day(20), NEW)))
WINDOWS = (1, 7, 30)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def truth(rows: Sequence[Operation], window: int, first: int, last: int, w_bound: int | None = None) -> list[int]:
    starts, ends = oracle.daily_flips(rows, window, first, last, w_bound)
    return (np.cumsum(starts) - np.cumsum(ends)).tolist()


def additions(rows: Sequence[Operation]) -> list[Operation]:
    return [row for row in rows if row.op == "+"]


@pytest.mark.parametrize("salts", [ALWAYS, ROTATING], ids=["one salt", "rotating"])
@pytest.mark.parametrize("window", WINDOWS)
@given(rows=operations(), first=st.integers(0, 10))
@examples(12)
def test_merged_days_are_the_window(salts: Salts, window: int, rows: list[Operation], first: int) -> None:
    added = additions(rows) or [Operation("a", 3, "+", 3)]
    with duckdb.connect() as connection:
        found = [one.estimate() for one in rolling(
            log_of(added, connection), Exact(), salts, window, day(first), day(HORIZON_END)
        )]  # fmt: skip
    assert found == truth(added, window, first, HORIZON_END)


def test_a_salt_that_comes_into_use_only_when_it_is_in_force_loses_users() -> None:
    """The broken twin of rotation: days before it are recorded under the old salt alone."""
    rows = [Operation(f"u{number}", number % 20, "+", number % 20) for number in range(200)]
    users = np.array([row.user for row in rows])

    def merged_at(window_in_use: int, tick: int) -> float:
        kept = DailySketches(Exact(), ROTATING, window_in_use, {})
        for active in range(20):
            kept = kept.add(day(active), lambda salt, active=active: keys_of(list(users[active::20]), salt))
        return DailySketches(Exact(), ROTATING, 30, kept.sketches).merged(day(tick), 30).estimate()

    assert merged_at(30, 19) == merged_at(30, 21) == 200
    assert merged_at(1, 19) == 200
    assert merged_at(1, 21) == 0


def test_a_window_longer_than_what_is_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="window is 30 days; these sketches are kept for windows of up to 7"):
        DailySketches(Exact(), ALWAYS, 7, {}).merged(day(3), 30)


def test_a_log_that_takes_activity_back_is_refused_or_overcounted(connection: duckdb.DuckDBPyConnection) -> None:
    rows = stream(7, 60)
    log = log_of(rows, connection)
    with pytest.raises(RetractedError, match=r"takes activity back \(\d+ operations\)"):
        list(rolling(log, Exact(), ALWAYS, 7, day(0), day(30)))
    overcounted = [one.estimate() for one in rolling(log, Exact(), ALWAYS, 7, day(0), day(30), ignore_removals=True)]
    right = truth(rows, 7, 0, 30)
    assert overcounted == truth(additions(rows), 7, 0, 30)
    assert sum(overcounted) > sum(right)


@pytest.mark.parametrize("w_bound", [None, 1, 2, 3])
@pytest.mark.parametrize("window", WINDOWS)
@given(rows=operations(), first=st.integers(0, 20))
@examples(8)
def test_a_sketch_that_follows_presence_is_the_count(
    window: int, w_bound: int | None, rows: list[Operation], first: int
) -> None:
    right = truth(rows, window, first, HORIZON_END, w_bound)
    with duckdb.connect() as connection:
        log = log_of(rows, connection)
        for design, salt in ((Exact(), OLD.key), (Bitmap(), None)):
            followed = following(log, design, salt, window, day(first), day(HORIZON_END), w_bound)
            assert [one.estimate() for one in followed] == right


@pytest.mark.parametrize("w_bound", [None, 3])
@given(rows=operations(), first=st.integers(0, 20))
@examples(15)
def test_flips_by_user_add_up_to_those_of_the_days(w_bound: int | None, rows: list[Operation], first: int) -> None:
    ticks = HORIZON_END - first + 1
    starts, ends = oracle.daily_flips(rows, 7, first, HORIZON_END, w_bound)
    with duckdb.connect() as connection:
        found = user_flips(log_of(rows, connection).connection, 7, day(first), day(HORIZON_END), w_bound)
    for step, right in ((1, starts), (-1, ends)):
        assert np.bincount(found.ticks[found.steps == step], minlength=ticks).tolist() == list(right)
    assert found.ids.to_pylist() == sorted({row.user for row in rows})
    for number in set(found.users.tolist()):
        # Arrivals and departures alternate, starting with an arrival.
        steps = found.steps[found.users == number].tolist()
        assert steps == [1, -1] * (len(steps) // 2) + [1] * (len(steps) % 2)
        assert w_bound is None or len(steps) <= w_bound


def test_users_have_the_same_numbers_in_whatever_order_the_log_has_them(connection: duckdb.DuckDBPyConnection) -> None:
    """A bitmap's size depends on the numbers; DuckDB numbers the users of a file differently from run to run."""
    rows = [row._replace(user=f"{row.user}{seed}") for seed in range(30) for row in stream(seed, 20)]
    log = log_of(rows, connection)

    def held() -> list[bytes]:
        return [one.to_bytes() for one in following(log, Bitmap(), None, 7, day(0), day(36))]

    before = held()
    (many,) = connection.execute("SELECT count(*) FROM users").fetchone() or (0,)
    for table in ("users", "operations"):
        connection.execute(f"UPDATE {table} SET user_id = {many - 1} - user_id")
    assert held() == before


def test_a_sketch_that_cannot_remove_cannot_follow(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(UnsupportedError):
        list(following(log_of(stream(7, 60), connection), Hll(), OLD.key, 7, day(0), day(30)))


@pytest.mark.parametrize("w_bound", [None, 2])
def test_the_log_of_a_sample_counts_what_the_sketch_of_the_sample_counts(
    connection: duckdb.DuckDBPyConnection, w_bound: int | None
) -> None:
    rows = [row._replace(user=f"{row.user}{seed}") for seed in range(30) for row in stream(seed, 60)]
    log, design = log_of(rows, connection), FixedRate(0.3)
    followed = [one.estimate() for one in following(log, design, OLD.key, 7, day(0), day(36), w_bound)]
    with sampled(log, design, OLD.key) as part:
        chosen = set(users(part))
        counts = DuckDBEngine(part.connection).daily_flips([7], day(0), day(36), w_bound)[7].counts.values
        assert part.users == len(chosen)
    assert np.allclose(followed, counts / 0.3)
    everyone = users(log)
    assert chosen == {
        user for user, kept in zip(everyone, design.chosen(keys_of(everyone, OLD.key)), strict=True) if kept
    }
    assert counts.tolist() == truth([row for row in rows if row.user in chosen], 7, 0, 36, w_bound)
    assert 0 < len(chosen) < len(everyone)


def users(log) -> list[str]:
    return [user for (user,) in log.connection.execute('SELECT "user" FROM users').fetchall()]


def test_a_rotation_changes_the_sample_at_its_tick_and_nothing_else(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row._replace(user=f"{row.user}{seed}") for seed in range(30) for row in stream(seed, 60)]
    log, design = log_of(rows, connection), FixedRate(0.3)

    def count(part) -> dict[str, Counts]:
        return {"wau": DuckDBEngine(part.connection).daily_flips([7], day(0), day(36), 2)[7].counts}

    def counted(salts: Salts) -> np.ndarray:
        return counts_of_sample(log, design, salts, day(0), day(36), count)["wau"].values

    old, new, both = counted(ALWAYS), counted(Salts(((date(1, 1, 1), NEW),))), counted(ROTATING)
    assert both.tolist() == [*old[:20], *new[20:]]
    assert old.tolist() != new.tolist()


def test_late_activity_counts_from_its_arrival(connection: duckdb.DuckDBPyConnection) -> None:
    log = log_of([Operation("a", 2, "+", 5), Operation("b", 3, "+", 3)], connection)
    found = [one.estimate() for one in rolling(log, Exact(), ALWAYS, 7, day(0), day(11))]
    assert found == [0, 0, 0, 1, 1, 2, 2, 2, 2, 1, 0, 0]
    assert day(0) + timedelta(days=1) == day(1)
