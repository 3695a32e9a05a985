"""The operations of a log: from checked rows to the tables of a `Log`, and from those to a file or a name."""

import hashlib
from datetime import date
from pathlib import Path

from dp.log.log import Log, LogError
from dp.log.sql import quoted
from dp.log.staging import Source


def log_from_staged(source: Source, rows_read: int, rows_set_aside: int) -> Log:
    """The log of the rows in `staged` that have no fault; `staged` is dropped.

    Raises:
        LogError: there is no such row.
    """
    connection = source.connection
    if rows_read == rows_set_aside:
        raise LogError(f"{source.path} has no usable row: {rows_read} read, {rows_set_aside} set aside")
    source.progress("indexing users", None)
    connection.execute(
        'CREATE TABLE users AS SELECT CAST(row_number() OVER () AS INTEGER) AS user_id, "user" '
        'FROM (SELECT DISTINCT "user" FROM staged WHERE fault IS NULL)'
    )
    (timed,) = connection.execute("SELECT bool_or(timed AND fault IS NULL) FROM staged").fetchall()[0]
    instant = f"COALESCE(clock, epoch_us(arrival::TIMESTAMP AT TIME ZONE {quoted(source.timezone)}))"
    seq = f"row_number() OVER (ORDER BY {instant}, s.rowid)" if timed else "s.rowid"
    connection.execute(
        "CREATE TABLE operations AS SELECT user_id, "
        "CASE WHEN op <> 0 THEN (day - DATE '1970-01-01')::INTEGER END AS day, "
        f"(arrival - DATE '1970-01-01')::INTEGER AS at, {seq} AS seq, op "
        'FROM staged AS s JOIN users USING ("user") WHERE fault IS NULL'
    )
    first_day, last_day = connection.execute(
        "SELECT MIN(COALESCE(day, arrival)), MAX(arrival) FROM staged WHERE fault IS NULL"
    ).fetchall()[0]
    (users,) = connection.execute("SELECT COUNT(*) FROM users").fetchall()[0]
    connection.execute("DROP TABLE staged")
    return Log(
        connection=connection,
        rows_read=rows_read,
        rows_used=rows_read - rows_set_aside,
        rows_set_aside=rows_set_aside,
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
