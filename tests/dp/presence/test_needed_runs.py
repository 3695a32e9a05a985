"""What user-days need, against a replay with and without each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.presence import needed_runs as module
from dp.presence.needed_runs import NeededRuns, needed_runs
from tests.examples import examples
from tests.oracles.logs import HORIZON_END, day, log_of, stream
from tests.oracles.mechanism_instances import count_runs
from tests.oracles.presence import Operation, operations, presence

WINDOWS = (1, 2, 7, 30)


def slowly(rows: Sequence[Operation], window: int, first: int, last: int) -> NeededRuns:
    """Take every user-day out of the log, and look at what that changes."""
    days, users = Counter[int](), Counter[int]()
    with_it = presence(rows, window, first, last)
    for user in with_it:
        needed = []
        for about in {row.day for row in rows if row.user == user and row.day is not None}:
            own = [row for row in rows if row.user == user and row.day in (about, None)]
            if any(presence(own, window, first, last)[user]):
                rest = [row for row in rows if row.user == user and row.day != about]
                without = presence(rest, window, first, last).get(user, [0] * (last - first + 1))
                difference = np.array([with_it[user]]) - np.array([without])
                assert difference.min() >= 0
                needed.append(max(int(count_runs(difference)[0]), 1))
        days.update(needed)
        users.update(needed and [max(needed)])
    return NeededRuns(window, dict(days), dict(users))


def agree(rows: Sequence[Operation], window: int, first: int, last: int) -> None:
    with duckdb.connect() as connection:
        found = needed_runs(log_of(rows, connection).connection, window, day(first), day(last))
    expected = slowly(rows, window, first, last)
    for name in ("user_days", "users"):
        # Nobody may need one run, which is then said.
        assert Counter(getattr(found, name)) == Counter(getattr(expected, name)), (name, window)


@pytest.mark.slow
@given(rows=operations(), window=st.sampled_from(WINDOWS), first=st.integers(0, 12), length=st.integers(0, 40))
@examples(40)
def test_equals_the_replay_without_each_user_day(rows: list[Operation], window: int, first: int, length: int) -> None:
    agree(rows, window, first, first + length)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_users_are_looked_at_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(module, "CHUNK", 2 * (HORIZON_END + 2))
    for window in WINDOWS:
        agree(stream(seed, 60), window, 0, HORIZON_END)


def test_a_day_taken_back_uncovers_another_day() -> None:
    # Day 2 is seen at 2, hidden by day 3 while that lasts, and seen again.
    rows = [Operation("a", 2, "+", 2), Operation("a", 3, "+", 3), Operation("a", 3, "-", 5)]
    with duckdb.connect() as connection:
        found = needed_runs(log_of(rows, connection).connection, 7, day(0), day(20))
    assert found == NeededRuns(7, {1: 1, 2: 1}, {1: 0, 2: 1})


def on_time(days: Sequence[int], erasures: Sequence[int]) -> list[Operation]:
    """One user, active on days, each heard of on the day itself; erased at ticks, before what arrives then."""
    rows = [Operation("a", None, "erase", at) for at in erasures] + [
        Operation("a", about, "+", about) for about in days
    ]
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_erasures_at_any_ticks_keep_every_user_day_in_the_class_of_two(window: int) -> None:
    """Guarantees, section 1.2: every set of active days and every set of up to two erasures, within six ticks."""
    ticks = range(6)
    for active in range(1, 2**6):
        days = [tick for tick in ticks if active >> tick & 1]
        for erasures in [(), *((one,) for one in ticks), *((one, two) for one in ticks for two in range(one + 1, 6))]:
            rows = on_time(days, erasures)
            for rewritten in (rows, rows[::-1]):
                assert set(slowly_of_one(rewritten, window)) <= {0, 1}, (days, erasures, window)


def slowly_of_one(rows: Sequence[Operation], window: int) -> list[int]:
    """The runs of every user-day of a single user, whose operations of a tick come in the order of the rows."""
    whole = np.array([presence(rows, window, 0, 11)["a"]])
    found = []
    for about in {row.day for row in rows} - {None}:
        rest = [row for row in rows if row.day != about]
        without = presence(rest, window, 0, 11).get("a", [0] * 12)
        found.append(int(count_runs(whole - np.array([without]))[0]))
    return found


def test_a_second_retraction_is_no_erasure() -> None:
    """The broken twin of the claim: days that are taken back one by one need more."""
    rows = [*on_time([0, 2, 4], []), Operation("a", 2, "-", 3)]
    assert max(slowly_of_one(rows, 5)) == 2
