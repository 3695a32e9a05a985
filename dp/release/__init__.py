"""Where counts meet noise: request → plan → publish or simulate.

Planning is pure: `plan_release` turns a request into calibrated mechanisms. `publish` charges the whole series first,
then draws, commits and returns; `simulate_rows` rehearses it with seeded draws. The loops over ticks are in the
mechanisms, called from here alone. A release of many series need not be in memory: `each_simulated` and, after
`charge_and_draw` or `recallable`, `each_published` give its rows one after the other.
"""

from dp.counts import Counts, Freeze, Sample
from dp.names import METRICS
from dp.release.band import with_band
from dp.release.counting import count_log, engine_counts
from dp.release.drawing import each_simulated, simulate_rows
from dp.release.own_counts import own_counts, stated_counts
from dp.release.plan import Plan, Series, plan_release
from dp.release.promise import promise, protected
from dp.release.request import Request, charged, freezes, uses_w_bound
from dp.release.stream import (
    charge_and_draw,
    date_in,
    default_stream,
    each_published,
    log_name,
    publish,
    published,
    recall,
    recallable,
)

__all__ = [
    "METRICS", "Counts", "Freeze", "Plan", "Request", "Sample", "Series", "charge_and_draw", "charged", "count_log",
    "date_in", "default_stream", "each_published", "each_simulated", "engine_counts", "freezes", "log_name",
    "own_counts", "plan_release", "promise", "protected", "publish", "published", "recall", "recallable",
    "simulate_rows", "stated_counts", "uses_w_bound", "with_band",
]  # fmt: skip
