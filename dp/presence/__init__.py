"""From operations to daily counts: one portable SQL text, run where the log is."""

from dp.presence.daily import DailyFlips, Engine, Horizon
from dp.presence.duckdb_engine import DuckDBEngine
from dp.presence.spark_engine import SparkEngine, spark_engine
from dp.presence.tombstones import Tombstones, compact
from dp.presence.user_flips import UserFlips, user_flips

__all__ = [
    "DailyFlips",
    "DuckDBEngine",
    "Engine",
    "Horizon",
    "SparkEngine",
    "Tombstones",
    "UserFlips",
    "compact",
    "spark_engine",
    "user_flips",
]
