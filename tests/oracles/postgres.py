"""A PostgreSQL server of Debian's for tests: one a test process, on a free loopback port, gone when that ends."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dp.database_url import DatabaseUrl
from tests.patience import PATIENCE_SECONDS

USER = "postgres"
ENDS = (signal.SIGINT, signal.SIGQUIT)
"""Ends a server by ending all connections; as a crash does."""
PORT = "DPDAU_TEST_POSTGRES"
"""The variable that names the port of the server to use, for a test and the processes that it starts."""


def binaries() -> Path | None:
    """Where Debian keeps the newest server; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


AVAILABLE = binaries() is not None and find_spec("psycopg") is not None


@dataclass
class Server:
    """A running server.

    Attributes:
        folder: of its data and of its socket.
    """

    folder: Path
    port: int
    durable: bool
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # The server refuses to be run by root.
        durability = [] if self.durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        found = binaries()
        assert found is not None
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    found / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-k", self.folder,
                    "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", *durability,
                ],
                stdout=subprocess.DEVNULL, stderr=log, cwd=self.folder, **_unprivileged(),
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                with self.connected():
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it, in one of the ways of `ENDS`."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_SECONDS)
            self.process = None

    @contextmanager
    def connected(self, database: str = "postgres") -> Iterator[Any]:
        import psycopg

        try:
            connection = psycopg.connect(DatabaseUrl.of(_url(self.port, database)).conninfo, autocommit=True)
        except psycopg.OperationalError as error:
            raise OSError(str(error)) from error
        try:
            yield connection
        finally:
            connection.close()


def connected(url: DatabaseUrl) -> Any:
    """A connection to a database, with nothing of what the project sets."""
    import psycopg

    return psycopg.connect(url.conninfo, autocommit=True)


def rows_of(url: DatabaseUrl, table: str) -> bytes:
    """What the rows of a table hold, in the server's binary form."""
    with connected(url) as connection, connection.cursor().copy(f"COPY {table} TO STDOUT (FORMAT binary)") as copy:
        return b"".join(bytes(part) for part in copy)


def bytes_of(url: DatabaseUrl) -> bytes:
    """The bytes of a database's files and of the server's write-ahead log."""
    with connected(url) as connection:
        connection.execute("CHECKPOINT")
        folder = Path(connection.execute("SHOW data_directory").fetchone()[0])
        (number,) = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    files = [*(folder / "base" / str(number)).iterdir(), *(folder / "pg_wal").glob("0*")]
    return b"".join(path.read_bytes() for path in files)


def chosen() -> int | None:
    """The port of the server that stores and ledgers lie on; None where they are files."""
    return int(os.environ[PORT]) if PORT in os.environ else None


@functools.cache
def database_of(folder: Path, port: int) -> str:
    """The URL of the database for a folder, a new one where there is none; the same in every process."""
    from psycopg import errors

    name = f"test_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
    with connected(DatabaseUrl.of(_url(port, "postgres"))) as connection:
        if not connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchall():
            # Another process may be making it.
            with suppress(errors.UniqueViolation, errors.DuplicateDatabase):
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    return _url(port, name)


def places_on(port: int, folder: Path) -> dict[str, object]:
    """The settings that say where store, ledger and keys lie."""
    url = database_of(folder, port)
    return {"store": url, "ledger": url, "key": folder / "key", "keys": folder / "keys"}


def _url(port: int, database: str) -> str:
    return f"postgresql+psycopg://{USER}@127.0.0.1:{port}/{database}"


@contextmanager
def server(*, durable: bool = False) -> Iterator[Server]:
    """A server of its own, in a folder that goes with it.

    Args:
        durable: whether it flushes to disk, as it has to outside tests.
    """
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    found = binaries()
    assert found is not None
    try:
        if os.getuid() == 0:
            shutil.chown(folder, USER, USER)
        subprocess.run(
            [found / "initdb", "-D", folder / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N"],
            check=True, capture_output=True, cwd=folder, **_unprivileged(),
        )  # fmt: skip
        running = Server(folder, free_port(), durable)
        running.start()
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder)


def _unprivileged() -> dict[str, Any]:
    return {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}


def free_port() -> int:
    """A port of the loopback address that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
