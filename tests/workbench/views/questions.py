"""Questions that are answered quickly, one a research page: the law suite of pages runs on them."""

from __future__ import annotations

import msgspec

from workbench.views.attacks.research import AttackQuestion
from workbench.views.sketches.research import SketchQuestion
from workbench.views.tradeoff.research import TradeoffQuestion

TRADEOFF = TradeoffQuestion(
    metric="mau", unit="user", mechanisms=("gaussian", "damped-square-root"), epsilon=1.0, w_bound=4, delta=1e-6,
    users=1_000, days=30, delete_rate=0.15,
)  # fmt: skip

ATTACK = AttackQuestion(attack="likelihood-ratio", broken=True, mistake="half-flips")
SKETCH = SketchQuestion(sketches=("exact", "hll"), memory=1_024, epsilon=1.0, delta=1e-6, users=200, deletions=0.2)

QUESTIONS: tuple[msgspec.Struct, ...] = (TRADEOFF, ATTACK, SKETCH)
