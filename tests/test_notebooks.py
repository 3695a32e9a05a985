"""The notebooks: what nbval does not see, and that nbval sees what it should.

`make test` runs every notebook under strict nbval, which compares each output with the stored one. It says nothing of a
cell that was never run, so here every code cell must have an output and its place in the order. Two kinds of cells are
told apart by their tags: the first one holds the parameters, and those with sliders, whose pages nbval cannot compare,
show nothing else.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from math import comb
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import altair as alt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dp.intervals.binomial import clopper_pearson
from experiments.notebook import curves, picture, round_coordinates, small_multiples
from tests.laws import each
from tests.patience import PATIENCE_SECONDS
from tests.places import ROOT, absent_logs

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SANITISE = FOLDER / "sanitise.cfg"

NAMES = (
    "01_quick_start",
    "02_what_w_bound_does",
    "03_choosing_a_mechanism",
    "04_does_the_interval_cover",
    "05_attacks",
    "06_sketches",
    "07_how_a_year_is_accounted",
    "08_the_whole_dashboard",
)
IMPORTED = {"dp", "experiments", "numpy", "pandas", "altair", "matplotlib", "IPython"}
STANDARD = {"dataclasses", "datetime", "pathlib", "statistics", "tempfile"}
MOST_LINES = 10
MOST_BYTES = 500_000

PARAMETERS, WIDGET = {"tags": ["parameters"]}, {"tags": ["nbval-ignore-output"]}
VIEW, STATE = "application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json"

Notebook = dict[str, Any]


def read(path: Path) -> Notebook:
    notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_cells(notebook: Notebook) -> list[Notebook]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: Notebook) -> str:
    return "".join(cell["source"])


def logic(text: str) -> list[str]:
    """The lines of a cell that do something: no imports, comments, blank lines or lone brackets."""
    imported = {
        line
        for node in ast.parse(text).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = [line.strip() for number, line in enumerate(text.splitlines(), start=1) if number not in imported]
    return [line for line in lines if not re.fullmatch(r"(#.*|[()\[\]{},]*|\)  # fmt: skip)", line)]


def modules(text: str) -> set[str]:
    """The packages that a cell imports."""
    nodes = list(ast.walk(ast.parse(text)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {
        name.split(".")[0]
        for name in plain | {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}
    }


def widget_state(notebook: Notebook) -> Notebook:
    """What a page without a kernel knows of the widgets: a model by its id."""
    state: Notebook = notebook["metadata"].get("widgets", {}).get(STATE, {}).get("state", {})
    return state


def shows_a_widget(cell: Notebook, known: Notebook) -> bool:
    """Whether a cell has one slider for its only output, whose pages are stored."""
    views = [output.get("data", {}) for output in cell["outputs"]]
    return [set(data) for data in views] == [{VIEW, "text/plain"}] and views[0][VIEW]["model_id"] in known


def faults(notebook: Notebook) -> Iterator[str]:
    """What is wrong with a notebook that nbval would pass."""
    cells, known = code_cells(notebook), widget_state(notebook)
    if not cells:
        yield "no code"
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield "a kernel that a plain machine lacks"
    if [cell["execution_count"] for cell in cells] != list(range(1, len(cells) + 1)):
        yield "not executed from top to bottom"
    text = json.dumps(notebook, ensure_ascii=False)
    if found := re.search(r"/(?:home|root|tmp|Users|private|var|mnt|work|opt|usr)/\w|[A-Z]:\\\\\w", text):
        yield f"a path of one machine: {found[0]}"
    if found := re.search(
        r"(?i)\b(?:api[_-]?key|password|secret[_-]?key|token)\b\s*[=:]\s*\S|BEGIN \w* ?PRIVATE KEY", text
    ):
        yield f"a secret: {found[0]}"
    for number, cell in enumerate(cells, start=1):
        written = source(cell)
        if (number == 1) != (cell["metadata"] == PARAMETERS):
            yield f"cell {number} holds the parameters, or should"
        elif number > 1 and not cell["outputs"]:
            yield f"cell {number} has no output"
        if any(output["output_type"] == "error" or output.get("name") == "stderr" for output in cell["outputs"]):
            yield f"cell {number} shows an error or a warning"
        if cell["metadata"] not in ({}, PARAMETERS) and not (
            cell["metadata"] == WIDGET and shows_a_widget(cell, known)
        ):
            yield f"cell {number} has metadata, such as tags or times"
        if re.search(r"NBVAL_|PYTEST_VALIDATE", written):
            yield f"cell {number} tells nbval to look away"
        if number > 1 and len(logic(written)) > MOST_LINES:
            yield f"cell {number} has {len(logic(written))} lines of logic"
        if foreign := modules(written) - IMPORTED - STANDARD:
            yield f"cell {number} imports {', '.join(sorted(foreign))}"
        for output in cell["outputs"]:
            if compared := set(output.get("data", {})) & {"image/png", "image/jpeg"}:
                yield f"cell {number} shows {', '.join(compared)}, which nbval does not compare"
            if any("vega" in kind for kind in output.get("data", {})):
                yield f"cell {number} shows a chart that is not a plain picture"


def test_the_notebooks_are_there() -> None:
    assert tuple(path.stem for path in NOTEBOOKS) == NAMES


@each("path", NOTEBOOKS)
def test_nothing_that_nbval_passes_over_is_wrong(path: Path) -> None:
    assert list(faults(read(path))) == []
    assert path.stat().st_size < MOST_BYTES


@each("path", NOTEBOOKS)
def test_the_question_comes_first_and_its_answer_next(path: Path) -> None:
    first = read(path)["cells"][0]
    text = source(first)
    assert first["cell_type"] == "markdown"
    assert re.match(r"# .+\n\n\*\*In one sentence:\*\* ", text), text[:80]
    assert text.count("\n# ") == 0


def test_a_notebook_is_skipped_for_the_logs_that_are_absent(tmp_path: Path) -> None:
    path = tmp_path / "small.ipynb"
    path.write_text('"LOGS = \\"shared/data/no.csv.gz\\", \\"shared/data/none.csv\\"\\n"', encoding="utf-8")
    assert absent_logs(path) == ["no.csv.gz", "none.csv"]
    path.write_text('"LOG = \\"log.csv\\"\\n"', encoding="utf-8")
    assert absent_logs(path) == []


@each("path", NOTEBOOKS)
def test_pictures_say_what_there_is_to_see(path: Path) -> None:
    for cell in code_cells(read(path)):
        for output in cell["outputs"]:
            if "image/svg+xml" in output.get("data", {}):
                svg, words = ("".join(output["data"][kind]) for kind in ("image/svg+xml", "text/plain"))
                assert re.fullmatch(r"\[.{20,}\]", words)
                assert "<dc:date>" not in svg
                assert not re.search(r"clip\d", svg), "an id that counts over a process"


def changed(notebook: Notebook, **changes: Any) -> Notebook:
    """A copy with other values in its second code cell, the first one after the parameters."""
    copied = copy.deepcopy(notebook)
    code_cells(copied)[1].update(changes)
    return copied


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"outputs": []}, "cell 2 has no output"),
        ({"execution_count": None}, "not executed from top to bottom"),
        ({"execution_count": 7}, "not executed from top to bottom"),
        ({"source": ["import requests\n", "1"]}, "cell 2 imports requests"),
        ({"source": ["from workbench.cli.main import main\n", "1"]}, "cell 2 imports workbench"),
        ({"source": ["# NBVAL_IGNORE_OUTPUT\n", "1"]}, "cell 2 tells nbval to look away"),
        ({"source": [f"x{number} = 1\n" for number in range(11)]}, "cell 2 has 11 lines of logic"),
        ({"source": ["open('/home/ada/log.csv')"]}, "a path of one machine: /home/a"),
        ({"source": ["api_key = 'x'"]}, "a secret: api_key = '"),
        ({"metadata": {"tags": ["nbval-skip"]}}, "cell 2 has metadata, such as tags or times"),
        ({"metadata": WIDGET}, "cell 2 has metadata, such as tags or times"),
        ({"metadata": PARAMETERS}, "cell 2 holds the parameters, or should"),
        ({"outputs": [{"output_type": "stream", "name": "stderr", "text": ["Warning"]}]}, "cell 2 shows an error or a"),
        ({"outputs": [{"output_type": "display_data", "data": {"image/png": "x"}}]}, "cell 2 shows image/png"),
        ({"outputs": [{"output_type": "display_data", "data": {"application/vnd.vega.v6+json": {}}}]}, "cell 2 shows"),
    ],
)  # fmt: skip
def test_each_fault_is_seen(changes: Notebook, fault: str) -> None:
    found = list(faults(changed(read(NOTEBOOKS[0]), **changes)))
    assert len(found) == 1, found
    assert found[0].startswith(fault)


def test_lines_of_logic_are_counted_as_a_reader_would() -> None:
    text = "import a\nfrom b import (\n    c,\n)\n\n# a remark\nx = f(\n    1,\n)\nx\n"
    assert logic(text) == ["x = f(", "1,", "x"]


SMALL: Notebook = {
    "cells": [
        {
            "cell_type": "code", "id": "a", "metadata": {}, "execution_count": 1, "source": ["2.5 + 1"],
            "outputs": [
                {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": ["3.5"]}}
            ],
        },
        {
            "cell_type": "code", "id": "b", "metadata": {}, "execution_count": 2,
            "source": [
                "import altair as alt\nimport pandas as pd\nfrom experiments.notebook import picture\n\n",
                "table = pd.DataFrame({'x': [1, 2], 'y': [2, 1]})\n",
                "chart = alt.Chart(table).mark_line(clip=True).encode(x='x', y='y')\n",
                "picture(chart, 'a line that falls')",
            ],
            "outputs": [],
        },
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}  # fmt: skip


def falling() -> alt.Chart:
    table = pd.DataFrame({"x": [1, 2], "y": [2, 1]})
    chart: alt.Chart = alt.Chart(table).mark_line(clip=True).encode(x="x", y="y")
    return chart


def with_pictures(notebook: Notebook) -> Notebook:
    """The small notebook with the picture's output as this process makes it, not as the kernel does."""
    made = picture(falling(), "a line that falls")
    data = {"image/svg+xml": [made.svg], "text/plain": [repr(made)]}
    copied = copy.deepcopy(notebook)
    output = {"output_type": "execute_result", "execution_count": 2, "metadata": {}, "data": data}
    copied["cells"][1]["outputs"] = [output]
    return copied


