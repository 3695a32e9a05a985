"""The same text on local PySpark gives the same rows as on DuckDB."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dp.log import arrived_fingerprint, write_canonical
from dp.presence import DuckDBEngine, spark_engine
from tests.oracles.logs import HORIZON_END, day, log_of, stream

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    sql = pytest.importorskip("pyspark.sql")
    if shutil.which("java") is None:
        pytest.skip("PySpark needs Java")
    session = (
        sql.SparkSession.builder.master("local[2]")
        .appName("dpdau-test")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.mark.parametrize(("seed", "w_bound"), [(1, None), (2, 3)])
def test_the_rows_are_identical(session: Any, tmp_path: Path, seed: int, w_bound: int | None) -> None:
    path = str(tmp_path / "log.parquet")
    with log_of(stream(seed, 200), duckdb.connect()) as log:
        write_canonical(log, path)
        expected = DuckDBEngine(log.connection).daily_flips([1, 7], day(3), day(HORIZON_END), w_bound)
        levels = DuckDBEngine(log.connection).bounded_counts([1, 7], day(3), day(HORIZON_END), (2, 3, 8))
    engine = spark_engine(session, path)
    for window, counts in engine.bounded_counts([1, 7], day(3), day(HORIZON_END), (2, 3, 8)).items():
        assert counts.values.tolist() == levels[window].values.tolist()
        assert (counts.freeze, counts.window, counts.first) == ((2, 3, 8), window, day(3))
    found = engine.daily_flips([1, 7], day(3), day(HORIZON_END), w_bound)
    for window in (1, 7):
        assert found[window].starts.tolist() == expected[window].starts.tolist()
        assert found[window].ends.tolist() == expected[window].ends.tolist()
        assert found[window].starts.sum() > 0
    assert session.catalog.listTables() == []  # nothing is left in the caller's session


@pytest.mark.parametrize("seed", range(2))
def test_the_past_has_one_name_on_both_engines(session: Any, tmp_path: Path, seed: int) -> None:
    path, other = str(tmp_path / "log.parquet"), str(tmp_path / "other.parquet")
    rows = [row for row in stream(seed, 60) if row.user in ("a", "b")]
    swapped = [row._replace(user={"a": "b", "b": "a"}[row.user]) for row in rows]
    with log_of(rows, duckdb.connect()) as log, log_of(swapped, duckdb.connect()) as changed:
        write_canonical(log, path)
        write_canonical(changed, other)
        names = {through: arrived_fingerprint(log, day(through)) for through in (-1, 0, 9, HORIZON_END)}
    engine, without = spark_engine(session, path), spark_engine(session, other)
    assert {through: engine.arrived_fingerprint(day(through)) for through in names} == names
    # Two users who swap their days change no count of a day, but the log all the same.
    assert without.arrived_fingerprint(day(HORIZON_END)) != names[HORIZON_END]


def test_a_log_without_arrival_numbers_is_refused(session: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "log.parquet")
    with duckdb.connect() as connection:
        connection.sql("SELECT 'a' AS \"user\", DATE '2024-01-01' AS day, '+' AS op").write_parquet(path)
    with pytest.raises(ValueError, match=r"lacks \['at', 'seq'\].*no order"):
        spark_engine(session, path)
