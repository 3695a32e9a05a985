"""`publish` and `simulate_rows` for tests that make up counts: they state them to be the plan's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dp import release
from dp.counts import Counts
from dp.ledger import Ledger
from dp.release import Plan, stated_counts


def publish(
    ledger: Ledger, stream: str, budget: str, plan: Plan, counts: Mapping[str, Any], *others: Any, **named: Any
) -> list[str]:
    return release.publish(ledger, stream, budget, plan, _stated(plan, counts), *others, **named)


def simulate_rows(plan: Plan, counts: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    return release.simulate_rows(plan, _stated(plan, counts), seed)


def _stated(plan: Plan, counts: Mapping[str, Any]) -> dict[str, Counts]:
    own = {series.metric for series in plan.series}
    known = {metric: values for metric, values in counts.items() if metric in own}
    made_up = stated_counts(plan, {metric: one for metric, one in known.items() if isinstance(one, np.ndarray)})
    return {**known, **made_up}
