"""Releases of a sample of the users: which are refused, and what they say of all users."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from dp.intervals import sample as sample_intervals
from dp.mechanisms.protocol import Released
from dp.release.request import Request, uses_w_bound


def validate_sketch(request: Request) -> None:
    """Refuse what has no proof; whatever is private for counts is private for those of a fixed sample."""
    if (request.sketch, request.sample) == ("exact", None):
        # Sketches take their time to import, and most releases have none.
        return
    from dp.sketches import family_of as sketch_family

    if refusal := sketch_family(request.sketch).refusal:
        raise ValueError(f"sketch is {request.sketch!r}, whose counts no mechanism here makes private: {refusal}")
    sample = request.sample
    if (request.sketch == "fixed-rate") != (sample is not None):
        raise ValueError(f"sketch is {request.sketch!r}; a rate goes with the sketch 'fixed-rate', and only with it")
    if sample is None:
        return
    if not sample_intervals.validate_rate(sample.rate) < 1:
        raise ValueError("rate is 1, which keeps everybody: that is the sketch 'exact'")
    if sample.rotations:
        _validate_rotations(request, [tick for tick, _ in sample.rotations])


def _validate_rotations(request: Request, ticks: Sequence[int]) -> None:
    """Refuse changes of the sample that would make a change of one user longer or more broken than its class."""
    days = ", ".join((request.first + timedelta(days=tick)).isoformat() for tick in ticks)
    remedy = f"other salts come into force on {days}; release with a salt file of its own, which stays as it is"
    if request.mechanism == "adaptive-flippancy" or request.on_time is not None:
        name = "on_time" if request.on_time is not None else "adaptive-flippancy"
        raise ValueError(f"{name} needs one sample over the whole horizon, and {remedy}")
    if not uses_w_bound(request.mechanism):
        return
    if request.unit == "user" and request.w_bound % 2 == 1:
        raise ValueError(
            f"w_bound is {request.w_bound}, which freezes users while they are present; it must be even where a salt "
            f"changes within the horizon, and {remedy}"
        )
    if request.unit == "user" and len(ticks) > 1:
        raise ValueError(
            "with unit 'user' one salt may change within the horizon, for a user who is in the sample, out of it and "
            f"in it again changes presence more often than W_BOUND allows, and {remedy}"
        )
    longest = max(request.windows.values())
    if min(np.diff(ticks), default=longest) < longest:
        raise ValueError(
            f"salts must be {longest} days apart, the longest window, so that no change falls under three of them, and "
            f"{remedy}"
        )


def noise_level(level: float, data_dependent: bool) -> float:
    """Level of the noise's own intervals from which those for all users, of `level`, are made."""
    return sample_intervals.bound_level(level) if data_dependent else level


def for_all_users(released: Released, rate: float, level: float, data_dependent: bool) -> Released:
    """What was released of a sample, as a statement on all users: intervals cover noise and sampling together.

    Args:
        released: with intervals of `noise_level`.
        level: of the intervals for all users.
        data_dependent: the mechanism's intervals say all that is known of its error.
    """
    estimates, low, high, deviations = released.arrays
    if data_dependent:
        ends = sample_intervals.interval_of_bounds(low, high, rate, level)
    else:
        ends = sample_intervals.interval(estimates, low, high, deviations, rate, level)
    columns = dict(released.columns)
    if "bias_bound" in columns:
        miss = 1 - noise_level(level, data_dependent)
        columns["bias_bound"] = sample_intervals.most_users(np.array(columns["bias_bound"]), rate, miss).tolist()
    noise_low, noise_high = ([finite(end) for end in ends_of_noise / rate] for ends_of_noise in (low, high))
    sampling = np.sqrt(np.maximum(estimates, 0.0) * (1 - rate)) / rate
    own = {
        "rate": [rate] * len(estimates),
        "noise_low": noise_low,
        "noise_high": noise_high,
        "sketch_std": sampling.tolist(),
    }
    return Released(estimates / rate, *ends, deviations / rate, {**own, **columns})


def finite(value: float) -> float | None:
    """A number for JSON, which knows no infinity: None where there is no bound, or no deviation that could be told."""
    return float(value) if math.isfinite(value) else None
