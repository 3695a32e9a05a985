"""A real server process with gRPC: a client of another process, how it stops, and what survives when it is killed."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.patience import PATIENCE_SECONDS
from tests.places import ROOT
from tests.workbench.patient_http import get
from tests.workbench.rpc.common import active, calling
from tests.workbench.test_serving import serving
from workbench.bench.serve import Load, bench_serve
from workbench.bench.serve_rpc import GRPC
from workbench.rpc import dpdau_pb2 as pb
from workbench.service import load_settings, open_service

pytestmark = pytest.mark.slow

# Whoever has the .proto file and nothing else of this project.
CLIENT = """
import sys
import grpc
import dpdau_pb2, dpdau_pb2_grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = dpdau_pb2_grpc.ActiveUsersStub(channel)
    events = [dpdau_pb2.Event(user=user, day="2026-01-01") for user in ("ann", "bob")]
    request = dpdau_pb2.IngestRequest(events=events)
    print(stub.Ingest(request, metadata=[("idempotency-key", "a")]).seq)
    print(stub.Ingest(request, metadata=[("idempotency-key", "a")]).seq)
    print(stub.IngestStream(iter([request] * 100)).accepted)
    stub.CloseDay(dpdau_pb2.CloseDayRequest(day="2026-01-01", confirm=True))
    print(stub.GetRelease(dpdau_pb2.GetReleaseRequest(metric="mau")).row)
"""


@contextmanager
def serving_both(folder: Path, *options: str) -> Iterator[tuple[str, int, subprocess.Popen[str]]]:
    """(address of HTTP, port of gRPC, process)."""
    with serving(folder, "--no-pages", "--grpc-port", "0", *options) as (address, said, process):
        found = re.search(r"gRPC on port (\d+)", said)
        assert found is not None, said
        yield address, int(found[1]), process


def test_a_client_of_another_process_that_has_the_proto_file_alone(tmp_path: Path) -> None:
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'workbench/rpc'}", "--python_out=.",
              "--grpc_python_out=.", "dpdau.proto"]  # fmt: skip
    subprocess.run(protoc, cwd=tmp_path, check=True)
    (tmp_path / "client.py").write_text(CLIENT)
    with serving_both(tmp_path) as (address, port, _):
        done = subprocess.run(
            [sys.executable, "client.py", f"localhost:{port}"], cwd=tmp_path, capture_output=True, text=True,
            timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        assert done.stderr == ""
        assert done.stdout.splitlines() == ["2", "2", "200", get(f"{address}/mau").text]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_also_while_calls_are_under_way(tmp_path: Path, number: signal.Signals) -> None:
    begun, ended = threading.Event(), threading.Event()

    def sent() -> Iterator[pb.IngestRequest]:
        yield active("ann")
        begun.set()
        ended.wait(PATIENCE_SECONDS)

    with serving_both(tmp_path) as (_, port, process), calling(port) as stub:
        stub.Ingest(active("bob"))
        streaming = stub.IngestStream.future(sent())
        begun.wait(PATIENCE_SECONDS)
        process.send_signal(number)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0
        ended.set()
        with pytest.raises(grpc.RpcError):
            streaming.result()
        assert process.stderr is not None
        assert process.stderr.read() == "Stopped.\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dpdau.store", "dpdau.store.key"]


def test_a_log_in_json_has_the_port(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "workbench.cli.main", "serve", "--no-pages", "--port", "0", "--grpc-port", "0",
               "--set", "log_format=json"]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(2)]
        process.terminate()
    assert re.search(r'"message": "gRPC on port \d+"', said[1]), said


def refused_start(folder: Path, *options: str, before: str = "") -> str:
    """What a server says that does not start."""
    program = f"import sys\n{before}\nfrom workbench.cli.main import main\nmain(['serve', '--no-pages', *sys.argv[1:]])"
    command = [sys.executable, "-c", program, "--port", "0", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 1
    return done.stderr


def test_without_the_extra_a_line_names_it(tmp_path: Path) -> None:
    for package in ("grpc", "google.protobuf"):
        said = refused_start(tmp_path, "--grpc-port", "0", before=f"sys.modules['{package}'] = None")
        assert said.count("\n") == 1
        assert "pip install 'dpdau[grpc]'" in said


def test_a_port_that_is_taken_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with serving_both(tmp_path / "other") as (_, port, _):
        said = refused_start(tmp_path, "--grpc-port", str(port))
    assert said.count("\n") == 1
    assert f"127.0.0.1:{port}" in said
    assert "--grpc-port" in said


def test_without_a_key_no_other_machine_is_answered(tmp_path: Path) -> None:
    said = refused_start(tmp_path, "--grpc-port", "0", "--host", "0.0.0.0")
    assert "SERVICE_API_KEY" in said


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    rng = random.Random(17)
    lives = acknowledged = 0

    def keyed(number: int) -> dict[str, Any]:
        return {"metadata": (("idempotency-key", f"stream-{number}"),)}

    def requests(number: int) -> Iterator[pb.IngestRequest]:
        return iter([active(*(f"u{number}-{part}-{index}" for index in range(10))) for part in range(5)])

    # On a busy machine little is acknowledged in half a second; then there are more lives, and longer ones.
    while lives < 6 or acknowledged <= 10:
        lives += 1
        with serving_both(tmp_path) as (_, port, process), calling(port) as stub:
            killing = threading.Timer(rng.uniform(0.05, 0.5) * max(1.0, lives / 6), process.kill)
            killing.start()
            try:
                while True:
                    assert stub.IngestStream(requests(acknowledged), **keyed(acknowledged)).accepted == 50
                    acknowledged += 1
            except grpc.RpcError:
                killing.join()
    settings = load_settings(None, {}, [(name, str(tmp_path / f"dpdau.{name}")) for name in ("store", "ledger")])
    day = datetime(2026, 1, 1, tzinfo=UTC).date()
    with open_service(settings, lambda: datetime.now(UTC)) as service:
        found = service.preview(day)["dau"].truth
        assert 50 * acknowledged <= found <= 50 * (acknowledged + 1)
        assert service.status().operations == found, "nothing is stored twice"


def test_its_speed_is_measured_and_no_event_is_lost() -> None:
    (row,) = bench_serve(0.5, 100, lambda stage, share: None, (Load(5, 2),), GRPC)
    assert row["lost"] == 0
    assert float(str(row["events_per_second"])) > 0
