"""A real server process: its start-up message, its key on the mounted pages' websocket, how it stops."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.patience import PATIENCE_SECONDS
from tests.workbench.patient_http import get, post
from workbench.api.failure_limit import OF_ONE

pytestmark = pytest.mark.slow

KEY = "the key of this test"


@contextmanager
def serving(
    folder: Path, *options: str, command: str = "serve", key: str | None = None
) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """(address, what it said, process) of a server that is stopped afterwards."""
    foreign = {name for name in os.environ if name.startswith(("DPDAU_", "SERVICE_"))} - {"DPDAU_CACHE"}
    environment = {name: text for name, text in os.environ.items() if name not in foreign}
    if key:
        environment["SERVICE_API_KEY"] = key
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli.main", command, "--port", "0", *options],
        cwd=folder, env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    said = ""
    try:
        for line in process.stderr:
            said += line
            if line.startswith(("SERVICE_API_KEY", "No SERVICE_API_KEY", "The keys")) or "listening on" in line:
                break
        found = re.search(r"[Ll]istening on (http://127\.0\.0\.1:\d+)", said)
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
        assert get(f"{address}/healthz").json() == {"status": "ok"}
        for path in ("/ui/", "/ui/_stcore/health", "/ui/static/index.html", "/config"):
            assert get(f"{address}{path}").status_code == 401
        login = post(f"{address}/login", data={"key": KEY})
        cookie = login.headers["set-cookie"].split(";")[0]
        assert get(f"{address}/ui/_stcore/health", headers={"Cookie": cookie}).status_code == 200
        assert asyncio.run(status(address, {})) == 403
        assert asyncio.run(status(address, {"Cookie": cookie.replace("=", "=0")})) == 403
        assert asyncio.run(status(address, {"Cookie": cookie})) == 101
        assert asyncio.run(status(address, {"Authorization": f"Bearer {KEY}"})) == 101


def test_a_running_server_obeys_the_file_of_keys(tmp_path: Path) -> None:
    def keys(*arguments: str) -> str:
        command = [sys.executable, "-m", "workbench.cli.main", "keys", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    def status(path: str, key: str) -> int:
        return get(f"{address}{path}", headers={"X-API-Key": key}).status_code

    key = keys("create", "reader", "--scope", "read")
    with serving(tmp_path) as (address, said, _):
        assert "The keys in dpdau.store.keys guard all but /healthz." in said
        assert [status(path, key) for path in ("/config", "/metrics", "/ui/")] == [200, 403, 403]
        other = keys("create", "desk", "--scope", "read", "--scope", "operate")
        assert [status(path, other) for path in ("/config", "/metrics", "/ui/")] == [200, 403, 200]
        keys("revoke", "reader")
        assert status("/config", key) == 401
        begun = time.monotonic()
        statuses = [status("/config", f"guess {index}") for index in range(40)]
        assert set(statuses) == {401, 429}
        assert statuses.count(401) <= OF_ONE.burst + (time.monotonic() - begun) / OF_ONE.seconds
        assert status("/config", other) == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, "--no-pages") as (address, said, process):
        assert "No SERVICE_API_KEY" in said
        post(f"{address}/event", json={"user": "ann"}).raise_for_status()
        process.send_signal(number)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == "Stopped.\n"
    # Whoever closes a database last leaves no write-ahead log behind.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dpdau.store", "dpdau.store.key"]


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_with_an_open_page_says_one_line_when_it_stops(tmp_path: Path, number: signal.Signals) -> None:
    async def stop_while_connected(address: str, process: subprocess.Popen[str]) -> None:
        url = address.replace("http://", "ws://") + "/ui/_stcore/stream"
        async with connect(url, origin=address, subprotocols=["streamlit"]):  # type: ignore[arg-type,list-item]
            process.send_signal(number)
            assert await asyncio.to_thread(process.wait, PATIENCE_SECONDS) == 0

    with serving(tmp_path) as (address, _, process):
        assert get(f"{address}/ui/").status_code == 200
        asyncio.run(stop_while_connected(address, process))
        assert process.stderr is not None
        assert process.stderr.read() == "Stopped.\n"


@pytest.mark.usefixtures("interruptible")
def test_a_demonstration_answers_before_it_is_filled_and_goes_on_when_it_was_stopped(tmp_path: Path) -> None:
    with serving(tmp_path, "--days", "300", command="demo") as (address, said, process):
        assert "0 operations arrived, no day closed yet" in said
        assert get(f"{address}/healthz").json() == {"status": "ok"}
        assert get(f"{address}/ui/").status_code == 200
        while get(f"{address}/dau/2026-01-02").status_code != 200:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0
        assert process.stderr is not None
        said = process.stderr.read()
        assert said.endswith("Stopped. The same command continues the demonstration.\n")
        assert said.count("\n") < 10
        assert "Traceback" not in said
        assert "filled and closed, " not in said
    with serving(tmp_path, "--days", "2", command="demo") as (address, said, _):
        assert "2026-01-01 to 2026-" in said
        assert get(f"{address}/dau/2026-01-02").status_code == 200


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("seconds", [0.7, 1.5, 2.5])
@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("demo", "--port", "0"), ("demo", "--no-serve")])
def test_an_interrupt_at_any_moment_says_one_line(tmp_path: Path, command: tuple[str, ...], seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli.main", *command],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    with process, process.stderr:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        code = process.wait(timeout=PATIENCE_SECONDS)
    # Python itself has to be there first.
    if code == -signal.SIGINT:
        pytest.skip("the machine is too busy: the command had not begun")
    assert code in (0, 130)
    assert said.splitlines()[-1].startswith("Stopped."), said
    assert not re.search(r"Traceback|Warning|Aborted|leaked|Exception", said), said


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "workbench.cli.main", "serve", "--no-pages", "--port", str(port)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_closes_days_by_the_clock_and_stops_as_ever(tmp_path: Path) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    settings = f"auto_close=00:00,first_day={yesterday - timedelta(days=2)}"
    with serving(tmp_path, "--no-pages", "--set", settings) as (address, _, process):
        while get(f"{address}/config").json()["last_closed_day"] != str(yesterday):
            time.sleep(0.05)
        assert len(get(f"{address}/releases/mau").json()) == 3
        assert "dpdau_last_close_duration_seconds 0.0\n" not in get(f"{address}/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
