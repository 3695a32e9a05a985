"""What the notebooks share: pictures that are the same on every run, a chart of curves, sentences with numbers.

A stored output can be compared only if it is reproduced exactly. Altair's own output carries random ids, and
Matplotlib's a date and more digits than two processors agree in; `picture` turns both into plain SVG text.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import matplotlib as mpl
import pandas as pd
import vl_convert
from matplotlib.figure import Figure

from experiments.engine.places import RESULTS as RESULTS
from experiments.engine.style import COLOURS, DASHES, MARKERS, RELEASED, SETTINGS, SHAPES, TRUTH

PALETTE = ("#0072B2", "#D55E00", "#1B9E77", "#CC79A7", "#777777", "#E69F00", "#56B4E9", "#A6761D")
"""Mostly by Okabe and Ito; distinguishable under the common kinds of colour blindness."""

FEW, MANY = (1, 2, 5), (1, 1.5, 2, 3, 5, 7)
"""Leading digits of the ticks of a logarithmic axis; the second where it spans less than `NARROW`."""
NARROW = 20.0
MOST_TICKS = 12
"""Up to this many values on the horizontal axis, every value has a tick."""
NUMBER = ",.6~g"
"""Format of numbers on axes: plain digits, not 1e+3."""

FONT = "DejaVu Sans"
DECIMALS = 2
"""Decimals of a coordinate: finer than any screen, coarser than differences between two processors."""

# Altair types its charts by dozens of classes that share no base with `to_dict`.
Drawing = Figure | Any

UTC_DAYS = alt.Scale(type="utc", nice=False)
"""Days that lie and are written alike in every time zone."""

CHART_CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": "white",
    "axis": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#DDDDDD"},
    "legend": {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 320},
    "header": {"labelFontSize": 12, "titleFontSize": 12},
    "title": {"fontSize": 12, "fontWeight": "normal", "anchor": "start"},
    "view": {"stroke": None, "continuousWidth": 460, "continuousHeight": 260},
}
"""Vega-Lite's settings in the look of `experiments.engine.style`."""

# Scales and matrices are factors, which two decimals would distort.
_FACTOR_OR_NUMBER = re.compile(r"((?:scale|matrix)\([^)]*\))|(-?\d*\.\d{3,}(?:e[+-]?\d+)?)")
_LINE_OF_PATH, _INDENTATION = re.compile(r" \n(?=[MLQCHVz])"), re.compile(r"\n\s*")
_CLIP = re.compile(r"(?<=[\"#])clip\d+(?=[\")])")
_COUNTED_CLIP = re.compile(r"(?<=[\"#])clip-\d+(?=[\")])")


@dataclass(frozen=True)
class Picture:
    """An SVG document that Jupyter shows.

    Attributes:
        svg: the document.
        description: what there is to see, for those who do not see it.
    """

    svg: str
    description: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"[{self.description}]"


