"""The charts of the page *Mechanisms*: who is beaten by whom, and releases. Pure functions from rows to Altair."""

from __future__ import annotations

import json
from collections.abc import Sequence

import altair as alt
import pandas as pd

from workbench.rows import TableRow
from workbench.views.charts import RELEASED, TRUTH, Chart
from workbench.views.marks import log_ticks, mechanism_marks

PICKED = "picked"
"""The selection of a mechanism by a click."""
ACROSS = {"memory": "memory", "time": "tick_ms"}
"""What error may be drawn against → its column."""
_BESIDE = 1.2
"""By how much points with the same numbers are moved apart, in numbers remembered plus one."""
_KEPT = [0, 1, 3, 10, 30, 100, 300, 1000, 3000]
RELEASES_LINE = "releases"
_LINES = {"truth": "truth", "counted": "with users frozen"}
_LINE_COLOURS = (RELEASED, TRUTH, "#E69F00")
_LINE_DASHES = ([1, 0], [1, 0], [5, 3])


def able_rows(rows: Sequence[TableRow]) -> list[TableRow]:
    """The mechanisms that serve the choice and whose error is known, best first."""
    return sorted((row for row in rows if row["rms_std"] is not None), key=lambda row: row["rms_std"])


def frontier_chart(
    rows: Sequence[TableRow], bound: Sequence[TableRow], across: str, chosen: str | None = None, height: int = 620
) -> Chart:
    """Error of every mechanism against what it takes; those that no other beats are filled. A click picks one.

    Args:
        rows: of the table "mechanisms".
        bound: of the table "bound".
        across: one of `ACROSS`.
        chosen: the mechanism that is ringed.
        height: with axes and legend, in pixels.
    """
    table = _placed(able_rows(rows), ACROSS[across])
    x = _horizontal(across)
    y = _vertical(table, bound)
    colour, shape = mechanism_marks(list(table["mechanism"]) if len(table) else [])
    chart = alt.Chart(table)
    pick = alt.selection_point(PICKED, fields=["mechanism"], on="click", empty=False)
    worst = chart.mark_rule(strokeWidth=1.4, opacity=0.75).encode(x=x, y=y, y2=alt.Y2("max_std:Q"), color=colour)
    hollow = (
        chart.mark_point(size=120, strokeWidth=2, fill="#80808022", opacity=1)
        .encode(x=x, y=y, color=colour, shape=shape, tooltip=_tooltip())
        .add_params(pick)
    )
    filled = (
        chart.transform_filter(alt.datum.unbeaten)
        .mark_point(size=120, filled=True, opacity=1)
        .encode(x=x, y=y, color=colour, shape=shape, tooltip=_tooltip())
    )
    layers: list[alt.Chart] = [worst, hollow, filled]
    if chosen in set(table["mechanism"]):
        named = alt.Chart(table[table["mechanism"] == chosen])
        layers.append(named.mark_point(size=420, color=TRUTH, strokeWidth=2, opacity=1).encode(x=x, y=y))
    if bound:
        layers += _bound(bound, y)
    return alt.layer(*layers).properties(height=height)


def _placed(rows: Sequence[TableRow], column: str) -> pd.DataFrame:
    """The rows that have that column, with the place of each: points with the same numbers stand side by side."""
    table = pd.DataFrame([row for row in rows if row[column] is not None])
    if table.empty:
        return pd.DataFrame({"mechanism": [], "rms_std": [], "max_std": [], "unbeaten": [], "place": []})
    near = table["rms_std"].map(lambda error: float(f"{error:.3g}"))
    turn = table.groupby([near, table[column]]).cumcount()
    if column == ACROSS["memory"]:
        table["place"] = (table[column] + 1) * _BESIDE**turn - 1
    else:
        table["place"] = table[column]
    return table


def _horizontal(across: str) -> alt.X:
    if across == "memory":
        return alt.X(
            "place:Q", title="numbers remembered between two days",
            scale=alt.Scale(type="symlog", constant=1, nice=False, padding=18),
            axis=alt.Axis(values=_KEPT, format=",d", grid=False, labelOverlap="greedy"),
        )  # fmt: skip
    return alt.X(
        "place:Q", title="processor time of one day's release [ms]",
        scale=alt.Scale(zero=True, nice=True, padding=18), axis=alt.Axis(format=".1f", grid=False, tickCount=5),
    )  # fmt: skip


def _vertical(table: pd.DataFrame, bound: Sequence[TableRow]) -> alt.Y:
    """From below the least error, or the bound, to above the largest one."""
    errors = [*table["rms_std"], *table["max_std"], *(row["rms_std"] for row in bound)] or [1.0]
    bottom, top = 0.8 * min(errors), 1.15 * max(errors)
    axis = alt.Axis(title="error of a released day [users]", format="~s", minExtent=34, values=log_ticks(bottom, top))
    return alt.Y("rms_std:Q", axis=axis, scale=alt.Scale(type="log", domain=[bottom, top], nice=False))


