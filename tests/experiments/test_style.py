"""The look of figures: every mechanism can be told from every other, also without colours; labels can be read."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dp.names import MECHANISMS
from experiments.engine.labels import letter_panels, plain_ticks
from experiments.engine.style import COLOURS, DASHES, MARKERS, SETTINGS, SHAPES, SKETCH_COLOURS, dash, ink, luminance
from experiments.notebook import curves
from tests.experiments.test_experiments import XYZ, lab, linear_rgb
from tests.laws import each
from workbench.views.tradeoff.chart import error_chart

GREY_APART = 10.0
"""Difference in lightness L* between two areas that a print without colours keeps apart; about 1 is just noticeable."""


def lightness(colour: str) -> float:
    """L* of the colour's grey."""
    return float(lab(np.full(3, XYZ[1] @ linear_rgb(colour)))[0])


def test_every_mechanism_has_a_colour_a_marker_and_a_dash() -> None:
    assert list(COLOURS) == list(MARKERS) == list(DASHES) == list(MECHANISMS)


def test_mechanisms_can_be_told_apart_in_greyscale() -> None:
    assert len({(MARKERS[name], DASHES[name]) for name in MECHANISMS}) == len(MECHANISMS)
    for one, other in itertools.combinations(MECHANISMS, 2):
        # A chart whose dashes mean something else has markers and greys.
        grey = abs(lightness(COLOURS[one]) - lightness(COLOURS[other])) > GREY_APART
        assert grey or MARKERS[one] != MARKERS[other], (one, other)
        # A line without markers has dashes and greys.
        assert grey or DASHES[one] != DASHES[other], (one, other)


def test_every_marker_has_a_shape_of_its_own_in_charts() -> None:
    assert set(MARKERS.values()) == set(SHAPES)
    assert len(set(SHAPES.values())) == len(SHAPES)


def test_charts_take_marks_from_the_registry() -> None:
    numbers = ("rmse", "rmse_p05", "rmse_p95", "total_rms", "noise_rms", "bias_rms", "epsilon")
    rows = [
        {"mechanism": name, "w_bound": bound} | dict.fromkeys(numbers, 1.0) for name in MECHANISMS for bound in (2, 4)
    ]
    dots = error_chart(rows, "w_bound", 2, "W_BOUND").to_dict()["layer"][-1]["encoding"]
    assert dots["color"]["scale"] == {"domain": list(MECHANISMS), "range": list(COLOURS.values())}
    assert dots["shape"]["scale"] == {
        "domain": list(MECHANISMS), "range": [SHAPES[MARKERS[name]] for name in MECHANISMS],
    }  # fmt: skip


def test_curves_of_notebooks_take_marks_from_the_registry() -> None:
    table = pd.DataFrame([(name, x, x) for name in MECHANISMS for x in (1, 2)], columns=["mechanism", "x", "y"])
    marks = curves(table, "x", "y", "mechanism").to_dict()["encoding"]
    assert marks["color"]["scale"]["range"] == list(COLOURS.values())
    assert marks["shape"]["scale"]["range"] == [SHAPES[MARKERS[name]] for name in MECHANISMS]
    assert marks["strokeDash"]["scale"]["range"] == [list(DASHES[name]) or [1, 0] for name in MECHANISMS]
    others = curves(table.replace("gaussian", "what is no mechanism").head(8), "x", "y", "mechanism").to_dict()
    assert "strokeDash" not in others["encoding"]


def test_matplotlib_draws_every_mark() -> None:
    figure = Figure()
    panel = figure.subplots()
    for name in MECHANISMS:
        panel.plot([0, 1], [0, 1], color=COLOURS[name], marker=MARKERS[name], linestyle=dash(name))
    figure.draw_without_rendering()


@each("colour", [*COLOURS.values(), *SKETCH_COLOURS.values(), "#FFFFFF", "#000000", "#FFFF00"])
def test_text_in_a_colour_can_be_read_on_white(colour: str) -> None:
    assert luminance(colour) == pytest.approx(float(XYZ[1] @ linear_rgb(colour)), abs=1e-3)
    assert 1.05 / (luminance(ink(colour)) + 0.05) >= 4.5
    assert ink(ink(colour)) == ink(colour)


def test_panels_have_letters_where_there_are_several() -> None:
    several, one = Figure().subplots(1, 3), Figure().subplots(1, 1)
    for panel in (*several, one):
        panel.set_title("words", loc="left")
    letter_panels(several)
    letter_panels([one])
    titles = [panel.get_title(loc="left") for panel in (*several, one)]
    assert titles == ["$\\mathbf{a}$   words", "$\\mathbf{b}$   words", "$\\mathbf{c}$   words", "words"]


def test_axes_have_plain_numbers() -> None:
    panel = Figure().subplots()
    panel.set_ylim(-20, 20_000)
    plain_ticks(panel.yaxis, [-14, 0.5, 1000, 20_000])
    assert [label.get_text() for label in panel.get_yticklabels()] == ["−14", "0.5", "1,000", "20,000"]


def test_pictures_are_fine_enough_for_print() -> None:
    assert SETTINGS["savefig.dpi"] >= 300
