"""How fast the data column is, beside plain SQL: `bench_data` times both at three sizes, in processes of their own."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from dp.log import read_log
from dp.log.sql import quoted
from dp.presence import DuckDBEngine, Engine, NumpyEngine
from experiments.engine.population import START
from workbench.rows import TableRow

DELETE_SHARE = 0.15
ERASE_SHARE = 0.001


LOG_FORMATS = {
    "parquet": "(SELECT *, file_row_number AS seq FROM "
    "read_parquet({}, hive_partitioning = false, file_row_number = true))",
    "csv": "(SELECT *, row_number() OVER () AS seq FROM "
    "read_csv({}, hive_partitioning = false, types = {{'user': 'VARCHAR'}}))",
}
"""How the log may be written, and the rows as DuckDB reads them."""


def bench_data(
    events: int,
    users: int,
    days: int,
    windows: Sequence[int],
    w_bound: int | None,
    seed: int,
    log_format: str = "parquet",
) -> list[TableRow]:
    """One row per size (events/4, events/2, events; users in proportion). A log in, daily counts out.

    Ours reads and checks the log, and counts every window with truncation. The peer is what one would write in SQL at
    first: the portable text on DuckDB, on rows that nobody checked, for the longest window alone and without
    truncation. Both start in a process of their own, and each count of the peer must be ours.

    Each row has the sizes, our seconds (`read`, `count`, `total`), `events_per_second` of the total, and for ours and
    the peer `cpu_seconds` and `read_cpu_seconds` of that (which other work on the machine does not stretch as it does
    the clock) and `peak_rss_gib` of the process, start-up included; `cpu_ratio`, `read_cpu_ratio` and `rss_ratio` are
    ours by the peer's. What is read is indexed by user.

    Raises:
        ValueError: fewer than 4 events or users, no day, or a format that is not one of `LOG_FORMATS`.
        RuntimeError: the counts differ.
    """
    for name, value, least in (("events", events, 4), ("users", users, 4), ("days", days, 1)):
        if value < least:
            raise ValueError(f"{name} = {value}: must be at least {least}")
    if log_format not in LOG_FORMATS:
        raise ValueError(f"log_format = {log_format!r}: must be one of {', '.join(LOG_FORMATS)}")
    rows = []
    for share in (4, 2, 1):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"log.{log_format}"
            _write_log(path, events // share, users // share, days, seed)
            ours = _in_a_child("ours", path=str(path), days=days, windows=list(windows), w_bound=w_bound)
            peer = _in_a_child("peer", path=str(path), log_format=log_format, days=days, window=max(windows))
        if ours.pop("counts") != peer.pop("counts"):
            raise RuntimeError(f"the counts of {max(windows)} days differ from those of the plain SQL")
        rows.append(
            {
                "events": events // share,
                "users": users // share,
                "days": days,
                **ours,
                "events_per_second": round(events // share / ours["total"]),
                **{f"peer_{name}": value for name, value in peer.items()},
                "cpu_ratio": round(ours["cpu_seconds"] / peer["cpu_seconds"], 2),
                "read_cpu_ratio": round(ours["read_cpu_seconds"] / peer["read_cpu_seconds"], 2),
                "rss_ratio": round(ours["peak_rss_gib"] / peer["peak_rss_gib"], 2),
            }
        )
    return rows


def _in_a_child(which: str, **request: Any) -> dict[str, Any]:
    """What `ours` or `peer` measures in a process whose peak memory is that of the work, not of making the log."""
    command = [sys.executable, "-m", "workbench.bench.data", which, json.dumps(request)]
    measured: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    return measured


def _write_log(path: Path, events: int, users: int, days: int, seed: int) -> None:
    """A log of `events` rows in order of arrival: 15 % take a day back, 0.1 % erase a user, the rest add."""
    rng = np.random.default_rng(seed)
    taken_back = int(events * DELETE_SHARE)
    user = rng.integers(0, users, events - taken_back)
    day = rng.integers(0, days, events - taken_back)
    which = rng.integers(0, len(user), taken_back)
    at = np.concatenate([day, np.minimum(day[which] + rng.geometric(0.2, taken_back), days - 1)])
    order = np.argsort(at, kind="stable")
    user, day = np.concatenate([user, user[which]])[order], np.concatenate([day, day[which]])[order]
    op = (np.arange(events) >= events - taken_back)[order].astype(np.int8)
    erases = rng.random(events) < ERASE_SHARE
    op[erases] = 2
    origin = np.datetime64(START, "D")
    table = pa.table(
        {
            "user": pa.array(user).cast(pa.string()),
            "day": pa.array(origin + day, pa.date32(), mask=erases),
            "op": pa.DictionaryArray.from_arrays(pa.array(op), pa.array(["+", "-", "erase"])).cast(pa.string()),
            "at": pa.array(origin + at[order], pa.date32()),
        }
    )
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path, pyarrow.csv.WriteOptions(quoting_style="none", quoting_header="none"))
    else:
        pyarrow.parquet.write_table(table, path)


def _ours(path: str, days: int, windows: Sequence[int], w_bound: int | None) -> dict[str, Any]:
    """Seconds per stage, what the process used, and the counts of the longest window."""
    began, cpu_before = time.perf_counter(), time.process_time()
    with read_log(path) as log:
        read, read_cpu = time.perf_counter(), time.process_time() - cpu_before
        engine = NumpyEngine(log.connection)
        engine.daily_flips(windows, START, START + timedelta(days=days - 1), w_bound)
        ended = time.perf_counter()
        used = _used(read_cpu)
        # Not timed: without truncation, as the peer counts.
        counts = _counts(engine, max(windows), days)
    stages = {"read": read - began, "count": ended - read, "total": ended - began}
    return {**{stage: round(seconds, 3) for stage, seconds in stages.items()}, **used, "counts": counts}


def _peer(path: str, log_format: str, days: int, window: int) -> dict[str, Any]:
    """What the process used, and the counts."""
    rows, cpu_before = LOG_FORMATS[log_format].format(quoted(path)), time.process_time()
    with duckdb.connect() as connection:
        connection.execute(
            'CREATE TABLE users AS SELECT CAST(row_number() OVER () AS INTEGER) AS user_id, "user" '
            f'FROM (SELECT DISTINCT "user" FROM {rows})'
        )
        connection.execute(
            "CREATE TABLE operations AS SELECT user_id, day - DATE '1970-01-01' AS day, "
            "r.at - DATE '1970-01-01' AS at, seq, "
            "CASE op WHEN '+' THEN 1 WHEN '-' THEN -1 ELSE 0 END AS op "
            f'FROM {rows} AS r JOIN users USING ("user")'
        )
        read_cpu = time.process_time() - cpu_before
        counts = _counts(DuckDBEngine(connection), window, days)
    return {**_used(read_cpu), "counts": counts}


def _counts(engine: Engine, window: int, days: int) -> list[int]:
    """Users present at each tick, nobody cut."""
    found = engine.daily_flips([window], START, START + timedelta(days=days - 1))
    counts: list[int] = found[window].counts.values.tolist()
    return counts


def _used(read_cpu: float) -> dict[str, float]:
    """Processor time and peak memory of this process so far, and the time that reading took of it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
        "read_cpu_seconds": round(read_cpu, 3),
        "peak_rss_gib": round(used.ru_maxrss / 2**20, 3),
    }


if __name__ == "__main__":
    measure = _ours if sys.argv[1] == "ours" else _peer
    print(json.dumps(measure(**json.loads(sys.argv[2]))))
