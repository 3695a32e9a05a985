"""What survives an erasure: counters of spent flips under a keyed pseudonym; no rows, no user id."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b

import duckdb
import numpy as np

from dp.log import Log, log_of
from dp.presence.daily import Horizon, day_number
from dp.presence.numpy_cells import user_days
from dp.presence.numpy_runs import presence_runs


@dataclass(frozen=True)
class Tombstones:
    """The flips that erased users spent up to the tick `through`.

    How many they are depends on the tick from which they are counted, so streams of several first days have several.

    Attributes:
        spent: first tick -> window -> pseudonym -> flips since then (even: an erased user is absent).
    """

    through: date
    spent: Mapping[date, Mapping[int, Mapping[bytes, int]]]

    def holds(self, first: date, windows: Collection[int]) -> bool:
        """Whether it is known what was spent since `first`, in each of the windows."""
        return first >= self.through or set(windows) <= set(self.spent.get(first, ()))

    def since(self, first: date, windows: Collection[int]) -> dict[int, Mapping[bytes, int]]:
        """window -> pseudonym -> flips since `first`; none where that is not before `through`.

        Raises:
            ValueError: they were not kept.
        """
        if not self.holds(first, windows):
            kept = (f"{day} (windows {', '.join(map(str, sorted(of)))})" for day, of in sorted(self.spent.items()))
            missing = sorted(set(windows) - set(self.spent.get(first, ())))
            raise ValueError(
                f"first = {first}, windows = {missing}: the tombstones count flips from "
                f"{'; '.join(kept) or 'no day'}. Begin on such a day, or on {self.through}, the day of the compaction, "
                "or later"
            )
        # Who leaves is absent from `through` on, so that nothing is spent since a later day.
        spent = self.spent.get(first, {})
        return {window: spent.get(window, {}) for window in windows}


def pseudonyms(key: bytes) -> Callable[[str], bytes]:
    """The function from a user to the 16-byte keyed pseudonym under which the user's flips are kept.

    Raises:
        ValueError: a key shorter than 16 bytes or longer than 64.
    """
    if not 16 <= len(key) <= 64:
        raise ValueError(f"key has {len(key)} bytes: give 16 to 64 secret random bytes")
    # Keying takes as long as hashing a short id, so it is done once.
    keyed = blake2b(key=key, digest_size=16)

    def pseudonym(user: str) -> bytes:
        digest = keyed.copy()
        digest.update(user.encode())
        return digest.digest()

    return pseudonym


def compact(
    log: Log,
    through: date,
    windows: Mapping[date, Collection[int]],
    key: bytes,
    earlier: Tombstones | None = None,
) -> tuple[Log, Tombstones]:
    """The log without the rows of users who are erased as of the tick `through`, and their tombstones.

    A user is removed if the last operation with `at` <= `through` is an erase; later operations stay.

    Args:
        log: stays open and unchanged.
        through: the tick of the compaction.
        windows: for each first tick, from which flips are counted, the trailing windows whose spent flips are kept.
        key: of the pseudonyms; see `pseudonyms`.
        earlier: tombstones of a previous compaction of this log, made with the same key; they are added, and what they
            keep is kept.

    Returns:
        A log over the same period with a connection of its own, and the tombstones.

    Raises:
        ValueError: see `Horizon` and `pseudonyms`; or `earlier` does not know one of the first ticks or windows, or has
            a later end.
    """
    pseudonym = pseudonyms(key)
    earlier = earlier or Tombstones(date.min, {})
    if earlier.through > through:
        raise ValueError(f"earlier tombstones end on {earlier.through}: they cannot be continued to {through}")
    horizons = [
        Horizon(tuple(sorted({*windows.get(first, ()), *earlier.spent.get(first, ())})), first, through)
        for first in sorted({*windows, *earlier.spent})
        if first < through
    ]
    try:
        spent_before = {horizon: earlier.since(horizon.first, horizon.windows) for horizon in horizons}
    except ValueError as error:
        raise ValueError(f"earlier tombstones cannot be continued: {error}") from None
    with log.connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE gone AS SELECT user_id FROM operations AS o WHERE o.at <= ? "
            "GROUP BY user_id HAVING arg_max(op, (o.at, seq)) = 0",
            [day_number(through)],
        )
        spent = _with_gone(cursor, spent_before, pseudonym)
        cursor.execute(
            "CREATE TEMP TABLE kept AS SELECT o.* FROM operations AS o ANTI JOIN "
            "(SELECT x.seq FROM operations AS x SEMI JOIN gone USING (user_id) WHERE x.at <= ?) USING (seq)",
            [day_number(through)],
        )
        operations = cursor.sql("SELECT * FROM kept").to_arrow_table()
        users = cursor.sql("SELECT * FROM users SEMI JOIN kept USING (user_id)").to_arrow_table()
    return log_of(log, operations, users), Tombstones(through, spent)


def _with_gone(
    cursor: duckdb.DuckDBPyConnection,
    spent_before: Mapping[Horizon, Mapping[int, Mapping[bytes, int]]],
    pseudonym: Callable[[str], bytes],
) -> dict[date, dict[int, dict[bytes, int]]]:
    """The earlier spent flips and those of the users in `gone`, as in `Tombstones.spent`."""
    names = cursor.execute('SELECT user_id, "user" FROM users SEMI JOIN gone USING (user_id)').fetchall()
    named = {user_id: pseudonym(user) for user_id, user in names}
    if not named:
        return {
            horizon.first: {window: dict(flips) for window, flips in before.items()}
            for horizon, before in spent_before.items()
        }
    spent: dict[date, dict[int, dict[bytes, int]]] = {}
    gone = np.array(sorted(named), dtype=np.int64)
    for horizon, before in spent_before.items():
        beyond = (horizon.last - horizon.first).days + 1
        runs = {window: np.zeros(len(gone), dtype=np.int64) for window in horizon.windows}
        for part in user_days(cursor, horizon):
            for window, counted in runs.items():
                users = presence_runs(part, window, beyond).users
                place = np.searchsorted(gone, users)
                np.add.at(counted, place[gone.take(place, mode="clip") == users], 1)
        spent[horizon.first] = windows = {}
        for window, counted in runs.items():
            windows[window] = flips = dict(before[window])
            # A removed user is absent at `through`: all runs have ended, so each is two flips.
            for user_id, count in zip(gone.tolist(), counted.tolist(), strict=True):
                if count:
                    name = named[user_id]
                    flips[name] = flips.get(name, 0) + 2 * count
    return spent


def spent_flips(
    connection: duckdb.DuckDBPyConnection, tombstones: Tombstones | None, key: bytes | None, horizon: Horizon
) -> dict[int, tuple[list[int | None], list[int]]]:
    """For each window, the columns of spent(user_id, flips) in flips.sql; user_id is None for users who are not back.

    Raises:
        ValueError: tombstones without their key, or see `Tombstones.since`.
    """
    if tombstones is None or (horizon.w_bound is None and horizon.bounds is None):
        return {window: ([], []) for window in horizon.windows}
    if key is None:
        raise ValueError("key = None: tombstones know a user who returns only by the key they were made with")
    spent = tombstones.since(horizon.first, horizon.windows)
    users = connection.execute('SELECT user_id, "user" FROM users').fetchall()
    pseudonym = pseudonyms(key)
    returned = {pseudonym(user): user_id for user_id, user in users}
    return {window: ([returned.get(name) for name in flips], list(flips.values())) for window, flips in spent.items()}
