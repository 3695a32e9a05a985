"""What a run leaves in `results`: the table, its provenance, the pictures; each written only if it has changed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.engine import digests
from experiments.engine.code_fingerprint import code_fingerprint
from experiments.engine.config import ExperimentConfig
from experiments.engine.files import write_atomically

PICTURES = (".svg", ".png")


def write_artifacts(
    rows: Sequence[Mapping[str, Any]], config: ExperimentConfig, table: Path, details: Mapping[str, Any], started: float
) -> tuple[Path, ...]:
    """Write a table, its provenance beside it (.json), and the figure of its config; returns their paths.

    Args:
        details: of the provenance; the fingerprints of config and code also stand in the table's own metadata.
        started: reading of `time.monotonic` from which the seconds of the provenance count.

    Raises:
        ValueError: the kind of the config has no such figure.
    """
    source = table.with_suffix(".json")
    before = _read_provenance(source)
    after = _write_rows(rows, table, details, started, before)
    pictures = [table.with_suffix(suffix) for suffix in PICTURES]
    code = code_fingerprint(config.kind.figure_module)
    drawn_from = [digests.of_file(table), code, config.figure, version("matplotlib")]
    if after.get("figure_sha256") != _figure_digest(drawn_from, pictures):
        _draw(config, table, pictures)
        after["figure_sha256"] = _figure_digest(drawn_from, pictures)
    if after != before:
        write_atomically(source, (json.dumps(after, indent=2) + "\n").encode())
    return table, source, *pictures


def load_for_writing(config: ExperimentConfig) -> None:
    """Import what `write_artifacts` needs if something has changed, which takes longer than the writing."""
    from experiments.engine import pictures, tables  # noqa: F401

    config.kind.figures()


def _draw(config: ExperimentConfig, table: Path, pictures: Sequence[Path]) -> None:
    from experiments.engine.pictures import save, styled_figure

    figures = config.kind.figures()
    if config.figure not in figures:
        raise ValueError(f"figure is {config.figure!r}; choose one of {', '.join(figures)}")
    figure = styled_figure(figures[config.figure], table)
    for picture in pictures:
        save(figure, picture)


def _write_rows(
    rows: Sequence[Mapping[str, Any]], table: Path, details: Mapping[str, Any], started: float, before: dict[str, Any]
) -> dict[str, Any]:
    """Write the table if it has changed; returns its provenance, the old one if the table came out as it was."""
    digest = digests.of_values(rows)
    same_config = before.get("config_sha256", details["config_sha256"]) == details["config_sha256"]
    written = (before.get("rows_sha256"), before.get("table_sha256"))
    if same_config and table.exists() and written == (digest, digests.of_file(table)):
        return dict(before)
    from experiments.engine.tables import provenance, write_table

    marks = {name: str(details[name]) for name in ("config_sha256", "code_sha256")}
    changed = write_table(rows, table, marks, anew=not same_config)
    seconds = round(time.monotonic() - started, 1)
    after = before if before and not changed else provenance(**details, seconds=seconds)
    return {**after, "rows_sha256": digest, "table_sha256": digests.of_file(table)}


def _figure_digest(drawn_from: Sequence[str | None], pictures: Sequence[Path]) -> str:
    return digests.of_values([*drawn_from, *(digests.of_file(picture) for picture in pictures)])


def _read_provenance(source: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(source.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content
