"""What lies in results/: every table is its config's, and every figure is its table's and can be read."""

from __future__ import annotations

import itertools
import json
import re
from functools import cache
from pathlib import Path
from string import ascii_lowercase

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from experiments.documentation.blocks import GALLERY
from experiments.engine.grid import point_seed
from experiments.engine.pictures import save
from experiments.kinds.figures import FIGURES, figure_of
from experiments.kinds.loading import load
from experiments.notebook import round_coordinates
from tests.places import ROOT

pytestmark = pytest.mark.slow

CONFIGS = {path.stem: load(path) for path in sorted((ROOT / "experiments").glob("*/*.toml"))}
SMALLEST = 7.0
"""In points: text that can be read at column width."""
WIDEST = 7.5
"""In inches."""
names = pytest.mark.parametrize("name", CONFIGS)


@cache
def drawn(name: str) -> Figure:
    """The figure of a committed table, with its layout; for looking at only."""
    figure = figure_of(name, ROOT / f"results/{name}.parquet")
    figure.draw_without_rendering()
    return figure


@names
def test_configs_are_called_what_their_files_are(name: str) -> None:
    config = CONFIGS[name]
    assert config.name == config.figure == name
    assert config.question.endswith("?")


def test_every_figure_has_a_config() -> None:
    assert set(FIGURES) == set(CONFIGS) == set(GALLERY)


@names
def test_points_have_identities_and_seeds_of_their_own(name: str) -> None:
    points = list(CONFIGS[name].points())
    assert len({point.identity for point in points}) == len(points)
    assert len({point_seed(1, point) for point in points}) == len(points)


@names
def test_tables_are_the_configs(name: str) -> None:
    config = CONFIGS[name]
    source = json.loads((ROOT / f"results/{name}.json").read_text())
    assert (source["config_sha256"], source["profile"]) == (config.fingerprint, "quick")
    table = pd.read_parquet(ROOT / f"results/{name}.parquet")
    points = list(config.points())
    assert len(table) == len(points)
    words = pd.DataFrame([dict(word.split("=") for word in point.identity.split(" ")) for point in points])
    for key in set(words) & set(table):
        known = words[key].notna()  # a twin's ε is its own
        assert table.loc[known, key].astype(str).str.replace(" ", "-").tolist() == words.loc[known, key].tolist()


@names
def test_text_can_be_read_and_lies_inside(name: str) -> None:
    figure = drawn(name)
    assert figure.get_size_inches()[0] <= WIDEST
    shown = [
        text for panel in figure.axes for text in (*panel.texts, panel.title, panel.xaxis.label, panel.yaxis.label)
    ]
    shown += [text for legend in figure.legends for text in (*legend.get_texts(), legend.get_title())]
    for text in shown:
        box = text.get_window_extent()
        if text.get_text() and text.get_visible():
            assert text.get_fontsize() >= SMALLEST, text
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= figure.bbox.x1 + 1, text
            assert box.y1 <= figure.bbox.y1 + 1, text
    if (title := figure._suptitle) is not None:  # type: ignore[attr-defined]
        assert not any(legend.get_window_extent().overlaps(title.get_window_extent()) for legend in figure.legends)
    for panel in figure.axes:
        # Without the lines that join labels to curves.
        boxes = [Text.get_window_extent(text) for text in panel.texts]
        for place, one in enumerate(boxes):
            assert not any(one.overlaps(other) for other in boxes[:place]), panel.texts[place]


@names
def test_no_words_lie_on_others(name: str) -> None:
    figure = drawn(name)
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in visible_texts(figure)]
    for one, box in boxes:
        assert min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) >= -1, one
    for (one, box), (other, covered) in itertools.combinations(boxes, 2):
        # A point is the thickness of a stroke.
        assert not box.padded(-1).overlaps(covered.padded(-1)), (one, other)


def visible_texts(figure: Figure) -> list[Text]:
    """All words of a drawn figure, those beside ticks that lie outside the limits of their axis left out."""
    beyond = set()
    for panel in figure.axes:
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            room = 1e-6 * (high - low)
            beyond |= {
                label
                for tick in axis.get_major_ticks()
                for label in (tick.label1, tick.label2)
                if not low - room <= tick.get_loc() <= high + room
            }
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip() and text not in beyond
    ]


@names
def test_numbers_are_written_as_in_print(name: str) -> None:
    """δ as a power of ten, a true minus sign."""
    figure = drawn(name)
    for text in visible_texts(figure):
        assert not re.search(r"\de[-+]?\d|(?<![\w–])-\d", text.get_text()), text.get_text()


@names
def test_panels_have_letters_where_there_are_several(name: str) -> None:
    panels = [panel for panel in drawn(name).axes if panel.axison]
    letters = [re.match(r"\$\\mathbf\{(\w)\}\$", panel.get_title(loc="left")) for panel in panels]
    found = [letter[1] for letter in letters if letter]
    assert found == (list(ascii_lowercase[: len(panels)]) if len(panels) > 1 else [])


@names
def test_pictures_are_as_wide_and_as_fine_as_print(name: str) -> None:
    with Image.open(ROOT / f"results/{name}.png") as picture:
        width, height = picture.size
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=1)
    assert 6.5 * 300 <= width <= WIDEST * 300
    assert height <= 9.7 * 300, "a page"


@names
def test_figures_are_drawn_from_the_tables(name: str, tmp_path: Path) -> None:
    save(figure_of(name, ROOT / f"results/{name}.parquet"), tmp_path / "f.svg")
    assert seen(tmp_path / "f.svg") == seen(ROOT / f"results/{name}.svg")


def seen(path: Path) -> str:
    """A picture without the last digits of its coordinates, and without names that depend on them.

    The solver of Matplotlib's layout goes by where its variables lie in memory, so that a figure of many panels may
    differ in the last bits from one process to another.
    """
    return re.sub(r"\b[mpC][0-9a-f]{10}\b|\bC\d+_\w+", "id", round_coordinates(path.read_text(encoding="utf-8")))
