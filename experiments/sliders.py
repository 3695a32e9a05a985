"""Sliders of notebooks. All their pages are made beforehand, so they move in a saved page too, without a kernel.

The same pages give the same stored output: ids are derived from what is shown, not drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import ipywidgets
from comm import get_comm_manager
from ipywidgets.widgets.widget_link import Link
from ipywidgets.widgets.widget_string import HTMLStyle

VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Slider:
    """A slider above the page of its value.

    Attributes:
        widget: what Jupyter shows.
        description: what there is to move, for where no widgets are shown.
    """

    widget: ipywidgets.VBox
    description: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {VIEW: self.widget._repr_mimebundle_()[VIEW], "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"[{self.description}]"


def _ids(content: str) -> Iterator[str]:
    """Ids that no living widget has. A cell that is run again in the same kernel makes new ones."""
    taken = set(get_comm_manager().comms)
    for generation in count():
        digest = hashlib.sha256(f"{generation}\n{content}".encode()).hexdigest()[:24]
        if not any(name.startswith(digest) for name in taken):
            break
    return (f"{digest}{number:08x}" for number in count())


def slider(label: str, pages: Mapping[str, str], start: str, description: str) -> Slider:
    """A slider over the keys of `pages`, linked to them in the browser.

    Args:
        label: stands before the slider.
        pages: HTML of each position, from left to right.
        start: the position at first.
        description: one line that stands where no widgets are shown.

    Raises:
        ValueError: there are fewer than two pages, or `start` is none of them.
    """
    if len(pages) < 2:
        raise ValueError(f"pages has {len(pages)} entries; a slider needs at least 2")
    if start not in pages:
        raise ValueError(f"start is {start!r}; choose one of {', '.join(map(repr, pages))}")
    ids = _ids("\n".join([label, start, *pages, *pages.values()]))

    def named(kind: Any, *arguments: Any, **traits: Any) -> Any:
        return kind(*arguments, model_id=next(ids), **traits)

    place = list(pages).index(start)
    layout, wide = named(ipywidgets.Layout), named(ipywidgets.Layout, width="480px")
    plain, handle = named(HTMLStyle), named(ipywidgets.SliderStyle, description_width="initial")
    knob = named(
        ipywidgets.SelectionSlider,
        options=list(pages), value=start, description=label, layout=wide, style=handle, continuous_update=True,
    )  # fmt: skip
    shown = [named(ipywidgets.HTML, value=page, layout=layout, style=plain) for page in pages.values()]
    stack = named(ipywidgets.Stack, shown, selected_index=place, layout=layout)
    named(Link, (knob, "index"), (stack, "selected_index"))
    return Slider(named(ipywidgets.VBox, [knob, stack], layout=layout), description)
