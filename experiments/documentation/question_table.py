"""What questions cost: the largest standard deviation of a series, times μ, for every cell and kind of breakdown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from dp.mechanisms.question_design import question_design
from dp.names import DEFAULT_MECHANISM, YEAR
from dp.questions import Breakdown, Cell, Question, breakdown
from dp.units import question_class
from experiments.documentation.markdown import markdown_table

CELLS = (
    Cell("rolling", "DAU", 1), Cell("rolling", "WAU", 7), Cell("rolling", "MAU", 30), Cell("flows", "MAU", 30),
    Cell("week", "week"),
)  # fmt: skip
BREAKDOWNS: tuple[Breakdown | None, ...] = (
    None,
    breakdown("segment", ["a", "b"], "fixed"),
    breakdown("segment", ["a", "b"], "last"),
    breakdown("segment", ["a", "b"], "any"),
    breakdown("segment", ["a", "b"], "any", most=2),
)
UNITS = (("user-day", 2), ("user-day", 4), ("user", 8))
FIRST = date(2024, 1, 1)


def question_costs() -> str:
    """A row a breakdown and unit, a column a cell."""
    names = [f"flows of {cell.metric}" if cell.kind == "flows" else cell.metric for cell in CELLS]
    return markdown_table(["breakdown", "unit, W_BOUND", *names], "ll" + "r" * len(names), list(_rows()))


def _rows() -> Iterator[list[str]]:
    for unit, w_bound in UNITS:
        for by in BREAKDOWNS:
            costs = [f"{cost(Question(cell, by), unit, w_bound):.3f}" for cell in CELLS]
            yield [_name(by), f"{unit}, {w_bound}", *costs]


def _name(by: Breakdown | None) -> str:
    if by is None:
        return "none"
    return f"`any:{by.most}`" if by.kind == "any" else f"`{by.kind}`"


def cost(question: Question, unit: str, w_bound: int) -> float:
    """The largest standard deviation of one of its series over a year, times μ, under the default mechanism."""
    ticks = question.cell.number(FIRST, YEAR)
    design = question_design(DEFAULT_MECHANISM, question_class(question, unit, w_bound, ticks))
    return float(design.sensitivity * design.strategy.decoder_energy(ticks).max() ** 0.5)
