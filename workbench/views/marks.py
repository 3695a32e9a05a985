"""What the charts of the research pages have in common: one colour and one shape a mechanism, and ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from experiments.engine.style import COLOURS, MARKERS, SHAPES

_TICKS = [digit * 10.0**power for power in range(-6, 12) for digit in (1, 2, 5)]


def mechanism_marks(names: Sequence[str]) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of the column "mechanism"."""
    legend = alt.Legend(
        title=None, orient="bottom", direction="horizontal", columns=2, labelLimit=200, labelFontSize=11,
        columnPadding=8, symbolOpacity=1, symbolSize=70,
    )  # fmt: skip
    return paired_marks("mechanism", names, COLOURS, MARKERS, legend)


def paired_marks(
    column: str, names: Sequence[str], colours: Mapping[str, str], markers: Mapping[str, str], legend: alt.Legend
) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of a column of names, with one legend for both: they say the same."""
    colour = alt.Scale(domain=list(names), range=[colours[name] for name in names])
    shape = alt.Scale(domain=list(names), range=[SHAPES[markers[name]] for name in names])
    return alt.Color(f"{column}:N", legend=legend, scale=colour), alt.Shape(f"{column}:N", legend=legend, scale=shape)


def log_ticks(bottom: float, top: float) -> list[float]:
    """1, 2 and 5 times powers of ten: what a logarithmic axis names."""
    return [tick for tick in _TICKS if bottom <= tick <= top]
