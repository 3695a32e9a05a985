"""Tables on disk: tidy Parquet whose bytes depend on the values alone, provenance beside it, rows of a release."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.files import write_atomically

SIGNIFICANT_DIGITS = 9
"""Kept in tables: more than any reader needs, fewer than two processors may disagree in."""

PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "duckdb", "opendp", "matplotlib", "msgspec")


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Write rows as Parquet; floats are rounded to nine significant digits. Returns whether the file changed."""
    table = pd.DataFrame(list(rows))
    for name in table.columns[table.dtypes == np.float64]:
        table[name] = [float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in table[name]]
    content = table.to_parquet(None, index=False)
    assert isinstance(content, bytes)
    if path.exists() and path.read_bytes() == content:
        return False
    write_atomically(path, content)
    return True


def provenance(**details: Any) -> dict[str, Any]:
    """Where a table comes from: commit, whether the tree had changes, versions, and `details`."""
    return {
        **details,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


RELEASE_COLUMNS = frozenset(
    {"metric", "window", "day", "estimate", "ci_low", "ci_high", "ci_level", "std", "epsilon_total", "delta_total"}
    | {"mechanism", "unit", "w_bound"}
)
TRUTH_COLUMNS = frozenset({"metric", "day", "count"})


def read_rows(path: Path, needed: frozenset[str]) -> pd.DataFrame:
    """The rows of a release or of exact counts, from the CSV, JSON or Parquet file that a command wrote.

    Raises:
        ValueError: the file's name ends otherwise, or columns that are needed are missing.
    """
    match path.suffix:
        case ".csv":
            table = pd.read_csv(path)
        case ".json":
            table = pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))
        case ".parquet":
            table = pd.read_parquet(path)
        case _:
            raise ValueError(f"{path}: rows are read from .csv, .json or .parquet files")
    if missing := needed - set(table.columns):
        kind = "exact" if needed == TRUTH_COLUMNS else "release"
        raise ValueError(f"{path} has no column {', '.join(sorted(missing))}; it is no output of 'dpdau {kind}'")
    return table.assign(day=pd.to_datetime(table["day"]))


def _git(*arguments: str) -> str | None:
    """What git says of the folder this code lies in; None where there is no git or no repository."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
