"""What reproduces a figure: a zip with the question, its tables, its charts, a notebook and the one command."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.rows import TableRow
from workbench.views.jobs.job import Tables
from workbench.views.jobs.registry import page_name, research_page
from workbench.views.toml_text import toml_text

if TYPE_CHECKING:
    from workbench.views.charts import Chart

QUESTION_FILE = "figure.toml"
NOTEBOOK_FILE = "figure.ipynb"
COMMAND = f"dpdau figure {QUESTION_FILE}"
_LONG_AGO = (2000, 1, 1, 0, 0, 0)
_NUMBERED = re.compile(r'"((?:view|concat|layer|param|selector)_)(\d+)((?:_\w+)?)"')


def question_toml(question: msgspec.Struct) -> str:
    """A question as TOML that `registry.decode_question` takes. Fields that are None are left out."""
    return toml_text(msgspec.to_builtins(question))


def specification(chart: Chart) -> dict[str, Any]:
    """A chart as Vega-Lite. Altair numbers names by how many it has made; here they begin with 1 in every chart."""
    numbers: dict[str, int] = {}

    def renumber(found: re.Match[str]) -> str:
        number = numbers.setdefault(found[1] + found[2], len(numbers) + 1)
        return f'"{found[1]}{number}{found[3]}"'

    renamed: dict[str, Any] = json.loads(_NUMBERED.sub(renumber, json.dumps(chart.to_dict(), default=str)))
    return renamed


def table_csv(rows: Sequence[TableRow]) -> str:
    """Rows as CSV; a column that a row has not is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def files(question: msgspec.Struct, tables: Tables) -> dict[str, bytes]:
    """File name → content: the question, a CSV file a table, a Vega-Lite file a chart, a notebook."""
    charts = research_page(page_name(question)).charts(question, tables)
    content = {QUESTION_FILE: question_toml(question)}
    content |= {f"{name}.csv": table_csv(rows) for name, rows in tables.items()}
    content |= {f"{name}.vl.json": _pretty(specification(chart)) for name, chart in charts.items()}
    content[NOTEBOOK_FILE] = _pretty(_notebook(list(charts)))
    return {name: text.encode() for name, text in content.items()}


def bundle(question: msgspec.Struct, tables: Tables) -> bytes:
    """All of `files` and a README as a zip; the same bytes for the same answer."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in {"README.md": _readme(question).encode(), **files(question, tables)}.items():
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _readme(question: msgspec.Struct) -> str:
    page = research_page(page_name(question))
    here = " and ".join(f"`{name}`" for name in (QUESTION_FILE, *page.inputs(question)))
    beside = "".join(
        f"This file is not in the zip; it must lie beside `{QUESTION_FILE}`:\n\n    {name}\n    SHA-256 {sha256}\n\n"
        for name, sha256 in page.needed(question).items()
    )
    return (
        f"# A figure of the page “{page_name(question)}”\n\n"
        f"With dpdau installed, this command makes the tables and charts anew, here or in an empty folder that holds\n"
        f"{here}:\n\n    {COMMAND}\n\n{beside}"
        f"`{NOTEBOOK_FILE}` does the same in a notebook. The `.vl.json` files open in any Vega-Lite viewer.\n"
        + (f"\n{page.note}" if page.note else "")
    )


def _notebook(charts: Sequence[str]) -> Mapping[str, Any]:
    """A notebook of format 4.5, not yet run."""
    code = [
        # As pictures, because any other way loads scripts from elsewhere.
        'import altair as alt\n\nfrom workbench.figure import make_figure\n\nalt.renderers.enable("png")\n'
        f'figure = make_figure("{QUESTION_FILE}")',
        *(f"figure.charts[{name!r}]" for name in charts),
    ]
    title = {
        "id": "title",
        "cell_type": "markdown",
        "metadata": {},
        "source": f"The question stands in `{QUESTION_FILE}`. Change it there and run all cells.",
    }
    cells: list[Mapping[str, Any]] = [
        {"id": f"code-{number}", "cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [],
         "source": source}
        for number, source in enumerate(code)
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": [title, *cells], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _pretty(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
