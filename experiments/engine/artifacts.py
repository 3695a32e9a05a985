"""What a run leaves in `results`: table, provenance, pictures; each written only if it is not what it was."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.engine import digests
from experiments.engine.code_fingerprint import code_fingerprint
from experiments.engine.files import write_atomically

PICTURES = (".svg", ".png")


def write_products(
    rows: Sequence[Mapping[str, Any]], figure: str, table: Path, details: Mapping[str, Any], started: float
) -> tuple[Path, ...]:
    """Write a table, its provenance beside it (.json), and its figure; returns their paths.

    Args:
        figure: its name in `experiments.kinds.figures.FIGURES`.
        details: of the provenance; what tells configs and code apart stands in the table's own metadata too.
        started: reading of `time.monotonic` from which the seconds of the provenance count.
    """
    source = table.with_suffix(".json")
    known = _known(source)
    kept = _write_rows(rows, table, details, started, known)
    pictures = [table.with_suffix(suffix) for suffix in PICTURES]
    drawn_from = [digests.of_file(table), code_fingerprint("experiments.kinds.figures"), figure, version("matplotlib")]
    if kept.get("figure_sha256") != _figure_digest(drawn_from, pictures):
        from experiments.kinds import figures

        drawn = figures.draw(figure, table)
        for picture in pictures:
            figures.save(drawn, picture)
        kept["figure_sha256"] = _figure_digest(drawn_from, pictures)
    if kept != known:
        write_atomically(source, (json.dumps(kept, indent=2) + "\n").encode())
    return table, source, *pictures


def _write_rows(
    rows: Sequence[Mapping[str, Any]], table: Path, details: Mapping[str, Any], started: float, known: dict[str, Any]
) -> dict[str, Any]:
    """Write the table if need be; returns its provenance, that of before if the table came out as it was."""
    given = digests.of_values(rows)
    same_config = known.get("config_sha256", details["config_sha256"]) == details["config_sha256"]
    written = (known.get("rows_sha256"), known.get("table_sha256"))
    if same_config and table.exists() and written == (given, digests.of_file(table)):
        return dict(known)
    from experiments.engine.tables import provenance, write_table

    marks = {name: str(details[name]) for name in ("config_sha256", "code_sha256")}
    changed = write_table(rows, table, marks, anew=not same_config)
    kept = known if known and not changed else provenance(**details, seconds=round(time.monotonic() - started, 1))
    return {**kept, "rows_sha256": given, "table_sha256": digests.of_file(table)}


def _figure_digest(drawn_from: Sequence[str | None], pictures: Sequence[Path]) -> str:
    return digests.of_values([*drawn_from, *(digests.of_file(picture) for picture in pictures)])


def _known(source: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads(source.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return known
