"""The portable text's answers from sorted arrays, the default engine; tests hold it equal to the text on DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import duckdb
import numpy as np

from dp.arrays import Integers
from dp.counts import Counts
from dp.presence.daily import NO_BOUND, DailyFlips, Horizon
from dp.presence.numpy_cells import BatchSizes, user_days
from dp.presence.numpy_runs import flips_by_tick, presence_runs
from dp.presence.tombstones import Tombstones, spent_flips
from dp.progress import Progress, silent


@dataclass(frozen=True)
class NumpyEngine:
    """Answers from the tables `operations` and `users` of one connection, as `read_log` makes them.

    Attributes:
        connection: of the log.
        tombstones: what a compaction of this log left behind.
        key: the key of the tombstones.
        progress: called with a stage and the fraction done.
        sizes: how much is in memory at once.
    """

    connection: duckdb.DuckDBPyConnection
    tombstones: Tombstones | None = None
    key: bytes | None = field(default=None, repr=False)
    progress: Progress | None = None
    sizes: BatchSizes = field(default_factory=BatchSizes)

    def daily_flips(
        self, windows: Sequence[int], first: date, last: date, w_bound: int | None = None
    ) -> dict[int, DailyFlips]:
        """The flips of every window over the ticks `first` .. `last`, each user cut after `w_bound` flips.

        With tombstones, the counts are those of the full log at every tick after the compaction.

        Raises:
            ValueError: see `Horizon`; or see `Tombstones.since`.
        """
        horizon = Horizon(tuple(windows), first, last, w_bound)
        bound = NO_BOUND if w_bound is None else w_bound
        result = {}
        for window, (found, cut_before) in self._flips(horizon, (bound,)).items():
            starts, ends = found[:, 0]
            starts[0] += cut_before[0] * (bound % 2)
            result[window] = DailyFlips(window, first, starts, ends, w_bound)
        return result

    def bounded_counts(
        self, windows: Sequence[int], first: date, last: date, bounds: Sequence[int]
    ) -> dict[int, Counts]:
        """The counts of every window under several flip bounds; see `collect_bounded`.

        With tombstones, the counts are those of the full log, as in `daily_flips`.

        Raises:
            ValueError: see `daily_flips`.
        """
        horizon = Horizon(tuple(windows), first, last, bounds=tuple(bounds))
        above = [bound + 1 for bound in bounds]
        numbers = sorted({*bounds, *above})
        at, next_to = (np.searchsorted(numbers, chosen) for chosen in (bounds, above))
        result = {}
        for window, (found, cut_before) in self._flips(horizon, numbers).items():
            # A user is cut at the flip that only the next bound lets pass.
            cut = (found[:, next_to] - found[:, at]).sum(axis=0)
            gained = found[0, at] - found[1, at]
            cut[:, 0] += cut_before[at]
            gained[:, 0] += cut_before[at] * (np.asarray(bounds) % 2)
            steps = np.stack([gained, cut], axis=1).reshape(2 * len(bounds), -1)
            result[window] = Counts(steps.T.cumsum(axis=0), window, first, tuple(bounds))
        return result

    def _flips(self, horizon: Horizon, bounds: Sequence[int]) -> dict[int, tuple[Integers, Integers]]:
        """Window → what `flips_by_tick` returns, and how many users were cut before the log begins, shape (bounds,)."""
        beyond = (horizon.last - horizon.first).days + 1
        numbers = np.array(bounds, dtype=np.int64)
        with self.connection.cursor() as cursor:
            spent = {
                window: _Spent.of(*columns)
                for window, columns in spent_flips(cursor, self.tombstones, self.key, horizon).items()
            }
            found = {window: np.zeros((2, len(bounds), beyond), dtype=np.int64) for window in horizon.windows}
            for part in user_days(cursor, horizon, self.sizes, self.progress or silent):
                for window in horizon.windows:
                    in_window = presence_runs(part, window, beyond)
                    found[window] += flips_by_tick(in_window, spent[window].by(in_window.users), numbers, beyond)
        return {window: (found[window], spent[window].cut(numbers)) for window in horizon.windows}


@dataclass(frozen=True)
class _Spent:
    """Flips that users spent before an erasure removed their rows.

    Attributes:
        users: ids of those who are back, ascending; shape (back,).
        flips: theirs; shape (back,).
        everyone: the flips of all, back or not.
    """

    users: Integers
    flips: Integers
    everyone: Integers

    @classmethod
    def of(cls, users: Sequence[int | None], flips: Sequence[int]) -> _Spent:
        """From the columns of the relation `spent` in flips.sql."""
        back = sorted((user, spent) for user, spent in zip(users, flips, strict=True) if user is not None)
        pairs = np.array(back, dtype=np.int64).reshape(-1, 2)
        return cls(pairs[:, 0], pairs[:, 1], np.array(flips, dtype=np.int64))

    def by(self, users: Integers) -> Integers:
        """What each user spent, where the user comes more than once, each time."""
        if not len(self.users):
            return np.zeros(len(users), dtype=np.int64)
        place = np.searchsorted(self.users, users)
        return np.where(self.users.take(place, mode="clip") == users, self.flips.take(place, mode="clip"), 0)

    def cut(self, bounds: Integers) -> Integers:
        """Users who spent more than each bound; shape (bounds,)."""
        counted: Integers = (self.everyone > bounds[:, None]).sum(axis=1)
        return counted
