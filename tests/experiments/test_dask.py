"""The same rows from a cluster: a real scheduler and two workers on loopback, one of which dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from experiments.engine import runner
from experiments.kinds.loading import load
from tests.experiments.test_experiments import ROOT, SMALL
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow
pytest.importorskip("distributed")

QUIET = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}

Spawn = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawn]:
    """Starts one of Dask's commands; all of them are ended with the test."""
    with ExitStack() as stack:

        def start(command: str, *arguments: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((tmp_path / f"{command}.log").open("ab"))
            child = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{command}", *arguments],
                cwd=tmp_path, env=QUIET, stdout=log, stderr=log,
            )  # fmt: skip
            stack.callback(child.wait)
            stack.callback(child.kill)
            return child

        yield start


def waited(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_rows_do_not_depend_on_a_cluster_that_loses_a_worker(tmp_path: Path, spawn: Spawn) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SMALL.replace("epsilon = [0.5, 1.0]", "epsilon = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]"))
    config = load(path)

    meeting = tmp_path / "scheduler.json"
    common = ("--scheduler-file", str(meeting), "--no-dashboard")
    spawn("dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common)
    waited(meeting.exists)
    on_loopback = ("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path))
    workers = [spawn("dask_worker", *common, *on_loopback) for _ in range(2)]
    address = address_of(meeting)
    waited(lambda: workers_of(address) == 2)

    killed: list[float] = []

    def kill_in_the_middle(stage: str, fraction: float | None) -> None:
        if fraction is not None and 0.1 < fraction < 0.9 and not killed:
            workers[0].send_signal(signal.SIGKILL)
            killed.append(fraction)

    spread = runner.tabulate(config, tmp_path / "spread", scheduler=address, report=kill_in_the_middle)
    assert killed
    assert workers[0].wait() == -signal.SIGKILL
    assert workers[1].poll() is None
    assert spread.computed == 48
    assert spread.rows == runner.tabulate(config, tmp_path / "alone", jobs=1).rows


def address_of(meeting: Path) -> str:
    import json

    return str(json.loads(meeting.read_text())["address"])


def workers_of(address: str) -> int:
    from distributed import Client

    with Client(address, timeout=PATIENCE_SECONDS) as client:
        return len(client.scheduler_info()["workers"])


def test_a_scheduler_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.engine.executors.DASK_PATIENCE_SECONDS", 0.5)
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    with pytest.raises(ValueError, match=r"scheduler is 'tcp://127.0.0.1:1'; nothing answers there"):
        runner.tabulate(load(path), tmp_path / "cache", scheduler="tcp://127.0.0.1:1")
