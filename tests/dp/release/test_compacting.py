"""Streams of several first days, windows and bounds go on from one smaller log as if every row were still there."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import duckdb
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dp.accounting.composition import Guarantee
from dp.arrays import Integers
from dp.ledger import Ledger, LedgerError, open_ledger
from dp.log import Log
from dp.noise import Noise
from dp.presence import Tombstones, compact
from dp.presence.tombstone_file import Compaction, past_name, read_compaction, write_compaction
from dp.release import Plan, Request, count_log, plan_release, publish
from dp.release.compacting import adopt, compacted
from dp.release.stream import _state_from
from tests.examples import examples
from tests.oracles.logs import HORIZON_END, day, log_of
from tests.oracles.presence import Operation, operations

NOW = datetime(2026, 6, 1)
KEY = b"sixteen bytes or more"


class Series(NamedTuple):
    """What a stream of these tests is, in few words; `first` is a tick."""

    first: int
    windows: Mapping[str, int]
    unit: str = "user"
    w_bound: int = 2
    mechanism: str = "gaussian"


STREAMS = {
    "from the beginning": Series(0, {"dau": 1, "mau": 30}),
    "a bound that lets more pass": Series(0, {"dau": 1}, w_bound=4),
    "later": Series(5, {"wau": 7}, w_bound=4),
    "later still, an odd bound": Series(9, {"dau": 1, "wau": 7}, w_bound=3),
    "several bounds": Series(3, {"dau": 1}, mechanism="adaptive-flippancy"),
    "nobody frozen": Series(7, {"wau": 7}, unit="user-day"),
}


@functools.cache
def plan_of(name: str) -> Plan:
    first, windows, unit, w_bound, mechanism = STREAMS[name]
    shares = dict.fromkeys(windows, 1.0)
    ticks = HORIZON_END + 1 - first
    guarantee = Guarantee(0.5, 1e-6)
    return plan_release(Request(windows, unit, w_bound, guarantee, mechanism, day(first), ticks, shares))


def the_same_noise(noise: Noise, size: int) -> Integers:
    return np.arange(size, dtype=np.int64)


@pytest.fixture(autouse=True)
def known_noise() -> Iterator[None]:
    """Two releases are then the same bytes exactly if all that they were made of is the same."""
    with mock.patch("dp.release.stream.secure_source", the_same_noise):
        yield


def published_to(ledger: Ledger, log: Log, compaction: Compaction | None, until: int) -> dict[str, list[str]]:
    """The rows of every stream that begins by `until`, after its days up to there are published."""
    rows = {}
    for name, series in STREAMS.items():
        if series.first <= until:
            counts = count_log(log, plan_of(name), day(until), compaction=compaction)
            arrived = functools.partial(past_name, log, compaction=compaction)
            rows[name] = publish(ledger, name, "team", plan_of(name), counts, NOW, arrived=arrived)
    return rows


def names_of_pasts(ledger: Ledger, streams: Sequence[str]) -> set[str | None]:
    """What the ledger says of the operations that the streams were counted from."""
    states = [ledger.state(stream, metric) for stream in streams for metric in STREAMS[stream].windows]
    return {_state_from(state).operations for state in states if state}


@contextmanager
def new_ledger(folder: str, name: str) -> Iterator[Ledger]:
    with open_ledger(Path(folder, name)) as ledger:
        ledger.create_budget("team", Guarantee(10.0, 1e-4), day(0), None)
        yield ledger


COMES_AND_GOES = [
    Operation("a", 0, "+", 0), Operation("a", None, "erase", 2), Operation("b", 1, "+", 1), Operation("a", 4, "+", 4),
    Operation("a", 6, "+", 6), Operation("a", None, "erase", 8), Operation("a", 12, "+", 12),
    Operation("a", None, "erase", 14), Operation("a", 17, "+", 17), Operation("b", 20, "+", 20),
]  # fmt: skip


@given(
    rows=operations(size=40),
    through=st.integers(0, 20),
    ahead=st.integers(0, 4),
    again=st.integers(0, 10),
)
@example(rows=COMES_AND_GOES, through=10, ahead=0, again=5)
@example(rows=COMES_AND_GOES, through=3, ahead=2, again=12)
@pytest.mark.slow
@examples(8)
def test_streams_of_several_first_days_go_on_from_one_smaller_log(
    rows: list[Operation], through: int, ahead: int, again: int
) -> None:
    """Compacted once and then again, with days published in between, against the log that keeps all rows."""
    stops = (through, through + again)
    with (
        tempfile.TemporaryDirectory() as folder,
        log_of(rows, duckdb.connect()) as whole,
        new_ledger(folder, "whole") as ours,
        new_ledger(folder, "compacted") as theirs,
    ):
        log, compaction = whole, None
        for number, stop in enumerate(stops):
            until = stop + ahead
            right = published_to(ours, whole, None, until)
            assert published_to(theirs, log, compaction, until) == right
            small, left = compacted(log, day(stop), theirs, list(right), KEY, compaction)
            adopt(theirs, list(right), (log, compaction), (small, left))
            write_compaction(left, Path(folder, str(number)))
            log, compaction = small, read_compaction(Path(folder, str(number)))
            assert compaction == left
            assert names_of_pasts(theirs, list(right)) == {past_name(log, day(until), compaction)}
        end = published_to(ours, whole, None, HORIZON_END)
        assert published_to(theirs, log, compaction, HORIZON_END) == end
        assert {name: len(of) for name, of in end.items()} == {
            name: len(series.windows) * (HORIZON_END + 1 - series.first) for name, series in STREAMS.items()
        }


def test_what_was_spent_is_counted_from_each_first_day(tmp_path: Path) -> None:
    with log_of(COMES_AND_GOES, duckdb.connect()) as log, new_ledger(str(tmp_path), "ledger") as ledger:
        published_to(ledger, log, None, 10)
        small, (tombstones, _, _) = compacted(log, day(10), ledger, list(STREAMS), KEY)
        with small:
            assert small.users == 2
    spent = {
        (first - day(0)).days: {window: list(flips.values()) for window, flips in windows.items()}
        for first, windows in tombstones.spent.items()
    }
    # Days 0 and 1, 4 to 7, and of a window of 7 and more one run from day 4 on; day 9 comes after all of them.
    assert spent == {0: {1: [6], 30: [4]}, 3: {1: [4]}, 5: {7: [2]}, 7: {7: [2]}, 9: {1: [], 7: []}}


def test_a_stream_may_begin_with_the_compaction_or_after_it_and_no_earlier() -> None:
    tombstones = Tombstones(day(10), {day(0): {1: {b"a": 2}}})
    for first in (day(10), day(11)):
        assert tombstones.since(first, [1, 7]) == {1: {}, 7: {}}
    for first, window in ((day(0), 7), (day(1), 1), (day(9), 1)):
        with pytest.raises(ValueError, match=r"from 1970-01-01 \(windows 1\). Begin on such a day, or on 1970-01-11"):
            tombstones.since(first, [window])


@pytest.mark.slow
def test_a_stream_that_lags_behind_is_named_and_nothing_is_bound(tmp_path: Path) -> None:
    with log_of(COMES_AND_GOES, duckdb.connect()) as log, new_ledger(str(tmp_path), "ledger") as ledger:
        rows = published_to(ledger, log, None, 10)
        with pytest.raises(ValueError, match=r"'from the beginning' has published the days 1970-01-01 to 1970-01-11"):
            compacted(log, day(11), ledger, list(rows), KEY)
        with pytest.raises(LedgerError, match="stream 'nobody' does not exist"):
            compacted(log, day(9), ledger, [*rows, "nobody"], KEY)
        assert {name: published_to(ledger, log, None, 12)[name][:1] for name in rows} == {
            name: of[:1] for name, of in rows.items()
        }


@pytest.mark.slow
def test_a_second_compaction_keeps_what_streams_that_are_not_named_have_spent(tmp_path: Path) -> None:
    """A stream without bounds opened on the smaller log joins, though nothing was kept for its first day."""
    with log_of(COMES_AND_GOES, duckdb.connect()) as log, new_ledger(str(tmp_path), "ledger") as ledger:
        published_to(ledger, log, None, 12)
        bounded = [name for name in STREAMS if name != "nobody frozen"]
        small, first = compacted(log, day(10), ledger, bounded, KEY)
        adopt(ledger, bounded, (log, None), (small, first))
        plan = plan_of("nobody frozen")
        counts = count_log(small, plan, day(15), compaction=first)
        arrived = functools.partial(past_name, small, compaction=first)
        publish(ledger, "opened later", "team", plan, counts, NOW, arrived=arrived)
        smaller, second = compacted(small, day(15), ledger, ["opened later"], KEY, first)
        with small, smaller:
            assert second.tombstones.spent.keys() == first.tombstones.spent.keys()
            assert list(second.tombstones.spent[day(0)][1].values()) == [8]
            adopt(ledger, ["opened later"], (small, first), (smaller, second))
            with pytest.raises(ValueError, match=r"earlier tombstones cannot be continued: first = 1970-01-09"):
                compact(smaller, day(15), {day(8): [7]}, KEY, second.tombstones)