@dataclass(frozen=True)
class Prose:
    """Sentences that a cell computes, shown as Markdown."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def prose(*sentences: str) -> Prose:
    """Sentences in one paragraph, for what follows from the parameters of a notebook.

    Raises:
        ValueError: one of them is empty.
    """
    if not sentences or not all(sentence.strip() for sentence in sentences):
        raise ValueError(f"sentences are {sentences!r}; none may be empty")
    return Prose(" ".join(sentences))


def picture(drawing: Drawing, description: str) -> Picture:
    """A Matplotlib figure or an Altair chart as a picture; the same drawing gives the same text.

    Args:
        description: one line that says what there is to see; a notebook shows it where it shows no pictures.

    Raises:
        ValueError: the description is empty or has several lines.
        TypeError: the drawing is neither.
    """
    if not description.strip() or "\n" in description:
        raise ValueError(f"description is {description!r}; it must be one line that says what there is to see")
    if isinstance(drawing, Figure):
        svg = _matplotlib(drawing)
    elif isinstance(drawing, alt.TopLevelMixin):
        svg = _altair(drawing)
    else:
        raise TypeError(f"drawing is a {type(drawing).__name__}; it must be a Matplotlib figure or an Altair chart")
    return Picture(round_coordinates(svg), description)


def curves(table: pd.DataFrame, x: str, y: str, by: str, *, log: str = "", panel: str | None = None) -> alt.Chart:
    """Curves with their points, one colour and shape for each value of `by`, in the order in which these come.

    Mechanisms have the colours, shapes and dashes that they have in all figures.

    Args:
        table: one row a point; the names of its columns are the titles of the axes, so they carry the units.
        x: column of the horizontal axis.
        y: column of the vertical axis.
        by: column that tells the curves apart.
        log: the axes with a logarithmic scale: "", "x", "y" or "xy".
        panel: a column; every value of it has a panel of its own, side by side.

    Raises:
        ValueError: a column is missing, or there are more than eight curves, not all of them mechanisms, which no eye
            keeps apart.
    """
    _require_columns(table, [name for name in (x, y, by, panel) if name is not None])
    names = list(dict.fromkeys(table[by]))
    mechanisms = set(names) <= set(COLOURS)
    if len(names) > len(PALETTE) and not mechanisms:
        raise ValueError(f"{by!r} has {len(names)} values; at most {len(PALETTE)} curves can be told apart")
    # A field with a bracket or a dot in its name is a path to Vega unless it has a plainer one.
    plain = table.rename(columns={x: "x", y: "y", by: "by"} | ({panel: "panel"} if panel else {}))
    legend = alt.Legend(title=None, orient="bottom", columns=4, symbolStrokeWidth=0)
    chart: alt.Chart = (
        alt.Chart(plain)
        .mark_line(point=alt.OverlayMarkDef(size=45, filled=True), strokeWidth=1.6)
        .encode(
            x=_axis(alt.X, "x", x, plain["x"], "x" in log, own_ticks=plain["x"].nunique() <= MOST_TICKS),
            y=_axis(alt.Y, "y", y, plain["y"], "y" in log, own_ticks=False),
            color=alt.Color("by:N", scale=alt.Scale(domain=names, range=_colours(names, mechanisms)), legend=legend),
            shape=alt.Shape("by:N", scale=alt.Scale(domain=names, range=_shapes(names, mechanisms)), legend=legend),
        )
    )
    if mechanisms:
        dashes = [list(DASHES[name]) or [1, 0] for name in names]
        chart = chart.encode(
            strokeDash=alt.StrokeDash("by:N", scale=alt.Scale(domain=names, range=dashes), legend=None)
        )
    if panel is None:
        return chart
    header = alt.Header(title=None, labelFontSize=12)
    beside: alt.Chart = chart.properties(width=300).encode(column=alt.Column("panel:N", header=header, sort=None))
    return beside


def small_multiples(table: pd.DataFrame, users: str, *, dates: str) -> alt.FacetChart:
    """Counts over days with their intervals and the truth; a panel a segment, each with a scale of its own.

    Args:
        table: one row a day and segment, with day (in UTC), segment, count, count_low, count_high and truth.
        users: title of the vertical axes, with the unit.
        dates: how days are written, such as %b for months and %Y for years.

    Raises:
        ValueError: a column is missing, or days are not in UTC.
    """
    _require_columns(table, ["day", "segment", "count", "count_low", "count_high", "truth"])
    if str(getattr(table["day"].dtype, "tz", None)) != "UTC":
        raise ValueError(f"days are of type {table['day'].dtype}; they must be in UTC: pd.to_datetime(…, utc=True)")
    lines, key = ("count", "truth"), alt.Legend(title=None, orient="top")
    colour = alt.Color("key:N", scale=alt.Scale(domain=[*lines], range=[RELEASED, TRUTH]), legend=key)
    dash = alt.StrokeDash("key:N", scale=alt.Scale(domain=[*lines], range=[[1, 0], [1.5, 1.5]]), legend=key)
    base = alt.Chart().encode(x=alt.X("day:T", title=None, scale=UTC_DAYS, axis=alt.Axis(format=dates, tickCount=5)))
    # Labels of one width: the panels of a column then stand below each other.
    low = alt.Y("count_low:Q", title=users, axis=alt.Axis(tickCount=4, minExtent=36, maxExtent=36))
    band = base.mark_area(opacity=0.3, color=RELEASED).encode(y=low, y2="count_high:Q")
    line = base.transform_fold([*lines]).mark_line(strokeWidth=1.2, strokeJoin="round")
    panel = alt.layer(band, line.encode(y="value:Q", color=colour, strokeDash=dash))
    segments = alt.Facet("segment:N", title=None, sort=list(dict.fromkeys(table["segment"])))
    panels = panel.properties(width=200, height=110, data=table).facet(segments, columns=3, bounds="flush")
    spaced: alt.FacetChart = panels.resolve_scale(y="independent").properties(spacing={"row": 45, "column": 75})
    return spaced


def _require_columns(table: pd.DataFrame, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in table]:
        raise ValueError(f"table has no column {missing[0]!r}; it has {', '.join(map(repr, table.columns))}")


def _colours(names: Sequence[str], mechanisms: bool) -> list[str]:
    return [COLOURS[name] for name in names] if mechanisms else list(PALETTE[: len(names)])


def _shapes(names: Sequence[str], mechanisms: bool) -> Any:
    """The shapes of mechanisms; Vega-Lite's own for others."""
    return [SHAPES[MARKERS[name]] for name in names] if mechanisms else alt.Undefined


