"""The portable text on DuckDB, the default engine."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb

from dp.counts import Counts
from dp.presence.daily import DailyFlips, Horizon, collect, collect_bounded, portable_text
from dp.presence.tombstones import Tombstones, spent_flips


@dataclass(frozen=True)
class DuckDBEngine:
    """Answers from the tables `operations` and `users` of one connection, as `read_log` makes them.

    `tombstones` (with their `key`) are what a compaction of this log left behind. `progress` is called with a
    stage and the fraction done when the stage begins.
    """

    connection: duckdb.DuckDBPyConnection
    tombstones: Tombstones | None = None
    key: bytes | None = field(default=None, repr=False)
    progress: Callable[[str, float | None], None] | None = None

    def daily_flips(
        self, windows: Sequence[int], first: date, last: date, w_bound: int | None = None
    ) -> dict[int, DailyFlips]:
        """The flips of every window over the ticks `first` .. `last`, each user cut after `w_bound` flips.

        With tombstones, the counts are those of the full log at every tick after the compaction.

        Raises:
            ValueError: see `Horizon`; or the tombstones belong to another first tick or other windows.
        """
        horizon = Horizon(tuple(windows), first, last, w_bound)
        with self._asking(horizon, "flips") as answer:
            return collect(horizon, answer)

    def bounded_counts(
        self, windows: Sequence[int], first: date, last: date, bounds: Sequence[int]
    ) -> dict[int, Counts]:
        """The counts of every window under several flip bounds, in one query a window; see `collect_bounded`.

        With tombstones likewise.

        Raises:
            ValueError: see `daily_flips`.
        """
        horizon = Horizon(tuple(windows), first, last, bounds=tuple(bounds))
        with self._asking(horizon, "levels") as answer:
            return collect_bounded(horizon, answer)

    @contextmanager
    def _asking(self, horizon: Horizon, name: str) -> Iterator[Callable[[int], Iterable[Any]]]:
        """Runs the text `name` for one window after the other."""
        report = self.progress or (lambda stage, fraction: None)
        # A cursor has temporary relations of its own, so two questions at once do not meet.
        with self.connection.cursor() as cursor:
            report("cells", 0.0)
            spent = spent_flips(cursor, self.tombstones, self.key, horizon)
            cursor.execute(f"CREATE TEMP TABLE cells AS {portable_text('cells', horizon, 1)}")

            def answer(window: int) -> Iterable[Any]:
                report(f"window {window}", (1 + horizon.windows.index(window)) / (1 + len(horizon.windows)))
                cursor.execute(
                    "CREATE OR REPLACE TEMP TABLE spent AS "
                    "SELECT unnest(?::INTEGER[]) AS user_id, unnest(?::BIGINT[]) AS flips",
                    spent[window],
                )
                cursor.execute(f"CREATE OR REPLACE TEMP VIEW runs AS {portable_text('runs', horizon, window)}")
                return cursor.execute(portable_text(name, horizon, window)).fetchall()

            yield answer
