"""From operations to daily counts: one portable SQL text says what they are; engines run it or equal it."""

from dp.presence.daily import DailyFlips, Engine, Horizon
from dp.presence.duckdb_engine import DuckDBEngine
from dp.presence.numpy_engine import NumpyEngine
from dp.presence.questions import count_questions
from dp.presence.spark_engine import SparkEngine, spark_engine
from dp.presence.tombstones import Tombstones, compact
from dp.presence.user_flips import UserFlips, user_flips

__all__ = [
    "DailyFlips",
    "DuckDBEngine",
    "Engine",
    "Horizon",
    "NumpyEngine",
    "SparkEngine",
    "Tombstones",
    "UserFlips",
    "compact",
    "count_questions",
    "spark_engine",
    "user_flips",
]
