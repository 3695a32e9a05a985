"""Rows on their way out: a table for people, CSV, JSON and Parquet for programs; files appear whole or not at all."""

from __future__ import annotations

import io
import itertools
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from dp.database_url import DatabaseUrl, Place
from experiments.engine.files import write_pieces_atomically
from workbench.rows import TableRow, csv_pieces, json_pieces, parquet_bytes

OUTPUT_FORMATS = ("table", "csv", "json", "parquet")
SQLITE = b"SQLite format 3\0"
_BY_SUFFIX = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".txt": "table"}


def keep_apart(**paths: str | Place | Sequence[str] | None) -> None:
    """Refuse paths that are one file, files that would replace a ledger, and files whose folder does not exist.

    Raises:
        click.UsageError: naming the paths in question.
    """
    named = [
        (name, Path(path))
        for name, given in paths.items() if given is not None and not isinstance(given, DatabaseUrl)
        for path in ([given] if isinstance(given, str | os.PathLike) else given)
    ]  # fmt: skip
    files = [(name, path.resolve()) for name, path in named]
    files += [("ledger", path.with_name(path.name + suffix)) for name, path in files if name == "ledger"
              for suffix in ("-wal", "-shm")]  # fmt: skip
    for (one, path), (other, same) in itertools.combinations(files, 2):
        if path == same or (path.exists() and same.exists() and path.samefile(same)):
            raise click.UsageError(f"{one} and {other} are the same file, {path}; give each its own")
    for name, path in named:
        if name in ("out", "quarantine", "figure"):
            if not path.resolve().parent.is_dir():
                raise click.UsageError(f"the folder of the {name} file {path} does not exist")
            if path.is_file() and _begins_with(path, SQLITE):
                raise click.UsageError(f"the {name} file {path} is a database, perhaps a ledger; it is not replaced")


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def chosen_format(wanted: str | None, out: Path | None) -> str:
    """The format asked for, else the one that the file's name says, else a table.

    Raises:
        click.UsageError: Parquet without a file, or a file whose name says nothing.
    """
    if out and not wanted and out.suffix not in _BY_SUFFIX:
        raise click.UsageError(f"--out {out} does not say its format; name it {', '.join(_BY_SUFFIX)} or give --format")
    chosen = wanted or (_BY_SUFFIX[out.suffix] if out else "table")
    if chosen == "parquet" and out is None:
        raise click.UsageError("--format parquet is binary: name a file with --out")
    return chosen


def write_rows(
    rows: Iterable[TableRow], format_name: str, out: Path | None, *, title: str, hidden: Sequence[str] = ()
) -> None:
    """Write rows to a file or to standard output; CSV and JSON while they are made, so that many fit in memory.

    Args:
        title: heading of a table.
        hidden: columns that a table leaves out (they are named in its heading instead, being the same in each row).
    """
    if format_name == "table":
        deliver([_table(list(rows), title, hidden, out).encode()], out)
    elif format_name == "csv":
        deliver((piece.encode() for piece in csv_pieces(rows)), out)
    elif format_name == "json":
        deliver((piece.encode() for piece in json_pieces(rows)), out)
    else:
        deliver([parquet_bytes(rows)], out)


def deliver(pieces: Iterable[bytes], out: Path | None) -> None:
    """Write bytes to a file, whole or not at all, or to standard output."""
    if out is None:
        try:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # The reader, `head` perhaps, has seen enough; what is left must not be written at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        write_pieces_atomically(out, pieces)


def _table(rows: Sequence[TableRow], title: str, hidden: Sequence[str], out: Path | None) -> str:
    from rich.console import Console
    from rich.table import Table

    shown = [name for name in (rows[0] if rows else {}) if name not in hidden]
    table = Table()
    for name in shown:
        number = isinstance(rows[0][name], int | float) and not isinstance(rows[0][name], bool)
        table.add_column(name.replace("_", " "), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in shown))
    text = io.StringIO()
    terminal = out is None and sys.stdout.isatty()
    console = Console(file=text, force_terminal=terminal, no_color=not terminal, width=None if terminal else 120)
    console.print(title, style="bold", highlight=False)
    console.print(table)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
