"""One colour and one shape for each mechanism, in every chart of the pages."""

from __future__ import annotations

from collections.abc import Iterable

import altair as alt

from experiments.engine.style import COLOURS, MARKERS

_SHAPES = {"o": "circle", "v": "triangle-down", "s": "square", "^": "triangle-up", "D": "diamond"}


def mechanism_colour(mechanisms: Iterable[str]) -> alt.Color:
    """The colours of these mechanisms by the column `mechanism`, in their order."""
    names = list(dict.fromkeys(mechanisms))
    scale = alt.Scale(domain=names, range=[COLOURS[name] for name in names])
    return alt.Color("mechanism:N", legend=_legend(), scale=scale)


def mechanism_shape(mechanisms: Iterable[str]) -> alt.Shape:
    """Their shapes, likewise."""
    names = list(dict.fromkeys(mechanisms))
    scale = alt.Scale(domain=names, range=[_SHAPES[MARKERS[name]] for name in names])
    return alt.Shape("mechanism:N", legend=_legend(), scale=scale)


def _legend() -> alt.Legend:
    # The same for both, so that they become one: colour and shape say the same.
    return alt.Legend(
        title=None, orient="bottom", direction="horizontal", columns=2, labelLimit=200, symbolOpacity=1, symbolSize=90
    )
