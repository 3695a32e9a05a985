"""The charts of sketches: pure functions from rows to Altair, readable on light and dark ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from experiments.engine.style import SHAPES, SKETCH_COLOURS, SKETCH_MARKERS
from workbench.rows import TableRow
from workbench.views.charts import TRUTH, Chart
from workbench.views.marks import log_ticks, paired_marks

AT_ONCE, LEAVING = "all at once", "users leave"
PANEL_WIDTH = 118
_SIZES = [125 * 2**power for power in range(16)]
_BYTES = (
    "datum.value >= 1e6 ? datum.value / 1e6 + ' MB' : datum.value >= 1e3 ? datum.value / 1e3 + ' kB' "
    ": datum.value + ' B'"
)


def errors_chart(rows: Sequence[TableRow], height: int = 360) -> Chart:
    """The error of every sketch at its size, with twice its standard error; the bar is what the formula says."""
    table = _in_per_cent(rows, ("rmse", "rmse_low", "rmse_high", "formula", "bias", "missed"))
    low = max(min(table["rmse_low"].min(), table["formula"].min()) * 0.6, 1e-4)
    high = max(table["rmse_high"].max(), table["formula"].max()) * 1.6
    # An error that may be nothing reaches down to the end of a logarithmic axis.
    table["rmse_low"] = table["rmse_low"].clip(lower=low)
    x = alt.X(
        "bytes:Q", title="Size of one sketch [bytes]",
        scale=alt.Scale(type="log", domain=[table["bytes"].min() / 2, table["bytes"].max() * 2], nice=False),
        axis=alt.Axis(labelExpr=_BYTES, labelOverlap="greedy", values=_SIZES, grid=False),
    )  # fmt: skip
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    y = alt.Y("rmse:Q", title="RMSE of a published count [%]", scale=scale, axis=_per_cent_axis(low, high))
    colour, shape = _sketches(list(table["sketch"]))
    base = alt.Chart(table).encode(x=x, color=colour)
    spread = base.mark_rule(strokeWidth=1.6).encode(y=alt.Y("rmse_low:Q", scale=scale), y2=alt.Y2("rmse_high:Q"))
    formula = base.mark_tick(thickness=2, size=22, orient="horizontal").encode(y=alt.Y("formula:Q", scale=scale))
    dots = base.mark_point(size=90, filled=True, opacity=1).encode(y=y, shape=shape, tooltip=_tooltip())
    return alt.layer(spread, formula, dots).properties(height=height)


def days_chart(rows: Sequence[TableRow], height: int = 300) -> Chart:
    """What the first trial published, day by day; dashed: how many users there were."""
    table = pd.DataFrame(list(rows))
    published, truth = table[table["sketch"] != "truth"], table[table["sketch"] == "truth"]
    colour, shape = _sketches(list(dict.fromkeys(published["sketch"])))
    x = alt.X("day:Q", title="Days before the last one", axis=alt.Axis(format="d", tickMinStep=1, grid=False))
    y = alt.Y("users:Q", title="Users in the window", scale=alt.Scale(zero=False), axis=alt.Axis(format=",d"))
    tooltip = [
        alt.Tooltip("sketch:N", title="Published by"),
        alt.Tooltip("day:Q", title="Day", format="d"),
        alt.Tooltip("users:Q", title="Users", format=",.0f"),
    ]
    base = alt.Chart(published).encode(x=x, y=y, color=colour, tooltip=tooltip)
    line = alt.Chart(truth).mark_line(color=TRUTH, strokeDash=[6, 4], strokeWidth=2.5).encode(x=x, y=y, tooltip=tooltip)
    return alt.layer(
        base.mark_line(strokeWidth=1.4), base.mark_point(size=40, filled=True, opacity=1).encode(shape=shape), line
    ).properties(height=height)


def multiples_chart(memory: Sequence[TableRow], turnstile: Sequence[TableRow]) -> Chart:
    """A panel a sketch; see `panel_chart`."""
    names = list(dict.fromkeys(row["sketch"] for row in memory))
    return alt.concat(*(panel_chart(name, memory, turnstile) for name in names), columns=4)


def panel_chart(
    sketch: str, memory: Sequence[TableRow], turnstile: Sequence[TableRow], height: int = 105
) -> alt.LayerChart | alt.FacetChart:
    """Error against size of one committed sketch: filled where all users came at once, hollow where users leave."""
    both = {AT_ONCE: memory, LEAVING: turnstile}
    rows = [{**row, "log": log} for log, table in both.items() for row in table if row["sketch"] == sketch]
    table = _in_per_cent(rows, ("rmse", "formula", "missed"))[
        ["log", "sketch", "bytes", "rmse", "formula", "missed", "trials"]
    ]
    x = alt.X(
        "bytes:Q", title="size [bytes]", scale=alt.Scale(type="log", domain=[50, 1.2e6], nice=False),
        axis=alt.Axis(labelExpr=_BYTES, values=[100, 1e4, 1e6], labelFlush=True, grid=False),
    )  # fmt: skip
    scale = alt.Scale(type="log", domain=[8e-4, 100], nice=False)
    # The title lies above the axis, because a panel is no wider than half a phone.
    axis = alt.Axis(
        values=[1e-3, 0.1, 10], format="~g", titleAngle=0, titleAlign="left", titleBaseline="bottom", titleX=-34,
        titleY=-5, labelPadding=3,
    )  # fmt: skip
    y = alt.Y("rmse:Q", title="RMSE [%]", scale=scale, axis=axis)
    domain = alt.Scale(domain=[AT_ONCE, LEAVING], range=[[1, 0], [4, 3]])
    colour = SKETCH_COLOURS[sketch]
    base = alt.Chart(table).encode(x=x)
    lines = base.mark_line(color=colour, strokeWidth=1.4).encode(
        y=alt.Y("formula:Q", scale=scale), strokeDash=alt.StrokeDash("log:N", scale=domain, legend=None)
    )
    dots = base.mark_point(color=colour, size=38, shape=SHAPES[SKETCH_MARKERS[sketch]], strokeWidth=1.4).encode(
        y=y,
        fill=alt.condition(alt.datum.log == AT_ONCE, alt.value(colour), alt.value("transparent")),
        tooltip=[
            alt.Tooltip("log:N", title="Users"),
            alt.Tooltip("bytes:Q", title="Size [bytes]", format=",.0f"),
            alt.Tooltip("rmse:Q", title="RMSE [%]", format=".3~g"),
            alt.Tooltip("formula:Q", title="By the formula [%]", format=".3~g"),
            alt.Tooltip("missed:Q", title="Have left and are counted still [%]", format=".3~g"),
            alt.Tooltip("trials:Q", title="Trials", format=",d"),
        ],
    )
    return alt.layer(lines, dots).properties(title=sketch, width=PANEL_WIDTH, height=height)


def _in_per_cent(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(list(rows))
    table[list(columns)] = 100 * table[list(columns)]
    return table


def _per_cent_axis(low: float, high: float) -> alt.Axis:
    return alt.Axis(
        labelExpr="format(datum.value, '~g') + ' %'", minExtent=44, values=log_ticks(low, high), labelOverlap="greedy"
    )


def _sketches(names: Sequence[str]) -> tuple[alt.Color, alt.Shape]:
    legend = alt.Legend(title=None, orient="top", direction="horizontal", columns=2, labelLimit=120, symbolOpacity=1)
    return paired_marks("sketch", names, SKETCH_COLOURS, SKETCH_MARKERS, legend)


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("sketch:N", title="Sketch"),
        alt.Tooltip("privacy:N", title="Privacy"),
        alt.Tooltip("bytes:Q", title="Size [bytes]", format=",.0f"),
        alt.Tooltip("rmse:Q", title="RMSE [%]", format=".3~g"),
        alt.Tooltip("formula:Q", title="By the formula [%]", format=".3~g"),
        alt.Tooltip("bias:Q", title="Mean error [%]", format="+.3~g"),
        alt.Tooltip("missed:Q", title="Have left and are counted still [%]", format=".3~g"),
        alt.Tooltip("trials:Q", title="Trials", format=",d"),
    ]
