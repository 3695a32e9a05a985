"""What a service costs at size: a real server process on a store of millions of users, over HTTP.

CPU seconds are those of the server and its processes, all threads together; they hardly depend on what else the
machine does.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import httpx2
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from dp.progress import Progress
from workbench.bench.serve import answered, as_request, unset_environment
from workbench.maintenance.server import run_server
from workbench.rows import TableRow

FIRST = date(2026, 1, 1)
LOADED_DAYS = 30
EVENTS_A_REQUEST = 1000
PACED_EVENTS = 100
CONNECTIONS = 64
CLOSE_EVERY_SECONDS = 4.0
ERASED_TOGETHER = 1000
ERASED_ALONE = 50
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        operations: that are loaded, spread over `LOADED_DAYS` days.
        users: whose operations they are.
        active: users of each day after them.
        days: that are closed after the first close.
        paced: events a second of the steady load.
        seconds: of the steady load.
    """

    operations: int
    users: int
    active: int
    days: int
    paced: int
    seconds: float


FULL = Size(10_000_000, 1_000_000, 100_000, 24, 50_000, 60.0)
SMALL = Size(20_000, 2_000, 500, 4, 2_000, 1.0)
SIZES = {"full": FULL, "small": SMALL}


def bench_size(size: Size, report: Progress) -> list[TableRow]:
    """Rows of (what, value, unit): load, store, closes, latencies while days are closed, erasures, a fresh release."""
    rows: list[TableRow] = []

    def found(what: str, value: float, unit: str) -> None:
        rows.append({"what": what, "value": float(f"{value:.3g}"), "unit": unit})
        report(what, None)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_log(folder / "log.csv", size)
        seconds, peak = _load(folder)
        found(f"load of {size.operations:,} rows", seconds, "CPU s")
        found("load: most memory", peak / 2**20, "MiB")
        found("store after the load, a row", _bytes(folder) / size.operations, "bytes")
        with _serving(folder) as (address, process), httpx2.Client(base_url=address, timeout=600) as client:
            _measure(client, process, folder, size, found)
    return rows


def _measure(
    client: httpx2.Client, process: int, folder: Path, size: Size, found: Callable[[str, float, str], None]
) -> None:
    day = FIRST + timedelta(days=LOADED_DAYS - 1)
    rng = np.random.default_rng(1)

    def close(which: date) -> float:
        before = _cpu(process)
        client.post(f"/days/{which}/close", params={"confirm": "true"}).raise_for_status()
        return _cpu(process) - before

    found("first close after the load", close(day), "CPU s")
    closes = []
    for _ in range(size.days):
        day += timedelta(days=1)
        for body in _bodies(rng.integers(0, size.users, size.active).tolist(), day, EVENTS_A_REQUEST):
            client.post("/events", content=body, headers={"Content-Type": "application/json"}).raise_for_status()
        closes.append(close(day))
    found(f"close of a day, {size.active:,} of {size.users:,} users active", float(np.median(closes)), "CPU s")
    found("close: last days to first days", float(np.median(closes[-3:]) / np.median(closes[:3])), "ratio")
    found("store after the closes, a user", _bytes(folder) / size.users, "bytes")
    day = asyncio.run(_steady(str(client.base_url).rstrip("/"), size, day, found))
    before, started = _cpu(process), time.perf_counter()
    for user in range(ERASED_ALONE):
        client.delete(f"/users/u{user:07d}").raise_for_status()
    found("one erasure, until it is answered", 1000 * (time.perf_counter() - started) / ERASED_ALONE, "ms")
    several = msgspec.json.encode([{"user": f"u{100 + user:07d}", "op": "erase"} for user in range(ERASED_TOGETHER)])
    started = time.perf_counter()
    client.post("/events", content=several, headers={"Content-Type": "application/json"}).raise_for_status()
    found(f"{ERASED_TOGETHER:,} erasures in one request, until they are answered", time.perf_counter() - started, "s")
    time.sleep(min(5.0, size.seconds))
    found(f"all {ERASED_ALONE + ERASED_TOGETHER:,} erasures, carried out", _cpu(process) - before, "CPU s")
    before = _cpu(process)
    client.get(f"/mau/{day}", params={"fresh": "true"}).raise_for_status()
    found("a fresh release", _cpu(process) - before, "CPU s")


