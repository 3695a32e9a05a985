"""The operations of a log: from checked rows to the tables of a `Log`, and from those to a file or a name."""

import hashlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from dp.log.log import Log
from dp.log.moments import instant
from dp.log.sql import identifier, quoted
from dp.log.staging import Reading, number_users
from dp.zones import DAY, EPOCH


def log_from_staged(reading: Reading, rows_read: int) -> Log:
    """The log of all rows that were staged."""
    connection = reading.connection
    reading.progress("indexing users", None)
    number_users(reading, least=0)
    connection.execute("DROP TABLE staged")
    first_day, last_day, used = connection.execute(
        "SELECT DATE '1970-01-01' + MIN(COALESCE(o.day, o.at)), DATE '1970-01-01' + MAX(o.at), COUNT(*) "
        "FROM operations AS o"
    ).fetchall()[0]
    if "clock" in [name for name, *_ in connection.execute("DESCRIBE operations").fetchall()]:
        _order_by_clock(reading, first_day, last_day)
    (users,) = connection.execute("SELECT COUNT(*) FROM users").fetchall()[0]
    if reading.compressed:
        # Cursors of the connection begin in its first database.
        connection.execute("USE memory")
        for table in ("operations", "users", *(["labels"] if reading.segments else [])):
            connection.execute(f"CREATE VIEW {table} AS FROM compressed.{table}")
    return Log(
        connection=connection,
        rows_read=rows_read,
        rows_used=used,
        rows_set_aside=reading.bad_rows.count,
        first_day=first_day,
        last_day=last_day,
        users=users,
        segments=reading.segments,
    )


def _order_by_clock(reading: Reading, first_day: date, last_day: date) -> None:
    """Number the operations by the time of arrival; one that does not say when arrives as its day begins."""
    first, last = ((day - EPOCH.date()).days * DAY for day in (first_day, last_day))
    begins = instant(reading.calendar.zone.between(first, last), "midnight")
    label = ", label" if reading.segments else ""
    reading.connection.execute(
        'CREATE TABLE ordered AS SELECT user_id, "day", "at", '
        f"row_number() OVER (ORDER BY COALESCE(clock, {begins}), seq) AS seq, op{label} "
        f"FROM (SELECT o.*, o.at::BIGINT * {DAY} AS midnight FROM operations AS o)"
    )
    reading.connection.execute("DROP TABLE operations")
    reading.connection.execute("ALTER TABLE ordered RENAME TO operations")


def write_canonical(log: Log, path: str | Path) -> None:
    """Write the log as Parquet: user (string), day DATE, op string, at DATE, seq BIGINT, in the order of arrival.

    Segment columns follow, as text.

    The rows stand in the order of seq, so a reader that goes by row (`read_log`) and one that goes by seq (Spark)
    agree.
    """
    said = "".join(f", l.{identifier(name)}" for name in log.segments)
    labels = " LEFT JOIN labels AS l ON l.label = o.label" if log.segments else ""
    log.connection.execute(
        "COPY (SELECT u.\"user\", DATE '1970-01-01' + o.day AS day, "
        "CASE o.op WHEN 1 THEN '+' WHEN -1 THEN '-' ELSE 'erase' END AS op, "
        f"DATE '1970-01-01' + o.at AS at, o.seq{said} FROM operations AS o JOIN users AS u USING (user_id){labels} "
        f"ORDER BY o.seq) TO {quoted(str(path))} (FORMAT parquet)"
    )


def takes_back_segments(log: Log) -> bool:
    """Whether a retraction says a segment; where that column is not read, it takes back the whole day."""
    if not log.segments:
        return False
    said = " OR ".join(f"l.{identifier(name)} IS NOT NULL" for name in log.segments)
    query = f"SELECT COUNT(*) > 0 FROM operations AS o JOIN labels AS l USING (label) WHERE o.op < 0 AND ({said})"
    return bool(log.connection.execute(query).fetchall()[0][0])


