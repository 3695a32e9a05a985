"""Where counts meet noise: request → plan → publish or simulate.

Planning is pure: `plan_release` turns a request into calibrated mechanisms. `publish` charges the whole series first,
then draws, commits and returns; `simulate_rows` rehearses it with seeded draws. The loops over ticks are in the
mechanisms' `run`, called from here alone.
"""

from dp.counts import Counts, Freeze, Sample
from dp.names import METRICS
from dp.release.band import with_band
from dp.release.counting import count_log, engine_counts
from dp.release.drawing import simulate_rows
from dp.release.own_counts import own_counts, stated_counts
from dp.release.plan import Plan, Series, plan_release
from dp.release.promise import promise, protected
from dp.release.request import Request, charged, freezes, uses_w_bound
from dp.release.stream import date_in, default_stream, log_name, publish, published, recall

__all__ = [
    "METRICS", "Counts", "Freeze", "Plan", "Request", "Sample", "Series", "charged", "count_log", "date_in",
    "default_stream", "engine_counts", "freezes", "log_name", "own_counts", "plan_release", "promise", "protected",
    "publish", "published", "recall", "simulate_rows", "stated_counts", "uses_w_bound", "with_band",
]  # fmt: skip