async def _steady(address: str, size: Size, day: date, found: Callable[[str, float, str], None]) -> date:
    """Latencies under a steady load, apart for what is asked while a day is closed; returns the last closed day."""
    port = int(address.rsplit(":", 1)[1])
    rng = np.random.default_rng(2)
    # Once that day is closed, they are late and count from the open one.
    open_day = day + timedelta(days=1)
    posts = [
        as_request("POST /events", body)
        for body in _bodies(rng.integers(0, size.users, 100 * PACED_EVENTS).tolist(), open_day, PACED_EVENTS)
    ]
    started = time.perf_counter()
    until = started + size.seconds
    pause = CONNECTIONS * PACED_EVENTS / size.paced
    loads = [_ask(port, posts, pause, started + pause * number / CONNECTIONS, until) for number in range(CONNECTIONS)]
    closing = asyncio.create_task(_close_at_times(address, day, until))
    *posted, lively = await asyncio.gather(*loads, _ask(port, [as_request("GET /livez")], 0.01, started, until))
    day, closes = await closing
    asked = np.concatenate(posted)
    found("events taken in at a steady pace", len(asked) * PACED_EVENTS / size.seconds, "a second")
    for name, answers in ((f"POST of {PACED_EVENTS} events", asked), ("liveness", lively)):
        meanwhile = np.any([(answers[:, 1] >= begun) & (answers[:, 0] <= ended) for begun, ended in closes], axis=0)
        for when, some in (("between closes", ~meanwhile), ("during a close", meanwhile)):
            late = np.quantile(np.diff(answers[some])[:, 0], 0.99) if some.any() else np.nan
            found(f"{name} {when}, p99", 1000 * float(late), "ms")
    return day


async def _close_at_times(address: str, day: date, until: float) -> tuple[date, list[tuple[float, float]]]:
    """Close a day every `CLOSE_EVERY_SECONDS`; the last day, and when each close began and ended."""
    closes: list[tuple[float, float]] = []
    async with httpx2.AsyncClient(base_url=address, timeout=600) as client:
        while True:
            await asyncio.sleep(CLOSE_EVERY_SECONDS if until - time.perf_counter() > 2 * CLOSE_EVERY_SECONDS else 0.2)
            begun = time.perf_counter()
            if begun > until and closes:
                return day, closes
            day += timedelta(days=1)
            (await client.post(f"/days/{day}/close")).raise_for_status()
            closes.append((begun, time.perf_counter()))


async def _ask(port: int, requests: Sequence[bytes], pause: float, due: float, until: float) -> npt.NDArray[np.float64]:
    """Send requests in turn, one every `pause` seconds from `due` on; (requests, 2) when each was due and answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    for number in range(sys.maxsize):
        if due > until:
            break
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        writer.write(requests[number % len(requests)])
        await answered(reader)
        answers.append((due, time.perf_counter()))
        due += pause
    writer.close()
    return np.array(answers).reshape(-1, 2)


def _bodies(users: Sequence[int], day: date, events: int) -> Iterator[bytes]:
    for start in range(0, len(users), events):
        some = users[start : start + events]
        yield msgspec.json.encode([{"user": f"u{user:07d}", "day": str(day)} for user in some])


def _write_log(path: Path, size: Size) -> None:
    """A log, written day by day: what a process holds when it starts another one counts as that one's memory."""
    rng = np.random.default_rng(0)
    with pyarrow.csv.CSVWriter(path, pa.schema({"user": pa.string(), "day": pa.string()})) as file:
        for day in range(LOADED_DAYS):
            rows = size.operations * (day + 1) // LOADED_DAYS - size.operations * day // LOADED_DAYS
            users = pa.array(np.char.mod("u%07d", rng.integers(0, size.users, rows)))
            file.write(pa.table({"user": users, "day": pa.repeat(str(FIRST + timedelta(days=day)), rows)}))


def _load(folder: Path) -> tuple[float, int]:
    """CPU seconds and most bytes of `dpdau load`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "workbench.cli.main", "load", "log.csv", *_settings()]
    subprocess.run(command, cwd=folder, check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, after.ru_maxrss * 1024


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[str, int]]:
    """Address and process of a service on the store in a folder."""
    known = set(_children(os.getpid()))
    with run_server(["serve", "--no-pages", "--port", "0", *_settings()], folder, unset_environment()) as address:
        (process,) = set(_children(os.getpid())) - known
        yield address, process


def _settings() -> list[str]:
    return ["--set", f"future_days=true,horizon=unlimited,first_day={FIRST + timedelta(days=LOADED_DAYS - 1)}"]


def _children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _cpu(process: int) -> float:
    """CPU seconds of a process and of those that it has started and that live still."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND + sum(map(_cpu, _children(process)))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("dpdau.store*"))
