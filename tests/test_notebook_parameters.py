"""Every notebook follows from its first cell: no number is written by hand below it, and other values change it all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ipywidgets import Widget

from experiments.notebook import Prose, prose
from experiments.sliders import VIEW, slider
from tests.laws import each
from tests.places import absent_logs
from tests.test_notebooks import NOTEBOOKS, Notebook, code_cells, read, source, widget_state

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

# Digits stand in code, in references and in citations only; a percent sign after a number that is filled in.
ALLOWED = re.compile(r"`[^`]*`|notebook \d\d|section \d+(?:\.\d+)*|\([^()]*\b(?:19|20)\d\d\)")
NUMBER = re.compile(r"\d|%|per cent")


def parameters(notebook: Notebook) -> dict[str, Any]:
    """The values of the first code cell, which has nothing but assignments of literals to names in capitals."""
    values = {}
    for node in ast.parse(source(code_cells(notebook)[0])).body:
        assert isinstance(node, ast.Assign), ast.unparse(node)
        (target,) = node.targets
        assert isinstance(target, ast.Name), ast.unparse(node)
        assert target.id.isupper(), target.id
        values[target.id] = ast.literal_eval(node.value)
    return values


def sentences(code: str) -> Iterator[str]:
    """The literal texts with a space in them: what a cell says, without what it fills in."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def written_numbers(notebook: Notebook) -> list[str]:
    """Texts that state a number by hand."""
    markdown = [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    said = [text for cell in code_cells(notebook)[1:] for text in sentences(source(cell))]
    found = [text for text in markdown if NUMBER.search(ALLOWED.sub("", text))]
    return found + [text for text in said if re.search(r"\d", ALLOWED.sub("", text))]


@every_notebook
def test_the_first_code_cell_holds_parameters_and_each_is_used(path: Path) -> None:
    notebook = read(path)
    below = [node for cell in code_cells(notebook)[1:] for node in ast.walk(ast.parse(source(cell)))]
    used = {node.id for node in below if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    values = parameters(notebook)
    assert "DELTA" in values
    assert values.keys() <= used


@every_notebook
def test_no_number_is_written_by_hand(path: Path) -> None:
    assert written_numbers(read(path)) == []


@each(
    ("kind", "text"),
    [
        ("markdown", "It is within 23 % of the best."),
        ("markdown", "At ε = 1 nothing is lost."),
        ("markdown", "It loses three per cent."),
        ("code", "prose('From the 3rd release on')"),
        ("code", "picture(chart, f'{x} over 120 days')"),
    ],
)
def test_numbers_that_are_written_by_hand_are_seen(kind: str, text: str) -> None:
    first = {"cell_type": "code", "source": ["EPSILON = 1.0"]}
    assert len(written_numbers({"cells": [first, {"cell_type": kind, "source": [text]}]})) == 1


def test_references_and_what_is_filled_in_are_no_numbers() -> None:
    text = "See notebook 04 and section 17.2 (Chen, Sain, Guo 2012); `Laplace(1/ε)` is noise."
    cells = [
        {"cell_type": "markdown", "source": [text]},
        {"cell_type": "code", "source": ["EPSILON = 1.0"]},
        {"cell_type": "code", "source": ["prose(f'ε is {EPSILON:.2f} at most')"]},
    ]
    assert written_numbers({"cells": cells}) == []


@every_notebook
def test_numbers_are_shown_as_people_read_them(path: Path) -> None:
    outputs = [output.get("data", {}) for cell in code_cells(read(path)) for output in cell["outputs"]]
    shown = ["".join(data.get("text/markdown", "")) for data in outputs]
    for data in outputs:
        shown += re.findall(r">([^<>]+)</text>", "".join(data.get("image/svg+xml", "")))
    assert [text for text in shown if re.search(r"\de[+-]?\d|(?<![\w-])-\d", text)] == []


def run(notebook: Notebook, **changes: Any) -> list[tuple[str, str]]:
    """Source and text of every cell that says sentences, with other parameters."""
    names: dict[str, Any] = {"__name__": "__main__"}
    first, *others = code_cells(notebook)
    exec(source(first), names)
    assert changes.keys() <= names.keys()
    names |= changes
    said = []
    for cell in others:
        tree = ast.parse(source(cell))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<cell>", "exec"), names)
        shown = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last is not None else None
        if isinstance(shown, Prose):
            said.append((source(cell), shown.text))
    return said


# What makes a run short, and what then is changed.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "01": (
        {"LOG": {"users": 60, "days": 40, "seed": 1}},
        {"LOG": {"users": 70, "days": 41, "seed": 1}, "EPSILON": 2.0},
    ),
    "02": (
        {"LOG": {"users": 200, "days": 60, "delete_rate": 0.3, "seed": 1}, "W_BOUNDS": (2, 6)},
        {"W_BOUND": 3, "EPSILON": 0.5},
    ),
    "03": ({"HORIZON": 90, "HORIZONS": (60, 90)}, {"EPSILON": 0.5, "HORIZON": 100, "HORIZONS": (50, 100)}),
    "04": ({"TICKS": 20, "TRIALS": 500}, {"TICKS": 21, "TRIALS": 600, "LEVEL": 0.9, "EPSILON": 2.0}),
    "05": (
        {"TICKS": 35, "TRIALS": 4_000, "CROWD": 3_000, "STRANGERS": 200, "ATTEMPTS": 3},
        {"EPSILON": 2.0, "STRANGERS": 300, "ATTEMPTS": 4},
    ),
    "06": (
        {"LOG": {"users": 500, "days": 40, "seed": 1}, "RATE": 0.5, "BYTES": (1_000, 10_000)},
        {"RATE": 0.25, "EPSILON": 2.0},
    ),
    "07": (
        {"RELEASES": 100, "COUNTS": (1, 4)},
        {"RELEASES": 200, "COUNTS": (2, 5), "EPSILON": 2.0, "DAILY_EPSILON": 0.2},
    ),
    "08": (
        {"SHOP": {"first": "2011-01-10", "last": "2011-04-09"},
         "COMPILER": {"first": "2020-01-01", "last": "2021-12-31"}},
        {"SHOP": {"first": "2011-01-10", "last": "2011-04-20"}, "EPSILON": 2.0},
    ),
}  # fmt: skip
OF_STORED_RESULTS = re.compile(r"\.finding import|\bshop\[")
"""Their sentences are those of the experiment, with parameters of its own."""


