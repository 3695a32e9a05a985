"""A real server process: its start-up message, its key on the mounted pages' websocket, how it stops."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

pytestmark = pytest.mark.slow

KEY = "the key of this test"


@contextmanager
def serving(folder: Path, *options: str, key: str | None = None) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """(address, what it said, process) of a server that is stopped afterwards."""
    foreign = {name for name in os.environ if name.startswith(("DPDAU_", "SERVICE_"))} - {"DPDAU_CACHE"}
    environment = {name: text for name, text in os.environ.items() if name not in foreign}
    if key:
        environment["SERVICE_API_KEY"] = key
    command = [sys.executable, "-m", "workbench.cli.main", "serve", "--port", "0", *options]
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    try:
        for line in process.stderr:
            said += line
            if line.startswith(("SERVICE_API_KEY", "No SERVICE_API_KEY")):
                break
        found = re.search(r"Listening on (http://127\.0\.0\.1:\d+)", said)
        assert found is not None, said
        yield found[1], said, process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_the_websocket_of_the_pages_needs_the_key(tmp_path: Path) -> None:
    async def status(address: str, headers: dict[str, str]) -> int:
        url = address.replace("http://", "ws://") + "/ui/_stcore/stream"
        try:
            async with connect(url, additional_headers=headers, origin=address, subprotocols=["streamlit"]):  # type: ignore[arg-type,list-item]
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    with serving(tmp_path, key=KEY) as (address, said, _):
        assert "SERVICE_API_KEY guards all but /healthz." in said
        assert "(1.2, 3e-06)-differential privacy" in said
        assert httpx2.get(f"{address}/healthz").json() == {"status": "ok"}
        for path in ("/ui/", "/ui/_stcore/health", "/ui/static/index.html", "/config"):
            assert httpx2.get(f"{address}{path}").status_code == 401
        login = httpx2.post(f"{address}/login", data={"key": KEY})
        cookie = login.headers["set-cookie"].split(";")[0]
        assert httpx2.get(f"{address}/ui/_stcore/health", headers={"Cookie": cookie}).status_code == 200
        assert asyncio.run(status(address, {})) == 403
        assert asyncio.run(status(address, {"Cookie": cookie.replace("=", "=0")})) == 403
        assert asyncio.run(status(address, {"Cookie": cookie})) == 101
        assert asyncio.run(status(address, {"Authorization": f"Bearer {KEY}"})) == 101


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, "--no-pages") as (address, said, process):
        assert "No SERVICE_API_KEY" in said
        httpx2.post(f"{address}/event", json={"user": "ann"}).raise_for_status()
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    # Whoever closes a database last leaves no write-ahead log behind.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dpdau.store", "dpdau.store.key"]


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "workbench.cli.main", "serve", "--no-pages", "--port", str(port)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