OPERATION_TEXT = (
    "concat_ws('|', {user}, o.day, o.at, o.op, CASE WHEN o.epoch > 0 OR o.place > 1 THEN o.epoch END, "
    "CASE WHEN o.epoch > 0 OR o.place > 1 THEN o.place END)"
)
"""SQL, for every engine: an operation of `placed_operations` in words; its place is said where it is not the usual."""


def placed_operations(through: int, label: str = "") -> str:
    """SQL, for every engine: the relation `placed`, what arrived by a day, with its place among the others.

    `label` is how the list of columns goes on that each operation has besides.

    `epoch` is the number of the user's erasures that came before on that arrival day. `place` counts from 1 among the
    operations on one user-day in one epoch. Only users with several operations on one user-day, or an erasure beside
    other rows, need a window function.
    """
    return f"""
        several AS (
            SELECT o.user_id, o.at FROM operations AS o WHERE o.at <= {through} GROUP BY o.user_id, o.at
            HAVING COUNT(*) > 1 AND COUNT(*) > COUNT(DISTINCT o.day)
        ),
        epochs AS (
            SELECT o.user_id, o.day, o.at, o.op, o.seq{label}, COUNT(CASE WHEN o.op = 0 THEN 1 END) OVER (
                PARTITION BY o.user_id, o.at ORDER BY o.seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) - CASE WHEN o.op = 0 THEN 1 ELSE 0 END AS epoch
            FROM operations AS o JOIN several AS s ON s.user_id = o.user_id AND s.at = o.at
        ),
        placed AS (
            SELECT o.user_id, o.day, o.at, o.op{label}, 0 AS epoch, 1 AS place FROM operations AS o
            WHERE o.at <= {through} AND NOT EXISTS (
                SELECT 1 FROM several AS s WHERE s.user_id = o.user_id AND s.at = o.at
            )
            UNION ALL
            SELECT o.user_id, o.day, o.at, o.op{label}, o.epoch, ROW_NUMBER() OVER (
                PARTITION BY o.user_id, o.at, o.day, o.epoch ORDER BY o.seq
            ) AS place
            FROM epochs AS o
        )"""


def arrived_fingerprint(log: Log, through: date, segments: Sequence[str] = ()) -> str:
    """A name for the operations that had arrived by the end of the day `through`, in whatever order the rows stand.

    Two logs with one name say the same up to then, barring an MD5 collision. Of operations of a user that arrive on one
    day, it matters which come before an erasure and which after, and in what order those on one day come.

    Args:
        segments: segment columns of the log; what operations say there matters, too.

    Returns:
        32 hexadecimal digits.
    """
    operation, label, labels = OPERATION_TEXT.format(user='u."user"'), "", ""
    if segments:
        said = ", ".join(f"l.{identifier(name)}" for name in sorted(segments))
        # As JSON, so that no text of a segment looks like another label.
        operation = f"concat({operation}, '|', to_json([{said}]))"
        label, labels = ", o.label", " LEFT JOIN labels AS l ON l.label = o.label"
    ((count, first, second),) = log.connection.execute(
        f"WITH {placed_operations((through - date(1970, 1, 1)).days, label)}, named AS (SELECT "
        f"{operation} AS operation FROM placed AS o JOIN users AS u USING (user_id){labels}) "
        "SELECT COUNT(*), SUM(md5_number_lower(operation)), SUM(md5_number_upper(operation)) FROM named"
    ).fetchall()
    return fingerprint_of_sums(count, first, second)


def fingerprint_of_sums(count: int, lower: int | None, upper: int | None) -> str:
    """`arrived_fingerprint` from what an engine adds up: the operations, and the two halves of their MD5 numbers.

    Args:
        lower: Σ of the last eight bytes of each digest, as a number with the lowest byte first; None without rows.
        upper: Σ of the first eight bytes.
    """
    return hashlib.sha256(f"{count} {lower} {upper}".encode()).hexdigest()[:32]
