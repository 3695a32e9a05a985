"""How often intervals hold: a pure function from a log's counts and a seed to one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dp.accounting.calibrate import calibrate
from dp.accounting.composition import Guarantee
from dp.intervals.binomial import clopper_pearson
from dp.intervals.consistency import LARGEST, whole_interval
from dp.intervals.sample import bound_level, interval, interval_of_bounds
from dp.mechanisms import LinearMechanism, Mechanism, design, family_of
from dp.mechanisms.sparse_vector import SparseVector
from dp.units import protected_class
from experiments.engine.grid import point_seed
from experiments.engine.tasks import PointTask
from experiments.kinds.coverage.config import CoverageConfig, CoveragePoint

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Ends = Callable[[float], tuple[Floats, Floats]]
"""From a level to lower and upper ends, each of shape (trials, T)."""

MOST_SAMPLED = 200
"""Most trials of a mechanism that depends on the data on samples, where every trial has its own series."""

BAND_LEVEL = 0.95
"""Confidence level of the Clopper–Pearson bands of the table."""


def evaluate_coverage(task: PointTask[CoverageConfig, CoveragePoint]) -> dict[str, Any]:
    """One row: how often intervals hold the true count, and a band all of them at once.

    `pointwise` is over all trials and ticks that have an interval; `no_interval` is the share of those that have none,
    because an end is infinite. The ticks of a trial are correlated, so `one_day` looks at one of them, drawn anew in
    each trial: its hits are independent, and `one_day_low` and `one_day_high` are their Clopper–Pearson band.
    `pointwise_whole` is for the same intervals with their ends drawn inwards to whole numbers. `band` is the share of
    trials in which the Bonferroni band holds all T counts, an infinite end counting as one that holds; `band_low` and
    `band_high` are its Clopper–Pearson band, and `band_whole` is for ends drawn inwards. `width` is the average width
    of the pointwise intervals, in users.

    Raises:
        ValueError: the mechanism cannot serve the point.
    """
    config, point = task.config, task.point
    generator = np.random.default_rng(point_seed(config.seed, point))
    arrivals = arrivals_of(config)
    truth = window_counts(arrivals, config.window)
    mechanism = calibrate_point(config, point)
    at_once = isinstance(mechanism, LinearMechanism) or point.rate == 1
    trials = config.trials if at_once else min(config.trials, MOST_SAMPLED)
    sampled_arrivals = generator.binomial(arrivals, point.rate, (trials, len(arrivals)))
    ends = ends_of(mechanism, window_counts(sampled_arrivals, config.window), point.rate, generator)
    return {
        "mechanism": point.mechanism,
        "epsilon": point.epsilon,
        "rate": point.rate,
        "delta": 0.0 if family_of(point.mechanism).delta == "none" else config.delta,
        "unit": config.unit,
        "w_bound": config.w_bound,
        "window": config.window,
        "horizon": config.horizon,
        "level": config.level,
        "trials": trials,
        "users": truth.mean(),
        **_interval_columns(*ends(config.level), truth, generator),
        **_band_columns(*ends(1 - (1 - config.level) / config.horizon), truth),
    }


def _interval_columns(low: Floats, high: Floats, truth: Integers, generator: np.random.Generator) -> dict[str, Any]:
    covered, finite = holds(low, high, truth), np.isfinite(low) & np.isfinite(high)
    trials, horizon = low.shape
    days = np.arange(trials), generator.integers(horizon, size=trials)
    one_day = covered[days][finite[days]]
    one_day_low, one_day_high = _clopper_pearson_band(one_day) if one_day.size else (0.0, 1.0)
    return {
        "width": _mean((high - low)[finite]),
        "no_interval": 1 - finite.mean(),
        "pointwise": _mean(covered[finite]),
        "pointwise_whole": _mean(holds(*whole_ends(low, high), truth)[finite]),
        "one_day": _mean(one_day),
        "one_day_low": one_day_low,
        "one_day_high": one_day_high,
    }


def _band_columns(low: Floats, high: Floats, truth: Integers) -> dict[str, Any]:
    band = np.asarray(holds(low, high, truth).all(axis=1))
    band_low, band_high = _clopper_pearson_band(band)
    return {
        "band": band.mean(),
        "band_low": band_low,
        "band_high": band_high,
        "band_whole": holds(*whole_ends(low, high), truth).all(axis=1).mean(),
    }


def _clopper_pearson_band(hits: NDArray[np.bool_]) -> tuple[float, float]:
    return clopper_pearson(int(hits.sum()), len(hits), BAND_LEVEL)


def arrivals_of(config: CoverageConfig) -> Integers:
    """Users by the day they are active on, shape (T + window − 1,), so that the first tick has a whole window."""
    generator = np.random.default_rng(config.seed)
    return generator.poisson(config.arrivals, config.horizon + config.window - 1).astype(np.int64)


def window_counts(arrivals: Integers, window: int) -> Integers:
    """Users who were active in the trailing window; the last axis loses window − 1 days."""
    sums: Integers = np.lib.stride_tricks.sliding_window_view(arrivals, window, axis=-1).sum(axis=-1)
    return sums


def calibrate_point(config: CoverageConfig, point: CoveragePoint) -> Mechanism:
    """The mechanism of a point."""
    protected = protected_class(config.unit, config.window, config.w_bound, config.horizon)
    return calibrate([design(point.mechanism, protected)], Guarantee(point.epsilon, config.delta), [1.0])[0]


def ends_of(mechanism: Mechanism, counts: Integers, rate: float, generator: np.random.Generator) -> Ends:
    """Intervals for the number of all users, from releases of their samples; as `dp.release` publishes them.

    Args:
        counts: of the samples, shape (trials, T).
        rate: share of the users that are in a sample.

    Raises:
        ValueError: the mechanism has no intervals for many trials at once.
    """
    if isinstance(mechanism, LinearMechanism):
        return _linear_ends(mechanism, counts, rate, generator)
    if isinstance(mechanism, SparseVector):
        return _sparse_vector_ends(mechanism, counts, rate, generator)
    raise ValueError(f"mechanism is {mechanism.name!r}, which this experiment cannot try; choose another")


def _linear_ends(mechanism: LinearMechanism, counts: Integers, rate: float, generator: np.random.Generator) -> Ends:
    trials, horizon = counts.shape
    estimates = mechanism.simulate(np.zeros(horizon, dtype=np.int64), trials, generator) + counts
    deviations = mechanism.standard_deviation(horizon)

    def ends(level: float) -> tuple[Floats, Floats]:
        half = mechanism.half_width(level, horizon)
        low, high = estimates - half, estimates + half
        if rate == 1:
            return low, high
        return interval(estimates, low, high, deviations, rate, level)

    return ends


def _sparse_vector_ends(mechanism: SparseVector, counts: Integers, rate: float, generator: np.random.Generator) -> Ends:
    seed = generator.integers(2**63)

    def rehearsed(level: float) -> tuple[Floats, Floats]:
        # The same draws whatever the level is.
        again = np.random.default_rng(seed)
        if rate == 1:
            released = mechanism.rehearse(counts[0], len(counts), again, level)
            return released.low, released.high
        trials = [mechanism.rehearse(series, 1, again, level) for series in counts]
        return np.concatenate([one.low for one in trials]), np.concatenate([one.high for one in trials])

    def ends(level: float) -> tuple[Floats, Floats]:
        if rate == 1:
            return rehearsed(level)
        return interval_of_bounds(*rehearsed(bound_level(level)), rate, level)

    return ends


def whole_ends(low: Floats, high: Floats) -> tuple[Integers, Integers]:
    """The outermost whole numbers inside the intervals; infinite ends become the largest representable ones."""
    return whole_interval(np.maximum(low, -LARGEST), np.minimum(high, LARGEST))


def holds(low: Floats | Integers, high: Floats | Integers, truth: Integers) -> NDArray[np.bool_]:
    """Which intervals hold the true count."""
    return (low <= truth) & (truth <= high)


def _mean(values: Floats | NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if values.size else None
