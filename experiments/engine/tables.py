"""Tables on disk: tidy Parquet whose bytes depend on the values alone, and their provenance."""

from __future__ import annotations

import io
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
"""Digits kept in tables: more than any reader needs, fewer than those in which two processors may disagree."""

PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "duckdb", "opendp", "matplotlib", "msgspec")


MARK = b"dpdau."
"""Prefix of the names under which a table's metadata records its origin."""


def write_table(
    rows: Sequence[Mapping[str, Any]], path: Path, marks: Mapping[str, str] | None = None, *, anew: bool = False
) -> bool:
    """Write rows as Parquet; floats are rounded to nine significant digits. Returns whether the file changed.

    Args:
        marks: kept in the file's metadata under names that begin with "dpdau."; a file with the same values keeps the
            marks that it has.
        anew: write the file even if its values are the same.
    """
    frame = pd.DataFrame(list(rows))
    for name in frame.columns[frame.dtypes == np.float64]:
        frame[name] = [float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in frame[name]]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if not anew and path.exists() and _content(_without_marks(parquet.read_table(path))) == _content(table):
        return False
    own = {MARK + name.encode(): value.encode() for name, value in (marks or {}).items()}
    write_atomically(path, _content(table.replace_schema_metadata({**(table.schema.metadata or {}), **own})))
    return True


def _without_marks(table: pa.Table) -> pa.Table:
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


def _git(*arguments: str) -> str | None:
    """What git says of the folder this code lies in; None where there is no git or no repository."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
