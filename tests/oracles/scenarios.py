"""Kill and race tests run their scenario in a process of its own, so that nothing of pytest is in its children."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.places import ROOT


def run_scenario(module: str, name: str, folder: Path) -> None:
    """Run a scenario of a test module; fails with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", module, name, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def forked(work: Callable[[], object]) -> int:
    """Start a child that does `work` and ends; its process id."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return process


def wait(process: int) -> int | None:
    """The signal that ended a child, or None where it ended by itself and well."""
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status):
        raise RuntimeError(f"child {process} failed with {os.WEXITSTATUS(status)}")
    return None


def at_once(works: list[Callable[[], object]]) -> None:
    """Run several children that all start at the same moment."""
    ready, go = os.pipe()

    def waiting(work: Callable[[], object]) -> None:
        os.close(go)
        os.read(ready, 1)
        work()

    processes = [forked(lambda work=work: waiting(work)) for work in works]
    time.sleep(0.05)
    os.close(go)
    ended_by = [wait(process) for process in processes]
    os.close(ready)
    assert ended_by == [None] * len(works)