@pytest.mark.slow
@pytest.mark.usefixtures("no_widgets")
@every_notebook
def test_other_parameters_change_every_sentence(path: Path) -> None:
    if logs := absent_logs(path):
        pytest.skip(f"{', '.join(logs)} is not in shared/data")
    short, other = CHANGES[path.stem[:2]]
    notebook = read(path)
    before, after = run(notebook, **short), run(notebook, **short | other)
    assert len(before) == len(after) > 0
    same = [text for (code, text), (_, now) in zip(before, after, strict=True) if text == now
            and not OF_STORED_RESULTS.search(code)]  # fmt: skip
    assert same == []


def test_prose_is_a_paragraph() -> None:
    made = prose("One.", "Two.")
    assert made._repr_markdown_() == repr(made) == "One. Two."
    with pytest.raises(ValueError, match="none may be empty"):
        prose("One.", " ")


@pytest.fixture
def no_widgets() -> Iterator[None]:
    """Nothing is left of the sliders of this process, as in a new kernel."""
    Widget.close_all()
    yield
    Widget.close_all()


@pytest.mark.usefixtures("no_widgets")
def test_the_same_pages_make_the_same_slider() -> None:
    pages = {"1": "<p>a</p>", "2": "<p>b</p>"}
    first = slider("size", pages, "2", "a slider")._repr_mimebundle_()
    assert first["text/plain"] == "[a slider]"
    Widget.close_all()
    assert slider("size", pages | {"2": "<p>c</p>"}, "2", "a slider")._repr_mimebundle_() != first
    made = slider("size", pages, "2", "a slider")
    assert made._repr_mimebundle_() == first
    knob, stack = made.widget.children
    assert (knob.index, stack.selected_index) == (1, 1)


@pytest.mark.usefixtures("no_widgets")
def test_a_slider_that_is_made_again_does_not_take_the_place_of_a_living_one() -> None:
    first, second = (slider("size", {"1": "a", "2": "b"}, "2", "a slider") for _ in range(2))
    assert first.widget.model_id != second.widget.model_id


def test_sliders_refuse_what_cannot_be_moved() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        slider("size", {"1": "a"}, "1", "a slider")
    with pytest.raises(ValueError, match="start is '3'; choose one of '1', '2'"):
        slider("size", {"1": "a", "2": "b"}, "3", "a slider")


@each("name", ["02", "06", "07"])
def test_sliders_move_without_a_kernel(name: str) -> None:
    """The page links the slider to its pages, all of which are stored."""
    notebook = read(next(path for path in NOTEBOOKS if path.stem.startswith(name)))
    models = widget_state(notebook)
    (link,) = (model["state"] for model in models.values() if model["model_name"] == "LinkModel")
    (knob, moved), (stack, shown) = (
        (models[place.removeprefix("IPY_MODEL_")]["state"], trait) for place, trait in (link["source"], link["target"])
    )
    assert (moved, shown) == ("index", "selected_index")
    pages = [models[place.removeprefix("IPY_MODEL_")]["state"]["value"] for place in stack["children"]]
    assert len(set(pages)) == len(pages) == len(knob["_options_labels"]) > 1
    assert knob[moved] == stack[shown]
    assert any(VIEW in output.get("data", {}) for cell in code_cells(notebook) for output in cell["outputs"])
