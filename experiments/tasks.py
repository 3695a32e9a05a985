"""What is measured at one point: a pure function from counts and a seed to one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dp.accounting.calibrate import calibrate, calibrate_linear
from dp.accounting.composition import Guarantee
from dp.mechanisms import design, family_of, linear_design
from dp.mechanisms.sparse_vector import SparseVector
from dp.units import protected_class
from experiments.points import START, Point, point_seed

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

CI_LEVEL = 0.95


@dataclass(frozen=True)
class Task:
    """A point with all that its row depends on.

    Attributes:
        truth: true counts, shape (T,).
        bounded: counts with every user frozen after W_BOUND flips, for the unit user; else the true counts. Mechanisms
            that need no W_BOUND do not use them.
        metrics: columns besides the usual ones; see `asked_metric`.
    """

    point: Point
    delta: float
    trials: int
    seed: int
    truth: tuple[int, ...]
    bounded: tuple[int, ...]
    metrics: tuple[str, ...] = ()


class _Tried(NamedTuple):
    """What the trials at a point gave, in users.

    Attributes:
        errors: estimates less the counts that were put in, shape (trials, T).
        deviation: standard deviations by formula, shape (T,), NaN where they depend on the data.
        coverage: share of the intervals that cover those counts, among those that have ends.
        delta: of the guarantee.
        sensitivity: NaN where the mechanism is not linear.
    """

    errors: Floats
    deviation: Floats
    coverage: float
    delta: float
    sensitivity: float


def evaluate(task: Task) -> dict[str, Any]:
    """One row: the error of a released day in users, in total and split into noise and truncation bias.

    `rmse` is over the days of one series; its mean and its 5 % and 95 % quantiles are over the trials. `analytic_rmse`
    is √(mean variance + mean squared bias) by formula. `coverage` is the share of days whose interval covers the count
    that the noise was added to: intervals speak of noise, truncation bias is reported apart. For sparse-vector, whose
    error depends on the data, what has no formula is None, and `noise_rmse` is of all that its estimates miss.

    Raises:
        ValueError: the mechanism cannot serve the point.
    """
    point = task.point
    truth = np.array(task.truth)
    linear = family_of(point.mechanism).strategy is not None
    bounded = np.array(task.bounded) if linear else truth
    generator = np.random.default_rng(point_seed(task.seed, point))
    tried = (_try_linear if linear else _try_sparse_vector)(task, bounded, generator)
    bias = (bounded - truth).astype(np.float64)
    error = tried.errors + bias
    by_trial = np.sqrt((error**2).mean(axis=1))
    row = {
        **point.values,
        "window": point.window,
        "delta": tried.delta,
        "horizon": len(truth),
        "trials": task.trials,
        "sensitivity": tried.sensitivity,
        "rmse": by_trial.mean(),
        "rmse_p05": np.quantile(by_trial, 0.05),
        "rmse_p95": np.quantile(by_trial, 0.95),
        "analytic_rmse": np.sqrt((tried.deviation**2 + bias**2).mean()),
        "noise_rmse": np.sqrt((tried.errors**2).mean()),
        "analytic_noise_rmse": np.sqrt((tried.deviation**2).mean()),
        "bias_rms": np.sqrt((bias**2).mean()),
        "bias_mean": bias.mean(),
        "mae": np.abs(error).mean(),
        "p95_error": np.quantile(np.abs(error), 0.95),
        "relative_rmse": by_trial.mean() / truth.mean(),
        "coverage": tried.coverage,
        **{metric.replace("-", "_"): asked_metric(metric, error, truth) for metric in task.metrics},
    }
    if "delta" in dict(point.extra):
        # What the point may spend: what its guarantee has is 0 where the noise needs no δ.
        row["delta_allowed"] = task.delta
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}


def asked_metric(metric: str, error: Floats, truth: Counts) -> float:
    """A measure of error that a config asks for by name.

    Args:
        metric: "rmsre-THRESHOLD": the root mean square relative error, where a count below the threshold counts as
            the threshold; or "within-PERCENT": the share of days whose error is at most that much of the count.
        error: in users, shape (trials, T).
        truth: shape (T,).

    Raises:
        ValueError: the name says something else.
    """
    name, _, number = metric.partition("-")
    match name:
        case "rmsre":
            return float(np.sqrt(((error / np.maximum(truth, float(number))) ** 2).mean()))
        case "within":
            return float((np.abs(error) <= float(number) / 100 * truth).mean())
        case _:
            raise ValueError(f"metric is {metric!r}; write rmsre-USERS or within-PERCENT, as in rmsre-100, within-10")


def _try_linear(task: Task, counts: Counts, generator: np.random.Generator) -> _Tried:
    point, horizon = task.point, len(counts)
    protected = protected_class(point.unit, point.window, point.w_bound, horizon)
    chosen = linear_design(point.mechanism, protected)
    mechanism = calibrate_linear([chosen], Guarantee(point.epsilon, task.delta), [1.0])[0]
    noise = mechanism.simulate(np.zeros_like(counts), task.trials, generator)
    covered = np.abs(noise) <= mechanism.half_width(CI_LEVEL, horizon)
    delta = 0.0 if mechanism.noise.pure else task.delta
    return _Tried(noise, mechanism.standard_deviation(horizon), covered.mean(), delta, mechanism.sensitivity)


def _try_sparse_vector(task: Task, counts: Counts, generator: np.random.Generator) -> _Tried:
    point, horizon = task.point, len(counts)
    chosen = design(point.mechanism, protected_class(point.unit, point.window, point.w_bound, horizon))
    mechanism = calibrate([chosen], Guarantee(point.epsilon, task.delta), [1.0])[0]
    if not isinstance(mechanism, SparseVector):
        raise ValueError(f"mechanism is {point.mechanism!r}, which an experiment cannot try; choose another")
    released = mechanism.rehearse(counts, task.trials, generator, CI_LEVEL)
    covered = ((released.low <= counts) & (counts <= released.high))[np.isfinite(released.low)]
    nothing = np.full(horizon, np.nan)
    return _Tried(released.estimates - counts, nothing, covered.mean(), task.delta, float("nan"))


__all__ = ["CI_LEVEL", "START", "Task", "asked_metric", "evaluate", "point_seed"]
