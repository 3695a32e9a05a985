"""What Ctrl-C does to a command, at the moments at which Python alone does the wrong thing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from experiments.engine.interrupts import is_interrupt
from tests.laws import each
from tests.patience import PATIENCE_SECONDS

IMPORTED = """
import signal
signal.raise_signal(signal.SIGINT)
print("imported whole")
"""
COMMAND = """
import time
from experiments.engine.interrupts import after_imports, leave
with after_imports():
    try:
        import interrupted_while_imported
        time.sleep(60)
    except KeyboardInterrupt:
        leave("Stopped.", 130)
"""
HANDED_OVER = """
import signal
from experiments.engine.interrupts import after_imports
with after_imports():
    import interrupted_while_imported
    seen = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    while not seen:
        pass
print(seen == [signal.SIGINT])
"""


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("command", "out", "err", "code"),
    [(COMMAND, "imported whole\n", "Stopped.\n", 130), (HANDED_OVER, "imported whole\nTrue\n", "", 0)],
)
def test_an_interrupt_waits_for_the_end_of_an_import(
    tmp_path: Path, command: str, out: str, err: str, code: int
) -> None:
    (tmp_path / "interrupted_while_imported.py").write_text(IMPORTED)
    given = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{command}"
    done = subprocess.run(
        [sys.executable, "-c", given], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == (out, err, code)


@each(
    ("error", "expected"),
    [
        (KeyboardInterrupt(), True),
        (duckdb.InterruptException("INTERRUPT Error: Interrupted!"), True),
        (RuntimeError("Query interrupted"), True),
        (ValueError("interrupts.csv: the column 'user' is missing"), False),
        (RuntimeError("a defect"), False),
    ],
)
def test_what_an_interrupt_is(error: BaseException, expected: bool) -> None:
    assert is_interrupt(error) is expected
