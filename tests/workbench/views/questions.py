"""Questions that are answered quickly, one a research page: the law suite of pages runs on them."""

from __future__ import annotations

import msgspec

from workbench.views.attacks.research import AttackQuestion
from workbench.views.coverage.research import CoverageQuestion
from workbench.views.mechanisms.research import MechanismsQuestion
from workbench.views.plan.research import PlanQuestion
from workbench.views.sketches.research import SketchQuestion
from workbench.views.tradeoff.research import TradeoffQuestion

TRADEOFF = TradeoffQuestion(
    metric="mau", unit="user", mechanisms=("gaussian", "damped-square-root"), epsilon=1.0, w_bound=4, delta=1e-6,
    users=1_000, days=30, delete_rate=0.15,
)  # fmt: skip

PLAN = PlanQuestion(
    unit="user-day", epsilon=1.0, delta=1e-6, w_bound=2, horizon=30, expected=(2_000, 5_000, 8_000),
    errors=(20.0, 40.0, 80.0),
)  # fmt: skip

FRONTIER = MechanismsQuestion(
    metric="wau", unit="user-day", epsilon=1.0, delta=1e-6, w_bound=2, horizon=30, users=500
)  # fmt: skip

ATTACK = AttackQuestion(attack="likelihood-ratio", broken=True, mistake="half-flips")
SKETCH = SketchQuestion(sketches=("exact", "hll"), memory=1_024, epsilon=1.0, delta=1e-6, users=200, deletions=0.2)
COVERAGE = CoverageQuestion(
    metric="mau", unit="user", mechanisms=("damped-square-root", "sparse-vector"), epsilon=1.0, w_bound=2, delta=1e-6,
    level=0.95, users=1_000, days=30, delete_rate=0.3,
)  # fmt: skip

QUESTIONS: tuple[msgspec.Struct, ...] = (PLAN, TRADEOFF, FRONTIER, COVERAGE, ATTACK, SKETCH)
