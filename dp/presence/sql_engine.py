"""What every engine does with the portable texts; an engine itself only knows how to run one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from dp.counts import Counts
from dp.presence.daily import DailyFlips, Horizon, collect, collect_bounded, portable_text
from dp.progress import Progress, silent


@dataclass(frozen=True)
class Session:
    """Where the texts of one question run, with relations of its own beside `operations`.

    Attributes:
        run: a statement → its rows.
        materialize: how a statement begins that computes a relation once and keeps it.
        spend: makes the relation `spent` of a window, as flips.sql reads it.
        report: called with a stage and the fraction done when the stage begins.
    """

    run: Callable[[str], list[tuple[Any, ...]]]
    materialize: str
    spend: Callable[[int], None]
    report: Progress = silent


class SqlEngine(ABC):
    """Answers by the portable texts, in a session that a subclass opens."""

    @abstractmethod
    def open_session(self, horizon: Horizon) -> AbstractContextManager[Session]:
        """A session for one question."""

    def daily_flips(
        self, windows: Sequence[int], first: date, last: date, w_bound: int | None = None
    ) -> dict[int, DailyFlips]:
        """The flips of every window over the ticks `first` .. `last`, each user cut after `w_bound` flips.

        With tombstones, the counts are those of the full log at every tick after the compaction.

        Raises:
            ValueError: see `Horizon`; or see `Tombstones.since`.
        """
        horizon = Horizon(tuple(windows), first, last, w_bound)
        with self._answers(horizon, "flips") as answer:
            return collect(horizon, answer)

    def bounded_counts(
        self, windows: Sequence[int], first: date, last: date, bounds: Sequence[int]
    ) -> dict[int, Counts]:
        """The counts of every window under several flip bounds, in one query a window; see `collect_bounded`.

        With tombstones, the counts are those of the full log, as in `daily_flips`.

        Raises:
            ValueError: see `daily_flips`.
        """
        horizon = Horizon(tuple(windows), first, last, bounds=tuple(bounds))
        with self._answers(horizon, "levels") as answer:
            return collect_bounded(horizon, answer)

    @contextmanager
    def _answers(self, horizon: Horizon, name: str) -> Iterator[Callable[[int], Iterable[Any]]]:
        """From a window to the rows of the text `name`."""
        with self.open_session(horizon) as session:
            session.report("cells", 0.0)
            session.run(f"{session.materialize} cells AS {portable_text('cells', horizon, 1)}")

            def answer(window: int) -> Iterable[Any]:
                step = 1 + horizon.windows.index(window)
                session.report(f"window {window}", step / (1 + len(horizon.windows)))
                session.spend(window)
                session.run(f"CREATE OR REPLACE TEMP VIEW runs AS {portable_text('runs', horizon, window)}")
                return session.run(portable_text(name, horizon, window))

            yield answer
