"""Sketches over time: daily ones merged into trailing windows, or one that follows who is present.

Merging is for logs that only add. Where activity can be taken back, a user leaves a window only if no other activity
keeps the user there, which no union of daily sketches can tell; then the sketch follows the presence runs, and users
enter and leave it one flip at a time, as often as W_BOUND allows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial, reduce
from itertools import pairwise

import numpy as np

from dp.arrays import Integers
from dp.log import Log
from dp.presence.daily import EPOCH, Horizon, day_number, integer_columns
from dp.presence.user_flips import UserFlips, user_flips
from dp.sketches.keys import keys_of
from dp.sketches.protocol import Keys, Sketch, SketchDesign
from dp.sketches.salts import Salt, Salts


class RetractedError(ValueError):
    """The log takes activity back, which a union of daily sketches cannot follow."""


@dataclass(frozen=True)
class DailySketches:
    """One sketch per day and salt, as in a store that keeps no user ids.

    Attributes:
        design: of each.
        salts: under which user ids are hashed, and since when.
        window: the longest trailing window that can be read, in days; a new salt is recorded that long beforehand.
        sketches: by day and salt.
    """

    design: SketchDesign
    salts: Salts
    window: int
    sketches: Mapping[tuple[date, Salt], Sketch]

    def add(self, day: date, hashed: Callable[[bytes], Keys]) -> DailySketches:
        """With users who were active on that day, recorded under every salt that a window may be read under.

        Args:
            hashed: from a salt to the users' keys.
        """
        changed = dict(self.sketches)
        for salt in self.salts.valid(day, self.window):
            before = changed.get((day, salt)) or self.design.empty()
            changed[day, salt] = before.add(hashed(salt.key))
        return DailySketches(self.design, self.salts, self.window, changed)

    def merged(self, tick: date, window: int) -> Sketch:
        """The users of the `window` days up to `tick`, read under the one salt in force then.

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
    log: Log, design: SketchDesign, salts: Salts, window: int, first: date, last: date, *, ignore_removals: bool = False
) -> Iterator[Sketch]:
    """The sketch of a trailing window at every tick, merged from daily ones; activity counts from its arrival on.

    Args:
        window: in days.
        ignore_removals: use additions only, whatever is taken back later, as a union of sketches does to a log with
            deletions.

    Raises:
        RetractedError: the log has retractions or erasures, and `ignore_removals` is false.
    """
    horizon = Horizon((window,), first, last)
    (removals,) = log.connection.execute("SELECT count(*) FROM operations WHERE op <> 1").fetchone() or (0,)
    if removals and not ignore_removals:
        raise RetractedError(
            f"the log takes activity back ({removals:,} operations), and daily sketches only add up; "
            "count it with exact, bitmap or fixed-rate, which follow who is present"
        )
    arrivals = integer_columns(
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
    log: Log, design: SketchDesign, salt: bytes | None, window: int, first: date, last: date, w_bound: int | None = None
) -> Iterator[Sketch]:
    """The sketch of the users present at every tick, each cut after `w_bound` flips; for sketches that can remove.

    Args:
        salt: under which user ids are hashed; None for sketches of user numbers (see `UserFlips`).
        window: trailing window, in days.

    Raises:
        UnsupportedError: the sketch cannot remove.
    """
    return follow(user_flips(log.connection, window, first, last, w_bound), design, salt, (last - first).days + 1)


def follow(flips: UserFlips, design: SketchDesign, salt: bytes | None, ticks: int) -> Iterator[Sketch]:
    """`following` from the flips themselves, which saves time when the same log is followed under many salts.

    Args:
        ticks: number of ticks.
    """
    keys = np.arange(len(flips.ids), dtype=np.int64) if salt is None else keys_of(flips.ids, salt)
    edges = np.searchsorted(flips.ticks, np.arange(ticks + 1))
    sketch = design.empty()
    for start, stop in pairwise(edges.tolist()):
        moved, comes = keys[flips.users[start:stop]], flips.steps[start:stop] > 0
        if not comes.all():
            sketch = sketch.remove(moved[~comes])
        sketch = sketch.add(moved[comes])
        yield sketch


def _chosen(hashed: Callable[[bytes], Keys], users: Integers, salt: bytes) -> Keys:
    return hashed(salt)[users]


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