def nbval(notebook: Notebook, folder: Path) -> subprocess.CompletedProcess[str]:
    """Strict nbval on a notebook, as `make test` runs it."""
    path = folder / "small.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    command = re.search(r"^NBVAL := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert command is not None
    arguments = command[1].replace("notebooks/sanitise.cfg", str(SANITISE)).split()
    # Jupyter writes its connection files where it is told; the project's settings go with the notebook.
    environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(folder / "runtime"), "IPYTHONDIR": str(folder / "ipython")}
    return subprocess.run(
        [sys.executable, "-m", *arguments, "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", str(path)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip


@pytest.mark.slow
def test_the_same_drawing_is_the_same_picture() -> None:
    first, second = (picture(falling(), "a line that falls") for _ in range(2))
    assert first == second
    assert "clip-1-" in first.svg, "the power of this test: Vega counts the ids of what it clips"
    other = picture(falling().properties(width=123), "a line that falls")
    assert set(re.findall(r"clip-1-\w+", first.svg)).isdisjoint(re.findall(r"clip-1-\w+", other.svg))


def test_matplotlib_pictures_carry_no_date_and_no_version() -> None:
    def drawn() -> str:
        figure = Figure()
        figure.subplots().plot([1.0, 2.0], [2.0, 1.0])
        return picture(figure, "a line that falls").svg

    assert drawn() == drawn()
    assert "date" not in drawn()
    assert "Matplotlib" not in drawn()
    ElementTree.fromstring(drawn())


@pytest.mark.slow
def test_pictures_outlive_the_last_digits_of_a_processor() -> None:
    table = pd.DataFrame({"x": np.arange(1.0, 9.0), "y": np.sqrt(np.arange(1.0, 9.0)), "who": "a"})
    nudged = table.assign(y=np.nextafter(table["y"], 9.0))
    assert not table.equals(nudged)
    assert picture(curves(table, "x", "y", "who"), "a root") == picture(curves(nudged, "x", "y", "who"), "a root")


@each(
    ("svg", "expected"),
    [
        ("M 12.3456789 -0.0012 L 7 8.5", "M 12.35 0 L 7 8.5"),
        ("translate(1.2345 6) scale(0.015625 -0.015625)", "translate(1.23 6) scale(0.015625 -0.015625)"),
        ("M0,7.105427357601002e-15h1", "M0,0h1"),
        ("version 1.1 of 99.999", "version 1.1 of 100"),
    ],
)  # fmt: skip
def test_coordinates_are_rounded_and_factors_are_not(svg: str, expected: str) -> None:
    assert round_coordinates(svg) == expected


def test_pictures_refuse_what_they_cannot_be() -> None:
    with pytest.raises(ValueError, match="description is ''"):
        picture(falling(), "")
    with pytest.raises(ValueError, match="one line"):
        picture(falling(), "two\nlines")
    with pytest.raises(TypeError, match="drawing is a dict"):
        picture({}, "no drawing")


def test_curves_refuse_missing_columns_and_a_crowd() -> None:
    table = pd.DataFrame({"x": range(9), "y": range(9), "who": range(9)})
    with pytest.raises(ValueError, match="no column 'z'; it has 'x', 'y', 'who'"):
        curves(table, "x", "z", "who")
    with pytest.raises(ValueError, match="'who' has 9 values"):
        curves(table, "x", "y", "who")


@pytest.mark.slow
def test_curves_name_their_axes_whatever_is_in_the_name() -> None:
    table = pd.DataFrame({"error [users].": [1.0, 100.0], "W: 1": [1.0, 2.0], "who": ["a", "b"], "at": ["p", "q"]})
    made = picture(curves(table, "W: 1", "error [users].", "who", log="y", panel="at"), "two panels")
    assert {"W: 1", "error [users].", "p", "q"} <= set(re.findall(r">([^<>]+)</text>", made.svg))
    ElementTree.fromstring(made.svg)


def counted(**changes: Any) -> pd.DataFrame:
    """Two segments, whose names are not in the order of the alphabet, over three days."""
    days = pd.date_range("2024-03-30", periods=3, tz="UTC").repeat(2)
    numbers = dict.fromkeys(["count", "count_low", "count_high", "truth"], range(6))
    return pd.DataFrame({"day": days, "segment": ["web", "ios"] * 3, **numbers} | changes)


def test_small_multiples_stand_in_the_order_of_their_rows_and_name_their_axes() -> None:
    made = picture(small_multiples(counted(), "MAU [users]", dates="%d"), "two panels side by side")
    words = re.findall(r">([^<>]+)</text>", made.svg)
    assert [word for word in words if word in ("ios", "web")] == ["web", "ios"]
    assert words.count("MAU [users]") == 2
    assert {"count", "truth", "30", "31", "01"} <= set(words)


def test_small_multiples_refuse_missing_columns_and_days_of_no_time_zone() -> None:
    with pytest.raises(ValueError, match="table has no column 'truth'; it has 'day', 'segment'"):
        small_multiples(counted().drop(columns="truth"), "MAU [users]", dates="%d")
    with pytest.raises(ValueError, match=r"days are of type datetime64.*; they must be in UTC"):
        small_multiples(counted(day=pd.Timestamp("2024-03-30")), "MAU [users]", dates="%d")


@each(("successes", "trials"), [(0, 10), (3, 10), (95, 100), (40, 40)])
def test_the_band_of_a_share_is_where_the_binomial_tails_are_right(successes: int, trials: int) -> None:
    def at_most(number: int, share: float) -> float:
        return sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(number + 1))

    low, high = clopper_pearson(successes, trials, 0.95)
    assert low == 0 if successes == 0 else 1 - at_most(successes - 1, low) == pytest.approx(0.025, rel=1e-6)
    assert high == 1 if successes == trials else at_most(successes, high) == pytest.approx(0.025, rel=1e-6)


@each(("arguments", "words"), [((3, 2, 0.9), "successes is 3"), ((0, 0, 0.9), "of 0"), ((1, 2, 1.0), "level is 1.0")])
def test_the_band_of_a_share_refuses(arguments: tuple[int, int, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        clopper_pearson(*arguments)


@pytest.mark.slow
def test_nbval_passes_what_comes_out_again_and_fails_on_one_wrong_digit(tmp_path: Path) -> None:
    right = with_pictures(SMALL)
    passed = nbval(right, tmp_path)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "2 passed" in passed.stdout
    assert not list((tmp_path / "runtime").glob("kernel-*.json")), "a kernel is left running"
    number, drawing = copy.deepcopy(right), copy.deepcopy(right)
    number["cells"][0]["outputs"][0]["data"]["text/plain"] = ["3.6"]
    svg = right["cells"][1]["outputs"][0]["data"]["image/svg+xml"][0]
    moved = re.sub(r'd="M0,(\d)', lambda found: f'd="M0,{9 - int(found[1])}', svg, count=1)
    assert moved != svg
    drawing["cells"][1]["outputs"][0]["data"]["image/svg+xml"] = [moved]
    for wrong, cell in ((number, "Cell 0"), (drawing, "Cell 1")):
        failed = nbval(wrong, tmp_path)
        assert failed.returncode == 1, failed.stdout + failed.stderr
        assert "1 failed, 1 passed" in failed.stdout
        assert f"{cell}: Cell outputs differ" in failed.stdout


@pytest.mark.slow
def test_nbval_is_blind_to_a_cell_that_never_ran(tmp_path: Path) -> None:
    """The reason for `faults`: should nbval learn to see it, this test may go."""
    never = copy.deepcopy(SMALL)
    one = never["cells"][0]
    first = {**one, "id": "c", "metadata": PARAMETERS, "source": ["EPSILON = 1.0"], "outputs": []}
    never["cells"] = [first, {**one, "execution_count": None, "outputs": []}]
    assert nbval(never, tmp_path).returncode == 0
    assert "cell 2 has no output" in list(faults(never))
