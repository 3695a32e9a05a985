"""A store that cannot be used: 503 until it can, nothing acknowledged lost, and no restart."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient

from tests.patience import PATIENCE_SECONDS
from tests.workbench.api.common import NOW, close, local, problem_of, settings_in, users
from tests.workbench.test_serving import serving
from workbench.api.app import create_app
from workbench.service import Service, open_service

DAY = date(2026, 1, 1)


def unavailable(client: TestClient) -> None:
    """Whoever asks is told to come back; the process lives."""
    for response in (client.post("/events", json=users(3000)), client.get("/readyz"), client.get("/healthz")):
        problem_of(response, 503, "unavailable")
        assert int(response.headers["retry-after"]) > 0
    assert client.get("/livez").json() == {"status": "ok"}


def available(client: TestClient) -> None:
    for path in ("/livez", "/readyz", "/healthz"):
        assert client.get(path).json() == {"status": "ok"}


def run(service: Service, statement: str) -> None:
    """A statement on the connection that writes, which is idle between requests."""
    service._writer._store.connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("breaks", "mends"),
    [
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 4294967294"),
    ],
)
def test_a_store_that_cannot_be_written_is_not_ready(
    client: TestClient, service: Service, breaks: str, mends: str
) -> None:
    client.post("/events", json=users(40)).raise_for_status()
    run(service, breaks)
    unavailable(client)
    run(service, mends)
    available(client)
    client.post("/events", json=users(50)).raise_for_status()
    assert service.preview(DAY)["dau"].truth == 50


@pytest.mark.slow
def test_what_was_acknowledged_before_the_disk_was_full_is_there(client: TestClient, service: Service) -> None:
    run(service, "PRAGMA max_page_count = 200")
    acknowledged = 0
    while (response := client.post("/events", json=[{"user": f"u{acknowledged + i}"} for i in range(500)])).is_success:
        acknowledged += 500
    problem_of(response, 503, "unavailable")
    assert acknowledged > 0
    assert service.status().operations == acknowledged
    run(service, "PRAGMA max_page_count = 4294967294")
    available(client)
    assert service.preview(NOW.date())["dau"].truth == acknowledged


def test_a_probe_leaves_nothing_behind(client: TestClient, service: Service) -> None:
    before = service.status()
    available(client)
    assert service.status() == before
    left = "SELECT COUNT(*) FROM requests"
    assert service._write(lambda store: store.connection.exec_driver_sql(left).scalar_one()) == 0


def rename(folder: Path) -> Callable[[], None]:
    (folder / "s").rename(folder / "elsewhere")
    return lambda: (folder / "elsewhere").rename(folder / "s") and None


def replace(folder: Path) -> Callable[[], None]:
    mend = rename(folder)
    (folder / "s").write_bytes(b"")
    return mend


@pytest.mark.parametrize("take_away", [rename, replace])
def test_a_store_that_was_taken_away_is_noticed_before_the_next_answer(
    client: TestClient, service: Service, tmp_path: Path, take_away: Callable[[Path], Callable[[], None]]
) -> None:
    client.post("/events", json=users(4)).raise_for_status()
    put_back = take_away(tmp_path)
    unavailable(client)
    for path in ("/days/2026-01-01/close", "/events"):
        problem_of(client.post(path, json=[]), 503, "unavailable")
    problem_of(client.delete("/users/u0"), 503, "unavailable")
    assert not (tmp_path / "s").exists() or (tmp_path / "s").read_bytes() == b""
    put_back()
    available(client)
    assert service.preview(DAY)["dau"].truth == 4


def test_a_ledger_that_was_taken_away_is_noticed(client: TestClient, service: Service, tmp_path: Path) -> None:
    client.post("/events", json=users(4)).raise_for_status()
    available(client)
    close(client, "2026-01-01")
    published = client.get("/releases/mau").content
    (tmp_path / "l").rename(tmp_path / "elsewhere")
    for path in (
        "/releases/mau",
        "/releases/dau?format=csv",
        "/budget",
        "/readyz",
        "/metrics/published",
        "/mau?fresh=true",
    ):
        problem_of(client.get(path), 503, "unavailable")
    problem_of(client.post("/days/2026-01-02/close"), 503, "unavailable")
    assert not (tmp_path / "l").exists()
    # What arrives needs no ledger.
    assert client.post("/events", json=users(5)).is_success
    (tmp_path / "elsewhere").rename(tmp_path / "l")
    available(client)
    assert client.get("/releases/mau").content == published
    close(client, "2026-01-02")


def test_those_who_ask_for_readiness_at_once_share_one_write(service: Service) -> None:
    held, going = threading.Event(), threading.Event()

    def hold(store: object) -> None:
        held.set()
        going.wait(30)

    holding = service.access.submit(hold)
    held.wait(30)
    probes = {id(service.probe()) for _ in range(50)}
    going.set()
    holding.result()
    assert len(probes) == 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three mebibytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True)
    if made.returncode != 0:
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_is_survived(disk: Path) -> None:
    with open_service(settings_in(disk), lambda: NOW) as service, local(create_app(service)) as client:
        client.post("/events", json=users(100)).raise_for_status()
        close(client, "2026-01-01")
        published = client.get("/mau/2026-01-01").content
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))
        unavailable(client)
        problem_of(client.post("/days/2026-01-02/close"), 503, "unavailable")
        assert client.get("/mau/2026-01-01").content == published
        (disk / "ballast").unlink()
        available(client)
        close(client, "2026-01-02")
        close(client, "2026-01-02")
        assert client.get("/mau/2026-01-01").content == published
        assert len(client.get("/releases/mau").json()) == 2
        assert len(client.get("/budget").json()["charges"]) == 3
        assert [count.truth for count in service.truth("mau").counts] == [100, 100]


@pytest.mark.slow
def test_a_server_whose_files_may_not_grow_says_so_and_goes_on_when_they_may(tmp_path: Path) -> None:
    with (
        serving(tmp_path, "--no-pages") as (address, _, process),
        httpx2.Client(timeout=PATIENCE_SECONDS, base_url=address) as client,
    ):
        assert client.post("/events", json=[{"user": f"u{i}"} for i in range(100)]).is_success
        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (128 * 1024, most))
        refused = client.post("/events", json=[{"user": f"v{i}"} for i in range(20_000)])
        assert (refused.status_code, client.get("/readyz").status_code) == (503, 503)
        assert client.get("/livez").status_code == 200
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        assert client.get("/readyz").status_code == 200
        assert client.post("/event", json={"user": "w"}).json() == {"accepted": 1, "late": 0, "seq": 101}
