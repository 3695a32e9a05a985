"""Cells and breakdowns of every kind, for laws that hold for all questions."""

from __future__ import annotations

from dp.questions import Breakdown, Cell, rolling
from tests.oracles.labelled_logs import COLUMNS

CELLS = (
    rolling("dau", 1), rolling("wau", 7), rolling("mau", 30), Cell("flows", "wau", 7), Cell("flows", "mau", 30),
    Cell("week", "week"), Cell("month", "month"),
)  # fmt: skip
PLATFORM, COUNTRY = ("ios", "android"), ("GB", "DE")
BREAKDOWNS = (
    None,
    Breakdown("plan", "fixed", ("plan",), (("free", "paid"),)),
    Breakdown("plan×city", "fixed", ("plan", "city"), (("free",), ("x", "y"))),
    Breakdown("platform", "any", ("platform",), (PLATFORM,)),
    Breakdown("platforms", "any", ("platform",), (PLATFORM,), 2),
    Breakdown("both", "any", ("country", "platform"), (COUNTRY, PLATFORM), 2),
    Breakdown("latest", "last", ("platform",), (PLATFORM,)),
    Breakdown("latest×", "last", COLUMNS, (PLATFORM, COUNTRY)),
)
