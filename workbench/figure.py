"""A figure of a research page from the file that asks for it: what `dpdau figure` and the notebooks in the zips run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dp.progress import Progress, silent
from workbench.views.jobs.job import Job, Tables
from workbench.views.jobs.registry import decode_question, page_name, research_page

if TYPE_CHECKING:
    from workbench.views.charts import Chart

CACHE = Path(".cache/experiments")


@dataclass(frozen=True)
class Figure:
    """The question, the tables that answer it, and the charts by name."""

    question: msgspec.Struct
    tables: Tables
    charts: Mapping[str, Chart]


def make_figure(file: str | Path, cache: Path = CACHE, report: Progress = silent) -> Figure:
    """Compute the figure that a TOML file asks for.

    Args:
        file: as it lies in the zip of a page. Files that it names lie beside it.
        cache: folder of the experiments' shards.
        report: called with a stage and the fraction done.

    Raises:
        ValueError: it is no question of a page, or it cannot be answered.
        OSError: a file cannot be read.
    """
    path = Path(file)
    try:
        question = decode_question(tomllib.loads(path.read_text(encoding="utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    page = research_page(page_name(question))
    tables = page.answer(question, Job(cache, path.parent, lambda stage, fraction, _: report(stage, fraction)))
    # As they come from the other process, so that both draw the same.
    tables = msgspec.json.decode(msgspec.json.encode(tables), type=Tables)
    return Figure(question, tables, page.charts(question, tables))
