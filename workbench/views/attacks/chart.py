"""The charts of attacks: pure functions from rows to Altair, readable on light and dark ground."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from experiments.kinds.attacks.readings import BEYOND, NOTHING, over_limit
from workbench.rows import TableRow
from workbench.views.attacks.wording import ATTACK_TITLES, MISTAKE_TITLES
from workbench.views.charts import RELEASED, TRUTH, Chart

HOLDS, FALLS = "holds", "broken"
VERDICTS = (HOLDS, FALLS)
BROKEN_COLOUR = "#D0605E"
LABEL_WIDTH = 27
"""Characters of a line of a label; more would leave no room for dots on a phone."""
LINE, GAP = 13, 12
"""Height of a line of a label and distance between two labels, in pixels."""
_LINES = ("#2288C8", "#E69F00", "#1B9E77", "#CC79A7", "#8073B8", "#A6761D", "#56B4E9", "#8A8A8A")


def bounds_chart(rows: Sequence[TableRow], height: int = 380) -> Chart:
    """How the proved ε climbs with the trials, a line a test; dashed: what is promised."""
    table = pd.DataFrame(list(rows))
    table["verdict"] = [FALLS if broken else HOLDS for broken in table["broken"]]
    claims = pd.DataFrame({"claimed": sorted(set(table["claimed"]))})
    claims["text"] = [f"promised: ε {claimed:.4g}" for claimed in claims["claimed"]]
    top = 1.12 * max(table["measured"].max(), claims["claimed"].max())
    x = alt.X(
        "trials:Q", title="Trials [releases]", scale=alt.Scale(type="log", nice=False, padding=14),
        axis=alt.Axis(format=",d", values=sorted(set(table["trials"])), labelOverlap="greedy", grid=False),
    )  # fmt: skip
    y = alt.Y("measured:Q", title="ε proved, at least", scale=alt.Scale(domain=[0, top], nice=False))
    tests = list(dict.fromkeys(table["test"]))
    legend = None if len(tests) == 1 else _legend(1)
    colour = alt.Color("test:N", legend=legend, scale=alt.Scale(domain=tests, range=list(_LINES[: len(tests)])))
    rule = alt.Chart(claims).mark_rule(color=TRUTH, strokeDash=[6, 4], strokeWidth=2)
    name = alt.Chart(claims).mark_text(color=TRUTH, align="left", dy=-8, dx=6, fontSize=12, fontWeight="bold")
    promised = alt.Y("claimed:Q")
    lines = alt.Chart(table).mark_line(strokeWidth=2).encode(x=x, y=y, color=colour)
    points = (
        alt.Chart(table)
        .mark_point(size=70, filled=True, opacity=1)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=_verdict_shape(TRUTH),
            tooltip=_bound_tooltip(),
        )
    )
    return alt.layer(
        lines, rule.encode(y=promised), name.encode(y=promised, text=alt.Text("text:N"), x=alt.value(0)), points
    ).properties(height=height)


def readings_chart(rows: Sequence[TableRow]) -> Chart:
    """All readings of an attack over the most that is allowed."""
    return _dots(
        [
            _dot(row["what"], over_limit(row["measured"], row["allowed"]), broken=row["broken"],
                 note=reading_words(row["measured"], row["allowed"]))
            for row in rows if row["allowed"] is not None
        ],
        "reading over the most that is allowed",
    )  # fmt: skip


def mistakes_chart(rows: Sequence[TableRow]) -> Chart:
    """Seeded bugs of the committed audit that promise an ε: the ε that is proved over the one that is promised."""
    twins = [row for row in rows if row["kind"] == "twin" and row["measured"] is not None]
    twins.sort(key=lambda row: -row["measured"] / row["epsilon"])
    return _dots([_audit_dot(row, MISTAKE_TITLES.get(row["subject"], row["subject"])) for row in twins], _PROVED)


def kept_chart(rows: Sequence[TableRow]) -> Chart:
    """Mechanisms and sketches of the committed audit, a dot for each unit and each ε."""
    honest = [row for row in rows if row["kind"] != "twin"]
    return _dots([_audit_dot(row, f"{row['subject']}{_SUFFIXES[row['kind']]}") for row in honest], _PROVED)


def overview_chart(rows: Sequence[TableRow], first: str) -> Chart:
    """The worst reading of every committed attack on every target; the attack named `first` stands first."""
    ordered = sorted(rows, key=lambda row: row["attack"] != first)
    dots = []
    for row in ordered:
        ratios = list(map(over_limit, row["measured"], row["limit"]))
        worst = ratios.index(max(ratios))
        title = ATTACK_TITLES[row["attack"]] if row["ours"] else f"✗ {row['target']}"
        words = f"{row['what'][worst]}: {reading_words(row['measured'][worst], row['limit'][worst])}"
        dots.append(_dot(title, ratios[worst], broken=not row["held"], note=words, group=row["attack"]))
    return _dots(dots, "worst reading over the most that is allowed")


def reading_words(measured: float, allowed: float | None) -> str:
    """A reading and what is allowed, in words."""
    return (
        f"{measured:,.4g}, of which nothing is claimed"
        if allowed is None
        else (f"{measured:,.4g}, where {allowed:,.4g} is allowed")
    )


_PROVED = "ε proved over ε promised"
_SUFFIXES = {"mechanism": "", "sketch": " (sketch)"}


def _audit_dot(row: TableRow, label: str) -> TableRow:
    unit = f"{row['unit']}, " if row["unit"] else ""
    note = f"{unit}ε {row['measured']:.3g} proved, {row['epsilon']:.3g} promised, {row['trials']:,.0f} trials"
    return _dot(label, row["measured"] / row["epsilon"], broken=row["flagged"], note=note)


def _dot(label: str, ratio: float, *, broken: bool, note: str, group: str = "") -> TableRow:
    return {
        # Two attacks may have a target of the same name.
        "row": f"{group} {label}",
        "label": "\n".join(textwrap.wrap(label, LABEL_WIDTH)),
        "place": min(max(ratio, NOTHING), BEYOND),
        "verdict": FALLS if broken else HOLDS,
        "note": note,
    }


def _dots(dots: Sequence[TableRow], title: str) -> Chart:
    """A table with a dot or several in each row, on one logarithmic axis; the line is what is allowed."""
    table = pd.DataFrame(list(dots))
    labels = dict(zip(table["row"], table["label"], strict=True))
    lines = max((label.count("\n") + 1 for label in labels.values()), default=1)
    place = alt.X(
        "place:Q", title=title, scale=alt.Scale(type="log", domain=[NOTHING / 1.4, BEYOND * 2.5], nice=False),
        axis=alt.Axis(
            values=[NOTHING, 0.1, 0.3, 1, 3, 10, BEYOND], labelOverlap="greedy", format="~g",
            labelExpr=f"datum.value <= {NOTHING} ? 'none' : datum.value >= {BEYOND} ? 'more' : datum.label",
        ),
    )  # fmt: skip
    row = alt.Y(
        "row:N", title=None, sort=None,
        axis=alt.Axis(labelExpr=_labels(labels), labelLimit=250, labelLineHeight=LINE, ticks=False, grid=True),
    )  # fmt: skip
    allowed = alt.Chart(pd.DataFrame({"place": [1.0]})).mark_rule(color=TRUTH, strokeWidth=1.5).encode(x=place)
    marks = (
        alt.Chart(table)
        .mark_point(size=80, filled=True, opacity=0.9)
        .encode(
            x=place, y=row, color=_verdict_colour(), shape=_verdict_shape(),
            tooltip=[alt.Tooltip("label:N", title="What"), alt.Tooltip("note:N", title="Read")],
        )
    )  # fmt: skip
    return alt.layer(allowed, marks).properties(height=alt.Step(lines * LINE + GAP))


def _labels(labels: dict[str, str]) -> str:
    """A Vega expression from the name of a row to the lines of its label."""
    return f"split({json.dumps(labels, ensure_ascii=False)}[datum.value], '\\n')"


def _verdict_colour() -> alt.Color:
    scale = alt.Scale(domain=list(VERDICTS), range=[RELEASED, BROKEN_COLOUR])
    return alt.Color("verdict:N", scale=scale, legend=_legend(2))


def _verdict_shape(symbol: Any = alt.Undefined) -> alt.Shape:
    scale = alt.Scale(domain=list(VERDICTS), range=["circle", "cross"])
    return alt.Shape("verdict:N", scale=scale, legend=_legend(2, symbol))


def _legend(columns: int, symbol: Any = alt.Undefined) -> alt.Legend:
    """A legend above the chart; its symbols have the colour `symbol` where no colour says anything."""
    return alt.Legend(
        title=None, orient="top", direction="horizontal", columns=columns, labelLimit=330, symbolOpacity=1,
        symbolFillColor=symbol, symbolStrokeColor=symbol,
    )  # fmt: skip


def _bound_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("test:N", title="Seen"),
        alt.Tooltip("trials:Q", title="Trials [releases]", format=",d"),
        alt.Tooltip("measured:Q", title="ε proved, at least", format=".3f"),
        alt.Tooltip("claimed:Q", title="ε promised", format=".4~g"),
        alt.Tooltip("verdict:N", title="Verdict"),
    ]
