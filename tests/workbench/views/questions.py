"""Questions that are answered quickly, one a research page: the law suite of pages runs on them."""

from __future__ import annotations

import msgspec

from workbench.views.coverage.research import CoverageQuestion
from workbench.views.tradeoff.research import TradeoffQuestion

TRADEOFF = TradeoffQuestion(
    metric="mau", unit="user", mechanisms=("gaussian", "damped-square-root"), epsilon=1.0, w_bound=4, delta=1e-6,
    users=1_000, days=30, delete_rate=0.15,
)  # fmt: skip

COVERAGE = CoverageQuestion(
    metric="mau", unit="user", mechanisms=("damped-square-root", "sparse-vector"), epsilon=1.0, w_bound=2, delta=1e-6,
    level=0.95, users=1_000, days=30, delete_rate=0.3,
)  # fmt: skip

QUESTIONS: tuple[msgspec.Struct, ...] = (TRADEOFF, COVERAGE)
