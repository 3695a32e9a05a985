"""What holds for every research page: its answer is reproducible, and its zip makes the same figure anew."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest

from tests.workbench.views.questions import QUESTIONS, write_inputs
from workbench.views.bundle import COMMAND, NOTEBOOK_FILE, bundle, files, specification
from workbench.views.jobs.job import JobState
from workbench.views.jobs.process import answer
from workbench.views.jobs.registry import RESEARCH_PAGES, page_name, research_page

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_stays_open")]


def test_every_page_has_a_question_here() -> None:
    assert [page_name(question) for question in QUESTIONS] == list(RESEARCH_PAGES)


@pytest.mark.parametrize("question", QUESTIONS, ids=page_name)
def test_the_zip_makes_the_same_figure_in_an_empty_folder(question: msgspec.Struct, tmp_path: Path) -> None:
    told: list[JobState] = []
    given = write_inputs(question, tmp_path)
    state = answer(question, tmp_path / "cache", told.append, lambda: True, given)
    assert state.error is None
    assert len({told_state.fraction for told_state in told}) > 1
    decoded = msgspec.json.decode(msgspec.json.encode(state), type=JobState)
    assert decoded.tables == state.tables
    content = bundle(question, decoded.tables)
    assert content == bundle(question, decoded.tables)
    packed = tmp_path / "packed"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(packed)
    empty = tmp_path / "empty"
    empty.mkdir()
    readme = (packed / "README.md").read_text()
    assert COMMAND in readme
    page = research_page(page_name(question))
    for name in ("figure.toml", *page.inputs):
        (empty / name).write_bytes((packed / name).read_bytes())
        assert f"`{name}`" in readme
    assert page.note in readme
    subprocess.run(
        [sys.executable, "-m", "workbench.cli.main", *COMMAND.split()[1:]], cwd=empty, check=True, capture_output=True
    )
    for name in files(question, decoded.tables):
        assert (empty / name).read_bytes() == (packed / name).read_bytes(), name
    charts = research_page(page_name(question)).charts(question, decoded.tables)
    assert charts
    for name in charts:
        assert (empty / f"{name}.svg").read_bytes().startswith(b"<svg")
        assert (empty / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("question", QUESTIONS, ids=page_name)
def test_charts_do_not_depend_on_what_was_drawn_before(question: msgspec.Struct, tmp_path: Path) -> None:
    page = research_page(page_name(question))
    tables = answer(question, tmp_path, lambda state: None, lambda: True, write_inputs(question, tmp_path)).tables
    first, second = (
        {name: specification(chart) for name, chart in page.charts(question, tables).items()} for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("question", QUESTIONS[:2], ids=page_name)
def test_the_notebook_of_a_zip_runs(question: msgspec.Struct, tmp_path: Path) -> None:
    given = write_inputs(question, tmp_path)
    tables = answer(question, tmp_path / ".cache" / "experiments", lambda state: None, lambda: True, given).tables
    for name, content in files(question, tables).items():
        (tmp_path / name).write_bytes(content)
    command = ["jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", NOTEBOOK_FILE]
    subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, check=True, capture_output=True)
    ran = json.loads((tmp_path / NOTEBOOK_FILE).read_text())
    shown = [output for cell in ran["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]]
    charts = research_page(page_name(question)).charts(question, tables)
    assert sum("image/png" in output.get("data", {}) for output in shown) == len(charts)
