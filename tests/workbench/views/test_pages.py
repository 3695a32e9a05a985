"""What holds for every research page: its answer is reproducible, and its zip makes the same figure anew."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from tests.laws import each
from tests.workbench.views.questions import QUESTIONS, write_inputs
from workbench.views.bundle import COMMAND, NOTEBOOK_FILE, bundle, files, specification
from workbench.views.jobs.job import JobState
from workbench.views.jobs.process import answer
from workbench.views.jobs.registry import RESEARCH_PAGES, page_name, research_page

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_stays_open")]


def test_every_page_has_a_question_here() -> None:
    assert [page_name(question) for question in QUESTIONS] == list(RESEARCH_PAGES)


class Answered(NamedTuple):
    """A question's answer, how far it was on the way, and the folder of its inputs and its cache."""

    state: JobState
    told: list[JobState]
    folder: Path


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answered]:
    """Page → the answer to its question."""
    found = {}
    for question in QUESTIONS:
        folder, told = tmp_path_factory.mktemp(page_name(question)), list[JobState]()
        given = write_inputs(question, folder)
        state = answer(question, folder / "cache", told.append, lambda: True, given)
        found[page_name(question)] = Answered(state, told, folder)
    return found


@pytest.fixture(scope="module")
def figures(answers: dict[str, Answered]) -> dict[str, Path]:
    """Page → the folder in which its zip has made its figure anew; the first by the command, the others in one process.

    A process takes longer to start than a figure to make.
    """
    empty = {}
    for question in QUESTIONS:
        name = page_name(question)
        packed, empty[name] = answers[name].folder / "packed", answers[name].folder / "empty"
        empty[name].mkdir()
        with zipfile.ZipFile(io.BytesIO(bundle(question, answers[name].state.tables))) as archive:
            archive.extractall(packed)
        for given in ("figure.toml", *research_page(name).inputs(question)):
            (empty[name] / given).write_bytes((packed / given).read_bytes())
    (first, *others), words = empty.values(), COMMAND.split()[1:]
    subprocess.run([sys.executable, "-m", "workbench.cli.main", *words], cwd=first, check=True, capture_output=True)
    script = f"""
import os, sys
from workbench.cli.main import main
for folder in sys.argv[1:]:
    os.chdir(folder)
    main({words}, standalone_mode=False)
"""
    subprocess.run([sys.executable, "-c", script, *map(str, others)], cwd=first, check=True, capture_output=True)
    return empty


@each("question", QUESTIONS)
def test_the_zip_makes_the_same_figure_in_an_empty_folder(
    question: msgspec.Struct, answers: dict[str, Answered], figures: dict[str, Path]
) -> None:
    page, given = research_page(page_name(question)), answers[page_name(question)]
    made, packed = figures[page_name(question)], given.folder / "packed"
    assert given.state.error is None
    assert len({told.fraction for told in given.told}) > 1
    decoded = msgspec.json.decode(msgspec.json.encode(given.state), type=JobState)
    assert decoded.tables == given.state.tables
    with zipfile.ZipFile(io.BytesIO(bundle(question, decoded.tables))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            file.name: file.read_bytes() for file in packed.iterdir()
        }
    assert bundle(question, decoded.tables) == bundle(question, decoded.tables)
    readme = (packed / "README.md").read_text()
    assert COMMAND in readme
    for name in ("figure.toml", *page.inputs(question)):
        assert f"`{name}`" in readme
    assert page.note in readme
    for name in files(question, decoded.tables):
        assert (made / name).read_bytes() == (packed / name).read_bytes(), name
    charts = page.charts(question, decoded.tables)
    assert charts
    for name in charts:
        assert (made / f"{name}.svg").read_bytes().startswith(b"<svg")
        assert (made / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@each("question", QUESTIONS)
def test_charts_do_not_depend_on_what_was_drawn_before(question: msgspec.Struct, answers: dict[str, Answered]) -> None:
    page, tables = research_page(page_name(question)), answers[page_name(question)].state.tables
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
