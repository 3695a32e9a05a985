"""Where counts meet noise: request → plan → publish or simulate."""

from dp.release.release import (
    METRICS,
    Plan,
    Request,
    Sample,
    Series,
    charged,
    default_stream,
    freezes,
    plan_release,
    promise,
    protected,
    publish,
    published,
    simulate_rows,
    uses_w_bound,
)

__all__ = [
    "METRICS", "Plan", "Request", "Sample", "Series", "charged", "default_stream", "freezes", "plan_release", "promise",
    "protected", "publish", "published", "simulate_rows", "uses_w_bound",
]  # fmt: skip
