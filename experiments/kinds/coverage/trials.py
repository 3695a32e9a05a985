"""How often intervals hold: a pure function from a log's counts and a seed to one row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dp.accounting.calibrate import calibrate_designs
from dp.accounting.composition import Guarantee
from dp.arrays import Floats, Integers
from dp.intervals.binomial import clopper_pearson
from dp.intervals.consistency import LARGEST, whole_interval
from dp.intervals.sample import interval, interval_of_bounds
from dp.log import read_log
from dp.mechanisms import Mechanism, Trials, design, family_of
from dp.presence import NumpyEngine
from dp.release.sample import noise_level
from dp.units import protected_class
from experiments.engine.grid import point_seed
from experiments.engine.population import START
from experiments.engine.synthetic_log import write_synthetic_log
from experiments.kinds.coverage.config import CoverageConfig, CoveragePoint, WholeUserGrid

Ends = Callable[[float], tuple[Floats, Floats]]
"""From a level to lower and upper ends, each of shape (trials, T)."""

MOST_SAMPLED = 200
"""Most trials of a mechanism that depends on the data on samples, where every trial has its own series."""

BAND_LEVEL = 0.95
"""Confidence level of the Clopper–Pearson bands of the table."""


@dataclass(frozen=True)
class CoverageTask:
    """A point with all that its row depends on.

    Attributes:
        truth: users present at each tick, where the whole user is protected.
        counted: the same without those who are frozen.
    """

    config: CoverageConfig
    point: CoveragePoint
    truth: tuple[int, ...] = ()
    counted: tuple[int, ...] = ()


def coverage_tasks(config: CoverageConfig, wanted: Sequence[CoveragePoint], folder: Path) -> list[CoverageTask]:
    """A task for each point; the log of those who come and go, if it is needed, is written into the folder."""
    bounds = sorted({point.w_bound for point in wanted if point.w_bound is not None})
    if not bounds or not isinstance(config.whole_user, WholeUserGrid):
        return [CoverageTask(config, point) for point in wanted]
    path = folder / "population.parquet"
    write_synthetic_log(config.whole_user.population, path)
    last = START + timedelta(days=config.horizon - 1)
    with read_log(path) as log:
        engine = NumpyEngine(log.connection)
        truth = tuple(engine.daily_flips([config.window], START, last)[config.window].counts.values.tolist())
        columns = engine.bounded_counts([config.window], START, last, bounds)[config.window].values
    counted = {bound: tuple(columns[:, 2 * place].tolist()) for place, bound in enumerate(bounds)}
    return [
        CoverageTask(config, point)
        if point.w_bound is None
        else CoverageTask(config, point, truth, counted[point.w_bound])
        for point in wanted
    ]


def evaluate_coverage(task: CoverageTask) -> dict[str, Any]:
    """One row: how often intervals hold the count that was noised, and a band all of them at once.

    `pointwise` is over all trials and ticks that have an interval; `no_interval` is the share of those that have none,
    because an end is infinite. The ticks of a trial are correlated, so `one_day` looks at one of them, drawn anew in
    each trial: its hits are independent, and `one_day_low` and `one_day_high` are their Clopper–Pearson band.
    `pointwise_whole` is for the same intervals with their ends drawn inwards to whole numbers. `band` is the share of
    trials in which the Bonferroni band holds all T counts, an infinite end counting as one that holds; `band_low` and
    `band_high` are its Clopper–Pearson band, and `band_whole` is for ends drawn inwards. `width` is the average width
    of the pointwise intervals, in users.

    Where the whole user is protected, frozen users are missing from the count that was noised. `bias_rms` is the root
    mean square of what is missing, in users, and columns called `true_…` say how often the same intervals hold the
    true count.

    Raises:
        ValueError: the mechanism cannot serve the point.
    """
    config, point = task.config, task.point
    generator = np.random.default_rng(point_seed(config.seed, point))
    mechanism = calibrate_point(config, point)
    at_once = not mechanism.data_dependent or point.rate == 1
    trials = config.trials if at_once else min(config.trials, MOST_SAMPLED)
    if point.w_bound is None:
        arrivals = arrivals_of(config)
        truth = counted = window_counts(arrivals, config.window)
        series = window_counts(generator.binomial(arrivals, point.rate, (trials, len(arrivals))), config.window)
    else:
        truth, counted = np.array(task.truth, np.int64), np.array(task.counted, np.int64)
        series = np.tile(counted, (trials, 1))
    ends = ends_of(mechanism, series, point.rate, generator)
    return {
        "mechanism": point.mechanism,
        "epsilon": point.epsilon,
        "rate": point.rate,
        "delta": 0.0 if family_of(point.mechanism).delta == "none" else config.delta,
        "unit": _unit(config, point),
        "w_bound": _bound(config, point),
        "window": config.window,
        "horizon": config.horizon,
        "level": config.level,
        "trials": trials,
        "users": truth.mean(),
        **_interval_columns(*ends(config.level), counted, truth, generator),
        **_band_columns(*ends(1 - (1 - config.level) / config.horizon), counted, truth),
        "bias_rms": np.sqrt(np.square(counted - truth).mean()),
    }


def _unit(config: CoverageConfig, point: CoveragePoint) -> str:
    return config.unit if point.w_bound is None else "user"


def _bound(config: CoverageConfig, point: CoveragePoint) -> int:
    return config.w_bound if point.w_bound is None else point.w_bound


def _interval_columns(
    low: Floats, high: Floats, counted: Integers, truth: Integers, generator: np.random.Generator
) -> dict[str, Any]:
    finite = np.isfinite(low) & np.isfinite(high)
    trials, horizon = low.shape
    days = np.arange(trials), np.asarray(generator.integers(horizon, size=trials))
    return {
        "width": _mean((high - low)[finite]),
        "no_interval": 1 - finite.mean(),
        **_days_held("", holds(low, high, counted), finite, days),
        "pointwise_whole": _mean(holds(*whole_ends(low, high), counted)[finite]),
        **_days_held("true_", holds(low, high, truth), finite, days),
    }


def _days_held(
    prefix: str, covered: NDArray[np.bool_], finite: NDArray[np.bool_], days: tuple[Integers, Integers]
) -> dict[str, Any]:
    one_day = covered[days][finite[days]]
    low, high = _clopper_pearson_band(one_day) if one_day.size else (0.0, 1.0)
    names = ("pointwise", "one_day", "one_day_low", "one_day_high")
    values = (_mean(covered[finite]), _mean(one_day), low, high)
    return {f"{prefix}{name}": value for name, value in zip(names, values, strict=True)}


def _band_columns(low: Floats, high: Floats, counted: Integers, truth: Integers) -> dict[str, Any]:
    band = np.asarray(holds(low, high, counted).all(axis=1))
    band_low, band_high = _clopper_pearson_band(band)
    return {
        "band": band.mean(),
        "band_low": band_low,
        "band_high": band_high,
        "band_whole": holds(*whole_ends(low, high), counted).all(axis=1).mean(),
        "true_band": holds(low, high, truth).all(axis=1).mean(),
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
    protected = protected_class(_unit(config, point), config.window, _bound(config, point), config.horizon)
    return calibrate_designs([design(point.mechanism, protected)], Guarantee(point.epsilon, config.delta), [1.0])[0]


def ends_of(mechanism: Mechanism, counts: Integers, rate: float, generator: np.random.Generator) -> Ends:
    """Intervals for the number of all users, from releases of their samples; as `dp.release` publishes them.

    Args:
        counts: of the samples, shape (trials, T).
        rate: share of the users that are in a sample.

    Raises:
        ValueError: the mechanism has no intervals for many trials at once.
    """
    if mechanism.bounds is not None:
        raise ValueError(f"mechanism is {mechanism.name!r}, which this experiment cannot try; choose another")
    run = _trials(mechanism, counts, rate, generator)
    estimates = run.estimates

    def ends(level: float) -> tuple[Floats, Floats]:
        half = run.reach(noise_level(level, mechanism.data_dependent) if rate < 1 else level)
        low, high = estimates - half, estimates + half
        if rate == 1:
            return low, high
        if mechanism.data_dependent:
            return interval_of_bounds(low, high, rate, level)
        return interval(estimates, low, high, run.deviations, rate, level)

    return ends


def _trials(mechanism: Mechanism, counts: Integers, rate: float, generator: np.random.Generator) -> Trials:
    """A trial for each of the series."""
    if not mechanism.data_dependent:
        # Its errors are the same for all counts.
        return replace(mechanism.trials(counts[0], len(counts), generator, BAND_LEVEL), counted=counts)
    own = np.random.default_rng(generator.integers(2**63))
    if rate == 1:
        return mechanism.trials(counts[0], len(counts), own, BAND_LEVEL)
    runs = [mechanism.trials(series, 1, own, BAND_LEVEL) for series in counts]
    return replace(
        runs[0],
        errors=np.concatenate([one.errors for one in runs]),
        counted=counts,
        reach=lambda level: np.concatenate([one.reach(level) for one in runs]),
    )


def whole_ends(low: Floats, high: Floats) -> tuple[Integers, Integers]:
    """The outermost whole numbers inside the intervals; infinite ends become the largest representable ones."""
    return whole_interval(np.maximum(low, -LARGEST), np.minimum(high, LARGEST))


def holds(low: Floats | Integers, high: Floats | Integers, truth: Integers) -> NDArray[np.bool_]:
    """Which intervals hold the count."""
    return (low <= truth) & (truth <= high)


def _mean(values: Floats | NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if values.size else None
