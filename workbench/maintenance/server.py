"""A `dpdau` process that listens, for as long as a block runs: for pictures, measurements and tests."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

SAID = "served.log"
"""The file in its folder that takes what it says."""


@contextmanager
def run_server(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, ready: str = "Listening on"
) -> Iterator[str]:
    """Run `dpdau` with these arguments in a folder until the block ends; gives the address it listens on.

    Args:
        environment: its variables; those of this process where it is not given.
        ready: what it says when the block may begin.

    Raises:
        RuntimeError: it ended without listening; the message holds what it said.
    """
    command = [sys.executable, "-m", "workbench.cli.main", *arguments]
    # A file and no pipe, which would be full some day.
    log = folder / SAID
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=environment) as server,
    ):
        try:
            said, found = "", None
            while found is None or ready not in said:
                if server.poll() is not None:
                    raise RuntimeError(f"{' '.join(command)} does not listen: {said}")
                time.sleep(0.1)
                said = log.read_text()
                found = re.search(r"Listening on (http://\S+)", said)
            yield found[1]
        finally:
            server.terminate()
