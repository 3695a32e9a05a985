"""Kill and race tests run their scenario in a process of its own, so that nothing of pytest is in its children."""

from __future__ import annotations

import subprocess
import sys
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
