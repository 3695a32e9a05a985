"""The portable text on DuckDB, the engine that others are held equal to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb

from dp.presence.daily import Horizon
from dp.presence.labels import read_labels
from dp.presence.sql_engine import Session, SqlEngine
from dp.presence.tombstones import Tombstones, spent_flips
from dp.progress import Progress, silent


@dataclass(frozen=True)
class DuckDBEngine(SqlEngine):
    """Answers from the tables `operations` and `users` of one connection, as `read_log` makes them.

    Attributes:
        connection: of the log.
        tombstones: what a compaction of this log left behind.
        key: the key of the tombstones.
        progress: called with a stage and the fraction done when the stage begins.
    """

    connection: duckdb.DuckDBPyConnection
    tombstones: Tombstones | None = None
    key: bytes | None = field(default=None, repr=False)
    progress: Progress | None = None

    @contextmanager
    def open_session(self, horizon: Horizon) -> Iterator[Session]:
        """A cursor, whose temporary relations are its own, so that two questions at once do not meet.

        Raises:
            ValueError: the log has segments, which the text does not know.
        """
        with self.connection.cursor() as cursor:
            if read_labels(cursor).columns:
                raise ValueError("this log was read with segments, which only the engine numpy counts")
            spent = spent_flips(cursor, self.tombstones, self.key, horizon)

            def spend(window: int) -> None:
                cursor.execute(
                    "CREATE OR REPLACE TEMP TABLE spent AS "
                    "SELECT unnest(?::INTEGER[]) AS user_id, unnest(?::BIGINT[]) AS flips",
                    spent[window],
                )

            yield Session(
                run=lambda text: cursor.execute(text).fetchall(),
                materialize="CREATE TEMP TABLE",
                spend=spend,
                report=self.progress or silent,
            )
