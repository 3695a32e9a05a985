"""The portable text on Spark SQL, for logs beyond one machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from dp.log.operations import OPERATION_TEXT, fingerprint_of_sums, placed_operations
from dp.presence.daily import Horizon, day_number
from dp.presence.sql_engine import Session, SqlEngine

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CANONICAL = ("user", "day", "op", "at", "seq")
"""The columns of a log without segments, as `dp.log.write_canonical` writes it."""
OPERATIONS = (
    "user AS user_id",
    "CAST(unix_date(day) AS INT) AS day",
    "CAST(unix_date(at) AS INT) AS at",
    "seq",
    "CASE op WHEN '+' THEN 1 WHEN '-' THEN -1 WHEN 'erase' THEN 0 ELSE raise_error('unknown op ' || op) END AS op",
)
NO_TOMBSTONES = "SELECT CAST(NULL AS STRING) AS user_id, CAST(NULL AS BIGINT) AS flips WHERE false"


@dataclass(frozen=True)
class SparkEngine(SqlEngine):
    """Answers from the canonical log at `path` in a running Spark session; make it with `spark_engine`."""

    session: "SparkSession"
    path: str

    @contextmanager
    def open_session(self, horizon: Horizon) -> Iterator[Session]:
        """A Spark session with temporary relations of its own, on the same executors."""
        spark = self.session.newSession()
        _read(spark, self.path).selectExpr(*OPERATIONS).createTempView("operations")
        spark.sql(f"CREATE TEMP VIEW spent AS {NO_TOMBSTONES}")
        try:
            yield Session(
                run=lambda text: [tuple(row) for row in spark.sql(text).collect()],
                materialize="CACHE TABLE",
                spend=lambda window: None,
            )
        finally:
            spark.sql("UNCACHE TABLE IF EXISTS cells")

    def arrived_fingerprint(self, through: date) -> str:
        """`dp.log.arrived_fingerprint` of this log, so that a stream is continued on either engine."""
        spark = self.session.newSession()
        _read(spark, self.path).selectExpr(*OPERATIONS).createTempView("operations")
        ((count, lower, upper),) = spark.sql(
            f"WITH {placed_operations(day_number(through))}, "
            f"named AS (SELECT md5({OPERATION_TEXT.format(user='o.user_id')}) AS digest FROM placed AS o) "
            f"SELECT count(*), sum({_number_at(8)}), sum({_number_at(0)}) FROM named"
        ).collect()
        return fingerprint_of_sums(count, *((int(lower), int(upper)) if count else (None, None)))


def _number_at(byte: int) -> str:
    """SQL: eight bytes of `digest` from one on, as a number with the lowest byte first."""
    pairs = ", ".join(f"substr(digest, {2 * place + 1}, 2)" for place in range(byte + 7, byte - 1, -1))
    return f"CAST(conv(concat({pairs}), 16, 10) AS DECIMAL(20, 0))"


def spark_engine(master_or_session: "str | SparkSession", path: str) -> SparkEngine:
    """The engine for the canonical log at `path` (Parquet, as `write_canonical` makes it; a folder of parts is fine).

    A master such as `spark://host:7077` or `local[2]` opens a session, or reuses the running one; the caller stops it
    with `engine.session.stop()`.

    Raises:
        ValueError: the file lacks columns of a canonical log; `seq` is needed because rows have no order on Spark. Or
            it has others, that is segments, which Spark does not count.
    """
    session = _session(master_or_session) if isinstance(master_or_session, str) else master_or_session
    columns = _read(session, path).columns
    missing = [name for name in CANONICAL if name not in columns]
    if missing:
        raise ValueError(
            f"{path} has the columns {columns} and lacks {missing}: Spark reads canonical logs only, because its rows "
            "have no order and ties are settled by the arrival number seq; make one with dp.log.write_canonical"
        )
    segments = [name for name in columns if name not in CANONICAL]
    if segments:
        raise ValueError(
            f"{path} has the segment columns {segments}: with segments a day may be taken back in part, which Spark "
            "does not count; count it with the engine numpy, or write a log without them"
        )
    return SparkEngine(session, path)


def _read(session: "SparkSession", path: str) -> "DataFrame":
    """The rows, and no columns out of the names of folders."""
    return session.read.option("recursiveFileLookup", "true").parquet(path)


def _session(master: str) -> "SparkSession":
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("dpdau").master(master).config("spark.ui.showConsoleProgress", "false")
    if master.startswith("local"):
        # A session on this machine listens on loopback only; more shuffle partitions would only take time.
        builder = (
            builder.config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "4")
        )
    return builder.getOrCreate()
