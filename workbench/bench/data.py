"""How fast the data column is: `bench_data` times it at three sizes, each in a process of its own."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from dp.log import read_log
from dp.presence import DuckDBEngine
from experiments.engine.population import START
from workbench.rows import TableRow

DELETE_SHARE = 0.15


def bench_data(
    events: int, users: int, days: int, windows: Sequence[int], w_bound: int | None, seed: int
) -> list[TableRow]:
    """One row per size (events/4, events/2, events; users in proportion).

    Each has the sizes, seconds per stage (`read`, `cells`, `window_W`, `total`), `events_per_second` of the total, and
    of the process that did the work, start-up included, `cpu_seconds` (which other work on the machine does not
    stretch as it does the clock) and `peak_rss_gib`. Parquet in, daily counts out.

    Raises:
        ValueError: fewer than 4 events or users, or no day.
    """
    for name, value, least in (("events", events, 4), ("users", users, 4), ("days", days, 1)):
        if value < least:
            raise ValueError(f"{name} = {value}: must be at least {least}")
    rows = []
    for share in (4, 2, 1):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log.parquet"
            _write_log(path, events // share, users // share, days, seed)
            request = {"path": str(path), "days": days, "windows": list(windows), "w_bound": w_bound}
            # A child, so that the peak memory is that of the work and not of making the log.
            done = subprocess.run(
                [sys.executable, "-m", "workbench.bench.data", json.dumps(request)],
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
        measured = json.loads(done.stdout)
        rows.append(
            {
                "events": events // share,
                "users": users // share,
                "days": days,
                **measured,
                "events_per_second": round(events // share / measured["total"]),
            }
        )
    return rows


def _write_log(path: Path, events: int, users: int, days: int, seed: int) -> None:
    """A plain log of `events` rows, 15 % of them retractions, in order of arrival."""
    rng = np.random.default_rng(seed)
    taken_back = int(events * DELETE_SHARE)
    user = rng.integers(0, users, events - taken_back)
    day = rng.integers(0, days, events - taken_back)
    which = rng.integers(0, len(user), taken_back)
    at = np.concatenate([day, np.minimum(day[which] + rng.geometric(0.2, taken_back), days - 1)])
    order = np.argsort(at, kind="stable")
    user, day = np.concatenate([user, user[which]])[order], np.concatenate([day, day[which]])[order]
    op = (np.arange(events) >= events - taken_back)[order].astype(np.int8)
    origin = np.datetime64(START, "D")
    pyarrow.parquet.write_table(
        pa.table(
            {
                "user": pa.array(user).cast(pa.string()),
                "day": pa.array(origin + day, pa.date32()),
                "op": pa.DictionaryArray.from_arrays(pa.array(op), pa.array(["+", "-"])).cast(pa.string()),
                "at": pa.array(origin + at[order], pa.date32()),
            }
        ),
        path,
    )


def _measure(path: str, days: int, windows: Sequence[int], w_bound: int | None) -> dict[str, float]:
    """Seconds per stage and the peak memory of this process."""
    began: list[tuple[str, float]] = [("read", time.perf_counter())]

    def note(stage: str, fraction: float | None) -> None:
        began.append((stage.replace(" ", "_"), time.perf_counter()))

    with read_log(path) as log:
        engine = DuckDBEngine(log.connection, progress=note)
        engine.daily_flips(windows, START, START + timedelta(days=days - 1), w_bound)
    began.append(("end", time.perf_counter()))
    seconds = {stage: round(end - start, 3) for (stage, start), (_, end) in pairwise(began)}
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        **seconds,
        "total": round(began[-1][1] - began[0][1], 3),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
        "peak_rss_gib": round(used.ru_maxrss / 2**20, 3),
    }


if __name__ == "__main__":
    print(json.dumps(_measure(**json.loads(sys.argv[1]))))
