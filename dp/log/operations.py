"""The operations of a log: from checked rows to the tables of a `Log`, and from those to a file or a name."""

import hashlib
from datetime import date
from pathlib import Path

from dp.log.log import Log
from dp.log.moments import instant
from dp.log.sql import quoted
from dp.log.staging import Reading
from dp.zones import DAY, EPOCH


def log_from_staged(reading: Reading, rows_read: int) -> Log:
    """The log of the rows in `staged`, which is dropped."""
    connection = reading.connection
    reading.progress("indexing users", None)
    connection.execute(
        'CREATE TABLE users AS SELECT CAST(row_number() OVER () AS INTEGER) AS user_id, "user" '
        'FROM (SELECT DISTINCT "user" FROM staged)'
    )
    first_day, last_day, used, timed = connection.execute(
        "SELECT MIN(COALESCE(day, arrival)), MAX(arrival), COUNT(*), bool_or(timed) FROM staged"
    ).fetchall()[0]
    seq = "s.position"
    if timed:
        # What arrives on a day without saying when arrives as the day begins.
        first, last = ((day - EPOCH.date()).days * DAY for day in (first_day, last_day))
        begins = instant(reading.calendar.zone.between(first, last), "midnight")
        seq = f"row_number() OVER (ORDER BY COALESCE(clock, {begins}), s.position)"
    connection.execute(
        "CREATE TABLE operations AS SELECT user_id, "
        "CASE WHEN op <> 0 THEN (day - DATE '1970-01-01')::INTEGER END AS day, "
        f"(arrival - DATE '1970-01-01')::INTEGER AS at, {seq} AS seq, op "
        f"FROM (SELECT *, rowid AS position, (arrival - DATE '1970-01-01') * {DAY} AS midnight FROM staged) AS s "
        'JOIN users USING ("user")'
    )
    (users,) = connection.execute("SELECT COUNT(*) FROM users").fetchall()[0]
    connection.execute("DROP TABLE staged")
    return Log(
        connection=connection,
        rows_read=rows_read,
        rows_used=used,
        rows_set_aside=reading.bad_rows.count,
        first_day=first_day,
        last_day=last_day,
        users=users,
    )


def write_canonical(log: Log, path: str | Path) -> None:
    """Write the log as Parquet: user (string), day DATE, op string, at DATE, seq BIGINT, in the order of arrival.

    The rows stand in the order of seq, so a reader that goes by row (`read_log`) and one that goes by seq (Spark)
    agree.
    """
    log.connection.execute(
        "COPY (SELECT u.\"user\", DATE '1970-01-01' + o.day AS day, "
        "CASE o.op WHEN 1 THEN '+' WHEN -1 THEN '-' ELSE 'erase' END AS op, "
        "DATE '1970-01-01' + o.at AS at, o.seq FROM operations AS o JOIN users AS u USING (user_id) "
        f"ORDER BY o.seq) TO {quoted(str(path))} (FORMAT parquet)"
    )


def arrived_fingerprint(log: Log, through: date) -> str:
    """A name for the operations that had arrived by the end of the day `through`, whatever their order.

    Two logs with one name hold the same operations up to then, barring an MD5 collision; the order of operations of
    one user-day that arrive on one day does not count.

    Returns:
        32 hexadecimal digits.
    """
    ((count, first, second),) = log.connection.execute(
        "WITH named AS (SELECT concat_ws('|', u.\"user\", o.day, o.at, o.op) AS operation "
        "FROM operations AS o JOIN users AS u USING (user_id) WHERE o.at <= ?) "
        "SELECT COUNT(*), SUM(md5_number_lower(operation)), SUM(md5_number_upper(operation)) FROM named",
        [(through - date(1970, 1, 1)).days],
    ).fetchall()
    return fingerprint_of_sums(count, first, second)


def fingerprint_of_sums(count: int, lower: int | None, upper: int | None) -> str:
    """`arrived_fingerprint` from what an engine adds up: the operations, and the two halves of their MD5 numbers.

    Args:
        lower: Σ of the last eight bytes of each digest, as a number with the lowest byte first; None without rows.
        upper: Σ of the first eight bytes.
    """
    return hashlib.sha256(f"{count} {lower} {upper}".encode()).hexdigest()[:32]
