"""What the noise of many series costs: a question with thousands of segments, over many ticks."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

import numpy as np

import dp
from dp.arrays import Integers
from dp.mechanisms import EMPTY_STATE
from dp.mechanisms.protocol import NoiseSource
from dp.release import Plan, each_simulated, stated_counts
from dp.release.drawing import Block, blocks, draw, secure_source, source_of_block
from experiments.engine.population import START
from workbench.bench.timing import seconds_once
from workbench.rows import TableRow

MOST_COUNTED = 10_000
"""Users in a segment; what they are makes no difference."""


def bench_noise(series: int, ticks: int, mechanisms: Sequence[str], seed: int) -> list[TableRow]:
    """One row a mechanism: MAU in so many segments of kind last, every day, with counts that are made up.

    A row has the sizes, `plan_cpu_seconds` (with the strategy in memory), `simulated_cpu_seconds` and
    `secure_cpu_seconds` (all draws, made into estimates with intervals, from a seed and from OpenDP), `secure_seconds`
    (of the clock: OpenDP draws in several threads), `draws_per_cpu_second` of the secure ones, `rows_cpu_seconds` (the
    simulation as rows, one after the other), and `peak_rss_gib` of the process so far.

    Raises:
        ValueError: fewer than 3 series, no tick, or a mechanism that is not linear.
    """
    for name, value, least in (("series", series, 3), ("ticks", ticks, 1)):
        if value < least:
            raise ValueError(f"{name} = {value}: must be at least {least}")
    return [_measured(series, ticks, mechanism, seed) for mechanism in mechanisms]


def _measured(series: int, ticks: int, mechanism: str, seed: int) -> TableRow:
    # One is the total, and one holds all other segments.
    pages = dp.breakdown("page", [f"page {number}" for number in range(series - 2)], "last")
    last = START + timedelta(days=ticks - 1)

    def plan() -> Plan:
        return dp.plan("mau", by=[pages], epsilon=1, first=START, last=last, mechanism=mechanism).calibrated

    made = plan()
    generator = np.random.default_rng(seed)
    counts = {one.metric: generator.integers(0, MOST_COUNTED, ticks) for one in made.series}
    stated = stated_counts(made, counts)
    planned = seconds_once(plan)
    simulated = seconds_once(lambda: _draw_all(made, counts, lambda block: source_of_block(block, seed)))
    rows = seconds_once(lambda: sum(1 for _ in each_simulated(made, stated, seed)))
    began = time.perf_counter()
    secure = seconds_once(lambda: _draw_all(made, counts, lambda block: secure_source))
    clock = time.perf_counter() - began
    draws = sum(one.mechanism.strategy.draws(0, ticks) for one in made.series)  # type: ignore[attr-defined]
    return {
        "mechanism": mechanism,
        "series": series,
        "ticks": ticks,
        "plan_cpu_seconds": round(planned, 2),
        "simulated_cpu_seconds": round(simulated, 2),
        "secure_cpu_seconds": round(secure, 1),
        "secure_seconds": round(clock, 1),
        "draws_per_cpu_second": round(draws / secure),
        "rows_cpu_seconds": round(rows, 1),
        "peak_rss_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def _draw_all(plan: Plan, counts: dict[str, Integers], source_of: Callable[[Block], NoiseSource]) -> None:
    for block in blocks(plan.series, dict.fromkeys(counts, 0), {metric: len(own) for metric, own in counts.items()}):
        fresh = np.stack([counts[series.metric] for series in block.series])
        for _ in draw(block.mechanism, [EMPTY_STATE] * len(fresh), fresh, source_of(block), plan.request):
            pass
