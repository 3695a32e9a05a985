"""How many events a second the service makes durable: a real server process, a client in this one, real requests."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from dp.progress import Progress
from workbench.maintenance.server import SAID, run_server
from workbench.rows import TableRow

DAY = "2026-01-01"
BODIES = 64  # different request bodies, sent in turn


@dataclass(frozen=True)
class Load:
    """One kind of traffic: events in a request, connections that each have one request under way."""

    events: int
    connections: int


LOADS = (Load(1, 64), Load(100, 32), Load(1000, 8))


SendBody = Callable[[bytes], Awaitable[None]]
"""Sends a body, and returns when it is answered; raises if it is refused."""


@dataclass(frozen=True)
class Way:
    """One way to the service.

    Attributes:
        arguments: of the server, besides where its files lie.
        listening: finds the port in what it says.
        body: so many events of such users on `DAY`, as they are sent.
        connect: a connection to a port.
    """

    arguments: tuple[str, ...]
    listening: str
    body: Callable[[Sequence[str]], bytes]
    connect: Callable[[int], AbstractAsyncContextManager[SendBody]]


def bench_serve(
    seconds: float, users: int, report: Progress, loads: Sequence[Load] = LOADS, way: Way | None = None
) -> list[TableRow]:
    """One row for each kind of traffic: durable events/s, requests/s, latency in ms, and how it compares.

    Args:
        way: HTTP by default.

    Every answered event is counted in the store afterwards; a row says `lost` if one is missing. `share_of_sqlite` is
    the rate divided by that of one process that inserts the same batches in transactions of its own, without HTTP.
    """
    rows, way = [], way or HTTP
    with tempfile.TemporaryDirectory() as folder:
        for index, load in enumerate(loads):
            report(f"{load.events} events per request", index / len(loads))
            store = Path(folder) / f"{load.events}.store"
            bodies = [way.body(_users(load.events, users, seed)) for seed in range(BODIES)]
            with _server(store, way) as port:
                asyncio.run(_drive(way, port, bodies, load, min(1.0, seconds / 4)))
                warm = _stored(store)
                answered, elapsed, latencies = asyncio.run(_drive(way, port, bodies, load, seconds))
            stored = _stored(store) - warm
            rate = answered * load.events / elapsed
            p50, p99 = np.quantile(latencies, [0.5, 0.99])
            rows.append(
                {
                    "events_per_request": load.events,
                    "connections": load.connections,
                    "events_per_second": round(rate),
                    "requests_per_second": round(answered / elapsed),
                    "p50_ms": round(1000 * p50, 2),
                    "p99_ms": round(1000 * p99, 2),
                    "share_of_sqlite": round(rate / _sqlite_rate(Path(folder) / "plain.db", load.events), 3),
                    "lost": answered * load.events - stored,
                }
            )
    return rows


def _users(events: int, users: int, seed: int) -> list[str]:
    return [f"u{user:07d}" for user in np.random.default_rng([seed, events]).integers(0, users, events)]


def _body(users: Sequence[str]) -> bytes:
    return as_request("POST /events", msgspec.json.encode([{"user": user, "day": DAY} for user in users]))


def as_request(line: str, body: bytes = b"") -> bytes:
    """The bytes of a request with this method and path."""
    head = (
        f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answered(reader: asyncio.StreamReader) -> None:
    """Read an answer to its end.

    Raises:
        RuntimeError: it is not 200.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the service answered {head[:200]!r}")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    assert length is not None
    await reader.readexactly(int(length[1]))


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[SendBody]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(body: bytes) -> None:
        writer.write(body)
        await answered(reader)

    yield ask
    writer.close()


HTTP = Way((), r"Listening on http://\S+:(\d+)", _body, _connected)


async def _drive(
    way: Way, port: int, bodies: Sequence[bytes], load: Load, seconds: float
) -> tuple[int, float, list[float]]:
    """Answered requests, the time they took, and each one's latency; all in seconds."""
    latencies: list[float] = []
    started = time.perf_counter()

    async def one(number: int) -> None:
        turn = number
        async with way.connect(port) as ask:
            while time.perf_counter() - started < seconds:
                sent = time.perf_counter()
                await ask(bodies[turn % len(bodies)])
                turn += load.connections
                latencies.append(time.perf_counter() - sent)

    await asyncio.gather(*(one(number) for number in range(load.connections)))
    return len(latencies), time.perf_counter() - started, latencies


@contextmanager
def _server(store: Path, way: Way) -> Iterator[int]:
    """The port of a service on a store of its own, with nothing set but that."""
    arguments = ["serve", "--no-pages", "--port", "0", "--store", str(store)]
    arguments += ["--ledger", str(store.with_suffix(".ledger")), *way.arguments]
    with run_server(arguments, store.parent, unset_environment()):
        found = re.search(way.listening, (store.parent / SAID).read_text())
        assert found is not None
        yield int(found[1])


def unset_environment() -> dict[str, str]:
    """The variables of this process, without those that set a service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("DPDAU_", "SERVICE_"))}


def _stored(store: Path) -> int:
    connection = sqlite3.connect(store)
    try:
        return int(connection.execute("SELECT arrived FROM standing").fetchone()[0])
    finally:
        connection.close()


def _sqlite_rate(path: Path, events: int, seconds: float = 1.0) -> float:
    """Events/s of plain durable inserts, one batch a transaction, in this process."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE operations (seq INTEGER PRIMARY KEY, user TEXT, day INT, at INT, op INT)")
    rows = [(f"u{number:07d}", 20454, 20454, 1) for number in range(events)]
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO operations (user, day, at, op) VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        done += events
    elapsed = time.perf_counter() - started
    connection.close()
    return done / elapsed
