"""What survives an erasure: for each window, a counter of spent flips under a keyed pseudonym; no rows, no user id."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b

import duckdb

from dp.log import Log, log_of
from dp.presence.daily import Horizon, day_number, portable_text


@dataclass(frozen=True)
class Tombstones:
    """The flips that erased users spent in the ticks `first` .. `through`."""

    first: date
    through: date
    spent: Mapping[int, Mapping[bytes, int]]
    """window -> pseudonym -> flips (even: an erased user is absent)."""


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
    windows: Sequence[int],
    first: date,
    key: bytes,
    earlier: Tombstones | None = None,
) -> tuple[Log, Tombstones]:
    """The log without the rows of users who are erased as of the tick `through`, and their tombstones.

    A user is removed if the last operation with `at` <= `through` is an erase; later operations stay.

    Args:
        log: stays open and unchanged.
        through: the tick of the compaction.
        windows: trailing windows whose spent flips are kept.
        first: the first tick, from which flips are counted.
        key: of the pseudonyms; see `pseudonyms`.
        earlier: tombstones of a previous compaction of this log, made with the same key and first tick; they are added.

    Returns:
        A log over the same period with a connection of its own, and the tombstones.

    Raises:
        ValueError: see `Horizon` and `pseudonyms`; or `earlier` has another first tick, other windows or a later end.
    """
    horizon = Horizon(tuple(windows), first, through)
    if earlier is not None and (
        earlier.first != first or earlier.through > through or set(earlier.spent) != set(windows)
    ):
        raise ValueError(
            f"earlier tombstones cover {earlier.first} .. {earlier.through}, windows {sorted(earlier.spent)}: "
            f"they cannot be continued to {first} .. {through}, windows {sorted(windows)}"
        )
    with log.connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE gone AS SELECT user_id FROM operations AS o WHERE o.at <= ? "
            "GROUP BY user_id HAVING arg_max(op, (o.at, seq)) = 0",
            [day_number(through)],
        )
        spent = _with_gone(cursor, horizon, pseudonyms(key), earlier)
        cursor.execute(
            "CREATE TEMP TABLE kept AS SELECT o.* FROM operations AS o ANTI JOIN "
            "(SELECT x.seq FROM operations AS x SEMI JOIN gone USING (user_id) WHERE x.at <= ?) USING (seq)",
            [day_number(through)],
        )
        operations = cursor.sql("SELECT * FROM kept").to_arrow_table()
        users = cursor.sql("SELECT * FROM users SEMI JOIN kept USING (user_id)").to_arrow_table()
    return log_of(log, operations, users), Tombstones(first, through, spent)


def _with_gone(
    cursor: duckdb.DuckDBPyConnection,
    horizon: Horizon,
    pseudonym: Callable[[str], bytes],
    earlier: Tombstones | None,
) -> dict[int, dict[bytes, int]]:
    """The earlier spent flips and those of the users in `gone`, as in `Tombstones.spent`."""
    names = cursor.execute('SELECT user_id, "user" FROM users SEMI JOIN gone USING (user_id)').fetchall()
    named = {user_id: pseudonym(user) for user_id, user in names}
    cursor.execute(f"CREATE TEMP TABLE cells AS {portable_text('cells', horizon, 1)}")
    spent: dict[int, dict[bytes, int]] = {}
    for window in horizon.windows:
        spent[window] = dict(earlier.spent[window]) if earlier else {}
        # A removed user is absent at `through`: all runs have ended, so each is two flips.
        runs = cursor.execute(
            f"SELECT user_id, COUNT(*) FROM ({portable_text('runs', horizon, window)}) "
            "SEMI JOIN gone USING (user_id) GROUP BY user_id"
        ).fetchall()
        for user_id, count in runs:
            name = named[user_id]
            spent[window][name] = spent[window].get(name, 0) + 2 * count
    return spent


def spent_flips(
    connection: duckdb.DuckDBPyConnection, tombstones: Tombstones | None, key: bytes | None, horizon: Horizon
) -> dict[int, tuple[list[int | None], list[int]]]:
    """For each window, the columns of spent(user_id, flips) in flips.sql; user_id is None for users who are not back.

    Raises:
        ValueError: tombstones without their key, of another first tick, or without one of the windows.
    """
    if tombstones is None or (horizon.w_bound is None and horizon.bounds is None):
        return {window: ([], []) for window in horizon.windows}
    if key is None:
        raise ValueError("key = None: tombstones know a user who returns only by the key they were made with")
    if tombstones.first != horizon.first:
        raise ValueError(f"first = {horizon.first}: the tombstones count flips from {tombstones.first}")
    unknown = sorted(set(horizon.windows) - set(tombstones.spent))
    if unknown:
        raise ValueError(f"windows = {unknown}: the tombstones hold {sorted(tombstones.spent)}")
    users = connection.execute('SELECT user_id, "user" FROM users').fetchall()
    pseudonym = pseudonyms(key)
    returned = {pseudonym(user): user_id for user_id, user in users}
    spent = {window: tombstones.spent[window] for window in horizon.windows}
    return {window: ([returned.get(name) for name in flips], list(flips.values())) for window, flips in spent.items()}
