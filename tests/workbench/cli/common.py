"""What the tests of the command line share: a generated log and its days, and the rows that a command prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from workbench.cli.main import main

PERIOD = ("--from", "2024-01-01", "--to", "2024-02-29")


def generated_log(folder: Path, users: int) -> Path:
    """A log of sixty days, all of PERIOD."""
    path = folder / "log.csv"
    rates = ["--delete-rate", "0.15", "--erase-rate", "0.02", "--late-rate", "0.05"]
    made = CliRunner().invoke(
        main, ["generate", "--users", str(users), "--days", "60", *rates, "--seed", "7", "--out", str(path)]
    )
    assert made.exit_code == 0, made.stderr
    return path


def rows_of(result: Result) -> list[dict[str, Any]]:
    """The rows that a command has printed as JSON."""
    rows = json.loads(result.stdout)
    assert isinstance(rows, list)
    return rows
