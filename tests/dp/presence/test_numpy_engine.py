"""Sorted arrays answer what the portable text answers on DuckDB, on tables of every kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import date, timedelta

import duckdb
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dp.presence import DuckDBEngine, Horizon, NumpyEngine, Tombstones, user_flips
from dp.presence.daily import EPOCH, integer_columns, portable_text
from dp.presence.numpy_cells import BatchSizes, UserDays, user_days
from dp.presence.tombstones import pseudonyms
from tests.examples import examples

# user_id, day, at, seq, op
Row = tuple[int, int | None, int, int, int]
KEY = b"sixteen bytes or more"
FIRST = date(2024, 1, 1)
ORIGIN = (FIRST - EPOCH).days
USERS = (0, 1, 2, 3, 40, 2**31 - 1)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def table(seed: int, size: int) -> list[Row]:
    """Rows in any order: ids and arrival numbers with gaps, and a few days on which most things happen.

    Some days and arrivals are far before and after the horizon, and some days lie after their arrival.
    """
    rng = np.random.default_rng(seed)
    users = rng.choice(USERS, rng.integers(1, 5), replace=False)
    far = (-ORIGIN, -400, -12, 12, 60, 2_900_000)
    seqs = rng.permutation(size) if rng.random() < 0.5 else rng.choice(2**62, size, replace=False) - 2**61
    rows = []
    for seq in seqs.tolist():
        day, at = (
            int(rng.choice(far) if rng.random() < 0.1 else rng.choice(near)) for near in ((-3, 1, 2), range(-3, 9))
        )
        op = int(rng.choice((1, -1, 0), p=(0.6, 0.25, 0.15)))
        rows.append((int(rng.choice(users)), None if op == 0 else ORIGIN + day, ORIGIN + at, seq, op))
    return rows


tables = st.builds(table, seed=st.integers(0, 2**32), size=st.sampled_from((3, 10, 20, 40)))


def fill(connection: duckdb.DuckDBPyConnection, rows: list[Row]) -> None:
    """The tables of a log with these operations."""
    connection.execute(
        "CREATE OR REPLACE TABLE operations AS SELECT unnest(?::INTEGER[]) AS user_id, unnest(?::INTEGER[]) AS day, "
        "unnest(?::INTEGER[]) AS at, unnest(?::BIGINT[]) AS seq, unnest(?::TINYINT[]) AS op",
        [list(column) for column in zip(*rows, strict=True)] or [[]] * 5,
    )
    connection.execute(
        "CREATE OR REPLACE TABLE users AS SELECT DISTINCT user_id, 'user ' || user_id AS \"user\" FROM operations"
    )


sizes = st.builds(BatchSizes, rows=st.integers(1, 40), piece=st.integers(1, 12), word=st.integers(1, 63))


@given(
    rows=tables,
    size=st.one_of(st.just(BatchSizes()), sizes),
    ticks=st.sampled_from((1, 8, 12, 20)),
    windows=st.sampled_from(([7, 1, 30], [2], [366, 3])),
    bounds=st.lists(st.sampled_from((1, 2, 3, 4, 9, 2**31 - 2)), min_size=1, max_size=4, unique=True),
)
@example(rows=[], size=BatchSizes(), ticks=3, windows=[1], bounds=[2])
@example(rows=[(0, None, ORIGIN, 0, 0)], size=BatchSizes(), ticks=3, windows=[1], bounds=[2])
@pytest.mark.slow
@examples(30)
def test_the_same_as_the_text_on_duckdb(
    connection: duckdb.DuckDBPyConnection,
    rows: list[Row],
    size: BatchSizes,
    ticks: int,
    windows: list[int],
    bounds: list[int],
) -> None:
    fill(connection, rows)
    last = FIRST + timedelta(days=ticks - 1)
    ours, text = NumpyEngine(connection, sizes=size), DuckDBEngine(connection)
    for w_bound in (None, bounds[0]):
        found, right = (engine.daily_flips(windows, FIRST, last, w_bound) for engine in (ours, text))
        assert list(found) == list(right) == windows
        for window in windows:
            for field in dataclasses.fields(right[window]):
                same(getattr(found[window], field.name), getattr(right[window], field.name))
    levels, right_levels = (engine.bounded_counts(windows, FIRST, last, bounds) for engine in (ours, text))
    assert list(levels) == list(right_levels) == windows
    for window in windows:
        for field in dataclasses.fields(right_levels[window]):
            same(getattr(levels[window], field.name), getattr(right_levels[window], field.name))


def same(found: object, right: object) -> None:
    """Equal in values, shape and type."""
    if isinstance(right, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (right.dtype, right.shape)
        assert found.tolist() == right.tolist()
    else:
        assert found == right
        assert type(found) is type(right)


@given(
    rows=tables,
    spent=st.dictionaries(
        st.sampled_from([f"user {user}" for user in (*USERS, 5, 6, 7)]), st.sampled_from((2, 4, 6, 8))
    ),
    size=sizes,
    bounds=st.lists(st.integers(1, 8), min_size=1, max_size=4, unique=True),
)
@pytest.mark.slow
@examples(15)
def test_spent_flips_count_as_in_the_text(
    connection: duckdb.DuckDBPyConnection, rows: list[Row], spent: dict[str, int], size: BatchSizes, bounds: list[int]
) -> None:
    fill(connection, rows)
    pseudonym, last = pseudonyms(KEY), FIRST + timedelta(days=9)
    kept = {1: {pseudonym(user): flips for user, flips in spent.items()}, 7: {}}
    tombstones = Tombstones(FIRST, {FIRST: kept})
    ours = NumpyEngine(connection, tombstones, KEY, sizes=size)
    text = DuckDBEngine(connection, tombstones, KEY)
    found, right = (engine.daily_flips([7, 1], FIRST, last, bounds[0]) for engine in (ours, text))
    levels, right_levels = (engine.bounded_counts([7, 1], FIRST, last, bounds) for engine in (ours, text))
    for window in (7, 1):
        same(found[window].starts, right[window].starts)
        same(found[window].ends, right[window].ends)
        same(levels[window].values, right_levels[window].values)


@given(rows=tables, window=st.sampled_from((1, 3, 30)), w_bound=st.sampled_from((None, 1, 2, 3)))
@examples(10)
def test_the_flips_of_users_are_those_of_the_runs_in_the_text(
    connection: duckdb.DuckDBPyConnection, rows: list[Row], window: int, w_bound: int | None
) -> None:
    fill(connection, rows)
    last = FIRST + timedelta(days=9)
    horizon = Horizon((window,), FIRST, last, w_bound)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE cells AS {portable_text('cells', horizon, 1)}")
        text = integer_columns(cursor.execute(f"SELECT * FROM ({portable_text('runs', horizon, window)})"))
    bound = np.inf if w_bound is None else w_bound
    expected = []
    for user, start, end, run in zip(*(text[name].tolist() for name in text), strict=True):
        flips = [(start, 2 * run - 1, 1)] + [(end, 2 * run, -1)] * (end < ORIGIN + 10)
        expected += [(tick - ORIGIN, step, f"user {user}") for tick, number, step in flips if number <= bound]
    found = user_flips(connection, window, FIRST, last, w_bound)
    names = found.ids.to_pylist()
    shown = [names[user] for user in found.users.tolist()]
    assert list(zip(found.ticks.tolist(), found.steps.tolist(), shown, strict=True)) == sorted(expected)


@given(rows=tables, size=sizes)
@examples(10)
def test_a_user_is_in_one_piece_and_pieces_ascend(
    connection: duckdb.DuckDBPyConnection, rows: list[Row], size: BatchSizes
) -> None:
    fill(connection, rows)
    horizon = Horizon((1, 7), FIRST, FIRST + timedelta(days=9))
    with connection.cursor() as cursor:
        pieces = list(user_days(cursor, horizon, size))
        whole = list(user_days(cursor, horizon))
    users = [set(piece.users.tolist()) for piece in pieces]
    assert sum(len(some) for some in users) == len(set().union(*users))
    names = [field.name for field in dataclasses.fields(UserDays)]
    found, right = (
        sorted(row for piece in some for row in zip(*(getattr(piece, name).tolist() for name in names), strict=True))
        for some in (pieces, whole)
    )
    assert found == right
    for piece in pieces:
        order = list(zip(piece.users.tolist(), piece.starts.tolist(), strict=True))
        assert order == sorted(order)
        assert (piece.starts < piece.stops).all()


def test_progress_says_how_much_is_done(connection: duckdb.DuckDBPyConnection) -> None:
    fill(connection, [(user, ORIGIN, ORIGIN, user, 1) for user in range(8)])
    said: list[tuple[str, float | None]] = []
    engine = NumpyEngine(connection, progress=lambda stage, done: said.append((stage, done)), sizes=BatchSizes(rows=2))
    assert engine.daily_flips([1], FIRST, FIRST)[1].starts.tolist() == [8]
    assert said == [("counting", 0.0), ("counting", 0.25), ("counting", 0.5), ("counting", 0.75)]
