"""Sketches over time: daily ones merged into trailing windows, or one that follows who is present.

Merging is for logs that only ever add. Where activity can be taken back, a user leaves a window only when no other
activity holds the user there, which no union of daily sketches can tell; then the sketch follows the presence runs,
and users enter and leave it one flip at a time, as often as W_BOUND allows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial, reduce
from itertools import pairwise

import duckdb
import numpy as np
from numpy.typing import NDArray

from dp.events import Log
from dp.presence.daily import EPOCH, Horizon, day_number, portable_text
from dp.sketches.keys import keys_of
from dp.sketches.protocol import Design, Keys, Sketch
from dp.sketches.salts import Salt, Salts

Integers = NDArray[np.int64]


class RetractedError(ValueError):
    """The log takes activity back, which a union of daily sketches cannot follow."""


@dataclass(frozen=True)
class DailySketches:
    """A sketch a day and salt, as a store that keeps no user ids would have them.

    Attributes:
        design: of each.
        salts: under which users are known, and since when.
        window: longest trailing window that is asked for, in days; so long a new salt is in use before it is in force.
        sketches: by day and salt.
    """

    design: Design
    salts: Salts
    window: int
    sketches: Mapping[tuple[date, Salt], Sketch]

    def add(self, day: date, hashed: Callable[[bytes], Keys]) -> DailySketches:
        """With users who were active on that day, recorded under every salt that a window over it may be read with.

        Args:
            hashed: from a salt to the users' keys.
        """
        changed = dict(self.sketches)
        for salt in self.salts.valid(day, self.window):
            before = changed.get((day, salt)) or self.design.empty()
            changed[day, salt] = before.add(hashed(salt.key))
        return DailySketches(self.design, self.salts, self.window, changed)

    def merged(self, tick: date, window: int) -> Sketch:
        """The users of the `window` days up to `tick`, read with the one salt that is in force then.

        Raises:
            ValueError: the window is longer than `self.window`.
        """
        if window > self.window:
            raise ValueError(f"window is {window} days; these sketches are kept for windows of up to {self.window}")
        salt = self.salts.in_force(tick)
        days = (tick - timedelta(days=back) for back in range(window))
        found = (self.sketches[day, salt] for day in days if (day, salt) in self.sketches)
        return reduce(lambda union, one: union.merge(one), found, self.design.empty())


def rolling(
    log: Log, design: Design, salts: Salts, window: int, first: date, last: date, *, ignore_removals: bool = False
) -> Iterator[Sketch]:
    """The sketch of a trailing window at every tick, merged from daily ones; activity counts from its arrival on.

    Args:
        window: in days.
        ignore_removals: take additions only, whatever is taken back later: what a union of sketches does to a log with
            deletions.

    Raises:
        RetractedError: the log has retractions or erasures, and they are not to be ignored.
    """
    horizon = Horizon((window,), first, last)
    (removals,) = log.connection.execute("SELECT count(*) FROM operations WHERE op <> 1").fetchone() or (0,)
    if removals and not ignore_removals:
        raise RetractedError(
            f"the log takes activity back ({removals:,} operations), and daily sketches only add up; "
            "count it with exact, bitmap or fixed-rate, which follow who is present"
        )
    arrivals = _integers(
        log.connection.execute(
            "SELECT DISTINCT greatest(o.at, ?::INT) AS arrived, o.day, o.user_id FROM operations AS o "
            "WHERE o.op = 1 AND o.at <= ? AND o.day > ? ORDER BY arrived, day, user_id",
            [day_number(first), day_number(last), day_number(first) - window],
        )
    )
    hashed = _hashed(log)
    pieces = _pieces(np.stack([arrivals["arrived"], arrivals["day"]], axis=1))
    waiting: dict[int, list[tuple[int, Integers]]] = defaultdict(list)
    for start, stop in pieces:
        waiting[int(arrivals["arrived"][start])].append((int(arrivals["day"][start]), arrivals["user_id"][start:stop]))
    kept = DailySketches(design, salts, window, {})
    for tick in _ticks(horizon):
        for day, users in waiting.pop(day_number(tick), []):
            kept = kept.add(EPOCH + timedelta(days=day), partial(_chosen, hashed, users))
        oldest = tick - timedelta(days=window)
        kept = DailySketches(design, salts, window, {key: one for key, one in kept.sketches.items() if key[0] > oldest})
        yield kept.merged(tick, window)


def following(
    log: Log, design: Design, salt: bytes | None, window: int, first: date, last: date, w_bound: int | None = None
) -> Iterator[Sketch]:
    """The sketch of who is present at every tick, each user cut after `w_bound` flips; for sketches that can remove.

    Args:
        salt: under which users are known to the sketch; None for sketches of user numbers.
        window: trailing window, in days.

    Raises:
        UnsupportedError: the sketch cannot remove.
    """
    horizon = Horizon((window,), first, last, w_bound)
    with log.connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE cells AS {portable_text('cells', horizon, 1)}")
        runs = _integers(
            cursor.execute(f"SELECT user_id, starts_at, ends_at, run FROM ({portable_text('runs', horizon, window)})")
        )
        highest = cursor.execute("SELECT coalesce(max(user_id), -1) FROM users").fetchone()
    keys = np.arange((highest or (-1,))[0] + 1, dtype=np.int64) if salt is None else _hashed(log)(salt)
    bound = np.inf if w_bound is None else w_bound
    starting = runs["starts_at"], runs["user_id"], 2 * runs["run"] - 1 <= bound
    # Runs that last beyond the last tick end after it, where nobody asks.
    ending = runs["ends_at"], runs["user_id"], 2 * runs["run"] <= bound
    started, ended = (_by_tick(*flips, day_number(first)) for flips in (starting, ending))
    sketch = design.empty()
    none = np.empty(0, dtype=np.int64)
    for tick in range(len(_ticks(horizon))):
        sketch = sketch.remove(keys[ended.get(tick, none)]) if tick in ended else sketch
        sketch = sketch.add(keys[started.get(tick, none)])
        yield sketch


def _integers(answer: duckdb.DuckDBPyConnection) -> dict[str, Integers]:
    return {name: np.asarray(values).astype(np.int64) for name, values in answer.fetchnumpy().items()}


def _chosen(hashed: Callable[[bytes], Keys], users: Integers, salt: bytes) -> Keys:
    return hashed(salt)[users]


def _by_tick(ticks: Integers, users: Integers, kept: NDArray[np.bool_], first: int) -> dict[int, Integers]:
    order = np.argsort(ticks[kept], kind="stable")
    ticks, users = ticks[kept][order], users[kept][order]
    return {int(ticks[start]) - first: users[start:stop] for start, stop in _pieces(ticks[:, None])}


def _pieces(rows: Integers) -> list[tuple[int, int]]:
    """Where runs of equal rows start and stop."""
    if not len(rows):
        return []
    edges = np.flatnonzero(np.any(rows[1:] != rows[:-1], axis=1)) + 1
    return list(pairwise([0, *edges.tolist(), len(rows)]))


def _hashed(log: Log) -> Callable[[bytes], Keys]:
    """From a salt to the keys of all users, at their user_id."""
    users = log.connection.sql('SELECT user_id, "user" FROM users ORDER BY user_id').to_arrow_table()
    numbers = users["user_id"].to_numpy()
    known: dict[bytes, Keys] = {}

    def hashed(salt: bytes) -> Keys:
        if salt not in known:
            known[salt] = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=np.int64)
            known[salt][numbers] = keys_of(users["user"], salt)
        return known[salt]

    return hashed


def _ticks(horizon: Horizon) -> list[date]:
    return [horizon.first + timedelta(days=back) for back in range((horizon.last - horizon.first).days + 1)]
