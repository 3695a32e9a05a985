"""What the charts of the research pages have in common: one colour and one shape a mechanism, and ticks."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from experiments.engine.style import COLOURS, MARKERS, SHAPES

_TICKS = [digit * 10.0**power for power in range(-6, 12) for digit in (1, 2, 5)]


def mechanism_marks(names: Sequence[str]) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of the column "mechanism", with one legend for both: they say the same."""
    legend = alt.Legend(
        title=None, orient="bottom", direction="horizontal", columns=2, labelLimit=200,
        labelFontSize=11, columnPadding=8, symbolOpacity=1,
        symbolSize=70,
    )  # fmt: skip
    colours = alt.Scale(domain=list(names), range=[COLOURS[name] for name in names])
    shapes = alt.Scale(domain=list(names), range=[SHAPES[MARKERS[name]] for name in names])
    return (
        alt.Color("mechanism:N", legend=legend, scale=colours),
        alt.Shape("mechanism:N", legend=legend, scale=shapes),
    )


def log_ticks(bottom: float, top: float) -> list[float]:
    """1, 2 and 5 times powers of ten: what a logarithmic axis names."""
    return [tick for tick in _TICKS if bottom <= tick <= top]
