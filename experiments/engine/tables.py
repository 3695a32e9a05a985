"""Tables on disk: tidy Parquet whose bytes depend on the values alone, provenance beside it, rows of a release."""

from __future__ import annotations

import io
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

from experiments.engine.files import write_atomically

SIGNIFICANT_DIGITS = 9
"""Kept in tables: more than any reader needs, fewer than two processors may disagree in."""

PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "duckdb", "opendp", "matplotlib", "msgspec")


MARK = b"dpdau."
"""Begins the names of what a table says of its own origin."""


def write_table(
    rows: Sequence[Mapping[str, Any]], path: Path, marks: Mapping[str, str] | None = None, *, anew: bool = False
) -> bool:
    """Write rows as Parquet; floats are rounded to nine significant digits. Returns whether the file changed.

    Args:
        marks: kept in the file's metadata under names that begin with "dpdau."; a file with the same values is left as
            it is, with the marks that it has.
        anew: write it even so.
    """
    frame = pd.DataFrame(list(rows))
    for name in frame.columns[frame.dtypes == np.float64]:
        frame[name] = [float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in frame[name]]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if not anew and path.exists() and _content(_unmarked(parquet.read_table(path))) == _content(table):
        return False
    own = {MARK + name.encode(): value.encode() for name, value in (marks or {}).items()}
    write_atomically(path, _content(table.replace_schema_metadata({**(table.schema.metadata or {}), **own})))
    return True


def marks_of(path: Path) -> dict[str, str]:
    """What a table says of its own origin."""
    metadata = parquet.read_schema(path).metadata or {}
    return {
        name.removeprefix(MARK).decode(): value.decode() for name, value in metadata.items() if name.startswith(MARK)
    }


def _unmarked(table: pa.Table) -> pa.Table:
    metadata = table.schema.metadata or {}
    return table.replace_schema_metadata(
        {name: value for name, value in metadata.items() if not name.startswith(MARK)}
    )  # fmt: skip


def _content(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="snappy")
    return buffer.getvalue()


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