def round_coordinates(svg: str) -> str:
    """The document with every coordinate rounded to `DECIMALS`; the factors of scales and matrices stay."""
    return _FACTOR_OR_NUMBER.sub(lambda found: found[1] or _short(float(found[2])), svg)


def _axis(
    channel: Any, field: str, title: str, values: pd.Series, logarithmic: bool, *, own_ticks: bool
) -> alt.X | alt.Y:
    """A channel whose scale ends a little beyond its values, with ticks at these values or at round ones."""
    if logarithmic:
        scale = alt.Scale(type="log", nice=False, padding=12)
        low, high = float(values.min()) * 0.9, float(values.max()) * 1.1
        digits = MANY if high < NARROW * low else FEW
        ticks = [
            digit * 10.0**power for power in range(-12, 13) for digit in digits if low <= digit * 10.0**power <= high
        ]
    else:
        scale, ticks = alt.Scale(zero=False, nice=False, padding=12), []
    if own_ticks:
        ticks = sorted(set(values.tolist()))
    shown = {"values": ticks} if ticks else {"tickCount": 6}
    made: alt.X | alt.Y = channel(
        f"{field}:Q", title=title, scale=scale, axis=alt.Axis(format=NUMBER, labelOverlap="greedy", **shown)
    )
    return made


def _short(number: float) -> str:
    text = f"{number:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _named_by_content(svg: str) -> str:
    """The document with its `clip…` ids, which Vega counts over a process, named by what they are part of.

    Two pictures on one page then never share an id, and the same picture never has two.
    """
    names = {name: f"clip-{number}" for number, name in enumerate(dict.fromkeys(_CLIP.findall(svg)), start=1)}
    counted = _CLIP.sub(lambda found: names[found[0]], svg)
    digest = hashlib.sha256(counted.encode()).hexdigest()[:8]
    return _COUNTED_CLIP.sub(rf"\g<0>-{digest}", counted)


def _matplotlib(figure: Figure) -> str:
    buffer = io.StringIO()
    with mpl.rc_context(SETTINGS):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _on_few_lines(buffer.getvalue())


def _on_few_lines(svg: str) -> str:
    """The document without indentation and with paths on one line; a notebook quotes and indents every line."""
    return _LINE_OF_PATH.sub(" ", _INDENTATION.sub("\n", svg))


def _altair(chart: alt.TopLevelMixin) -> str:
    # Text is measured to lay a chart out, and Matplotlib brings its font to every machine.
    vl_convert.register_font_directory(str(Path(mpl.get_data_path()) / "fonts" / "ttf"))
    specification: dict[str, Any] = chart.to_dict()
    specification["config"] = specification.get("config", {}) | CHART_CONFIG
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    svg: str = vl_convert.vegalite_to_svg(specification, vl_version=version)
    return _named_by_content(svg)
