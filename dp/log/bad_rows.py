"""What becomes of rows that cannot be used: an error that shows some, or a file that lists all."""

import csv
from collections.abc import Iterator
from pathlib import Path

from dp.log.files import printable
from dp.log.log import LogError
from dp.log.staging import Locate, Source

SHOWN = 5
"""Bad rows that an error spells out."""


def set_aside(source: Source, locate: Locate, unit: str, quarantine: Path | None) -> tuple[int, int]:
    """List the bad rows of `staged` in the file `quarantine`, which is written even if there are none.

    Args:
        source: the file that `staged` was made from.
        locate: finds a row in that file.
        unit: what `locate` counts, line or row.
        quarantine: None: bad rows are an error.

    Returns:
        The numbers of rows read and of rows set aside.

    Raises:
        LogError: there are bad rows and no `quarantine`.
    """
    connection, path = source.connection, source.path
    rows, bad = connection.execute("SELECT COUNT(*), COUNT(fault) FROM staged").fetchall()[0]
    if quarantine is None and not bad:
        return rows, 0
    limit = SHOWN if quarantine is None else bad
    faults = connection.execute(
        f"SELECT rowid, fault FROM staged WHERE fault IS NOT NULL ORDER BY rowid LIMIT {limit}"
    ).fetchall()
    if bad:
        source.progress("locating bad rows", None)
    located = (
        (line, fault, raw) for (_, fault), (line, raw) in zip(faults, locate([row for row, _ in faults]), strict=True)
    )
    if quarantine is None:
        shown = "\n".join(f"  {path}, {unit} {line}: {printable(fault)}" for line, fault, _ in located)
        more = f"\n  and {bad - SHOWN} more" if bad > SHOWN else ""
        raise LogError(
            f"{path}: {bad} of {rows} rows are bad, so nothing was used\n{shown}{more}\n"
            "To go on without them: --on-error quarantine FILE"
        )
    _write(quarantine, unit, located)
    return rows, bad


def _write(quarantine: Path, unit: str, located: Iterator[tuple[int, str, str]]) -> None:
    """Complete or not at all: a half-written list of bad rows would not add up."""
    partial = quarantine.with_name(quarantine.name + ".partial")
    with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow((unit, "reason", "raw"))
        writer.writerows(located)
    partial.replace(quarantine)