def _bound(bound: Sequence[TableRow], y: alt.Y) -> list[alt.Chart]:
    """The line under which no Gaussian noise can be, with its name."""
    table = pd.DataFrame(list(bound)).assign(text="no Gaussian noise is below")
    title = alt.Tooltip("rms_std:Q", title="Lower bound for Gaussian noise [users]", format=",.2f")
    base = alt.Chart(table).encode(y=y, tooltip=[title])
    return [
        base.mark_rule(color=TRUTH, strokeDash=[6, 4], strokeWidth=1.6),
        base.mark_text(color=TRUTH, align="left", baseline="top", dy=4, fontSize=11).encode(
            x=alt.value(4), text=alt.Text("text:N")
        ),
    ]


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("mechanism:N", title="Mechanism"),
        alt.Tooltip("rms_std:Q", title="Error, root mean square [users]", format=",.2f"),
        alt.Tooltip("max_std:Q", title="Error on the worst day [users]", format=",.2f"),
        alt.Tooltip("from:N", title="By"),
        alt.Tooltip("memory:Q", title="Numbers remembered", format=",d"),
        alt.Tooltip("tick_ms:Q", title="Processor time of a day [ms]", format=".2f"),
        alt.Tooltip("proof:N", title="Proof: section of guarantees"),
    ]


def releases_chart(rows: Sequence[TableRow], metric: str, height: int = 340) -> Chart:
    """A few releases of one mechanism beside the truth.

    Args:
        rows: of the table "releases", of one mechanism.
        metric: whose count it is.
        height: with axes and legend, in pixels.
    """
    return _releases(rows, metric).properties(height=height)


def releases_grid(rows: Sequence[TableRow], metric: str) -> Chart:
    """The same for every mechanism, one below the other, each with its own axes."""
    names = list(dict.fromkeys(row["mechanism"] for row in rows))
    row = alt.Row("mechanism:N", sort=names, title=None, header=alt.Header(labelOrient="top", labelFontWeight="bold"))
    one = _releases(rows, metric).properties(width=640, height=110)
    faceted: Chart = one.facet(row=row).resolve_scale(x="independent", y="independent")
    return faceted


def _releases(rows: Sequence[TableRow], metric: str) -> Chart:
    published = [name for name in rows[0] if name.startswith("release_")]
    frozen = any(row["counted"] != row["truth"] for row in rows)
    drawn = [RELEASES_LINE, *_LINES.values()] if frozen else [RELEASES_LINE, _LINES["truth"]]
    x = alt.X("day:T", title=None, axis=alt.Axis(format="%b %Y", grid=False, labelOverlap=True, tickCount=6))
    y = alt.Y(
        "users:Q", scale=alt.Scale(zero=False, nice=True),
        axis=alt.Axis(title=f"{metric.upper()} [users]", format=",d", tickCount=4, minExtent=46),
    )  # fmt: skip
    legend = alt.Legend(title=None, orient="top", columns=1, labelLimit=200, symbolType="stroke", symbolSize=300)
    colour = alt.Color("line:N", scale=alt.Scale(domain=drawn, range=_LINE_COLOURS[: len(drawn)]), legend=legend)
    dash = alt.StrokeDash("line:N", scale=alt.Scale(domain=drawn, range=_LINE_DASHES[: len(drawn)]), legend=legend)
    tooltip = [
        alt.Tooltip("day:T", title="Day", format="%-d %B %Y"),
        alt.Tooltip("line:N", title="Line"),
        alt.Tooltip("users:Q", title="Users", format=",d"),
    ]
    # No frame: those of more than 5,000 rows are refused. A day without its hour would be taken for midnight in UTC.
    values = alt.InlineData(values=[{**row, "day": f"{row['day']}T00:00:00"} for row in rows])
    counts = [column for column, name in _LINES.items() if name in drawn]
    lines = {**dict.fromkeys(published, RELEASES_LINE), **_LINES}
    layers = [
        alt.Chart()
        .transform_fold([*columns], as_=["column", "users"])
        .transform_calculate(line=f"{json.dumps(lines)}[datum.column]")
        .mark_line(strokeWidth=width, opacity=opacity)
        .encode(x=x, y=y, color=colour, strokeDash=dash, detail=alt.Detail("column:N"), tooltip=tooltip)
        for columns, width, opacity in ((published, 1.1, 0.75), (counts, 2.2, 1.0))
    ]
    return alt.layer(*layers, data=values)
