"""One colour and one shape a mechanism, in every chart of the pages."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from experiments.engine.style import COLOURS, MARKERS

_SHAPES = {"o": "circle", "v": "triangle-down", "s": "square", "^": "triangle-up", "D": "diamond"}


def mechanism_marks(names: Sequence[str]) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of the column "mechanism", with one legend for both: they say the same."""
    legend = alt.Legend(
        title=None, orient="bottom", direction="horizontal", columns=2, labelLimit=200, symbolOpacity=1, symbolSize=90,
    )  # fmt: skip
    colours = alt.Scale(domain=list(names), range=[COLOURS[name] for name in names])
    shapes = alt.Scale(domain=list(names), range=[_SHAPES[MARKERS[name]] for name in names])
    return (
        alt.Color("mechanism:N", legend=legend, scale=colours),
        alt.Shape("mechanism:N", legend=legend, scale=shapes),
    )
